"""The guide as a static site, which needs no network: mkdocs with the theme material, strict about its links."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cascade_driver.errors import CascadeError, InputError
from cascade_driver.guide.chapters import CHAPTERS
from cascade_driver.version import version


def build_site(chapters: Mapping[str, str], out: Path) -> Path:
    """Write the site into a folder and return its first page.

    Parameters
    ----------
    chapters : mapping
        Markdown of each chapter by its topic, and of the first page, `index`.
    out : pathlib.Path
        A folder, whose content is replaced.

    Raises
    ------
    InputError
        If mkdocs is not installed, or the folder holds something else.
    CascadeError
        If a link is dead.
    """
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        raise InputError("the site is built by mkdocs: pip install 'cascade-driver[docs]'")
    if out.exists() and any(out.iterdir()) and not (out / "search").is_dir():
        raise InputError(f"{out} holds something that is no site of the guide; give another folder")
    with tempfile.TemporaryDirectory() as place:
        pages = Path(place) / "docs"
        pages.mkdir()
        for topic, text in chapters.items():
            (pages / f"{topic}.md").write_text(text, encoding="utf-8")
        for picture in Path(__file__).parent.glob("*.png"):
            shutil.copy(picture, pages)
        # JSON is YAML.
        (Path(place) / "mkdocs.yml").write_text(json.dumps(_settings(out.resolve())), encoding="utf-8")
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", "mkdocs.yml"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith(("WARNING", "ERROR"))]
        raise CascadeError(f"the site was not built: {'; '.join(said) or done.stderr.strip()}")
    _bring_search_along(out)
    return out / "index.html"


#: By which pages in a folder search without a server; what mkdocs-material loads from the network, and ours.
_SHIM, _OWN_SHIM = "https://unpkg.com/iframe-worker/shim", "iframe-worker.js"


def _bring_search_along(out: Path) -> None:
    shutil.copy(Path(__file__).parent / _OWN_SHIM, out)
    for page in out.glob("*.html"):
        page.write_text(page.read_text(encoding="utf-8").replace(_SHIM, _OWN_SHIM), encoding="utf-8")


def _settings(out: Path) -> dict[str, object]:
    links = dict.fromkeys(("not_found", "anchors", "absolute_links", "unrecognized_links"), "warn")
    return {
        "site_name": f"cascade_driver {version()}",
        "site_dir": str(out),
        "docs_dir": "docs",
        "nav": [{"Front page": "index.md"}, *({topic: f"{topic}.md"} for topic in CHAPTERS)],
        "theme": {
            "name": "material",
            "font": False,  # no network
            "features": ["navigation.sections", "content.code.copy"],
            "palette": [
                {
                    "media": f"(prefers-color-scheme: {scheme})",
                    "scheme": name,
                    "toggle": {"icon": "material/brightness-6", "name": f"to {other}"},
                }
                for scheme, name, other in (("light", "default", "dark"), ("dark", "slate", "light"))
            ],
        },
        # `offline`: pages and their search work from a folder, without a server.
        "plugins": ["search", "offline"],
        "markdown_extensions": ["tables", "toc", "pymdownx.superfences", "pymdownx.highlight"],
        "validation": {"nav": {"omitted_files": "warn", "not_found": "warn"}, "links": links},
    }
