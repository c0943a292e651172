"""A step of the build: the commit goes into what is built, and the data into the wheel."""

from __future__ import annotations

import importlib.util
import tempfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: Of two files of this size that are alike, a wheel carries one.
_LARGE_bytes = 100_000


class DataHook(BuildHookInterface):
    """Adds files to a wheel and a source distribution; nothing in the checkout itself is changed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them; an editable installation asks git and finds the data in the checkout."""
        if version == "editable":
            return
        root = Path(self.root)
        found = importlib.util.spec_from_file_location("version", root / "cascade_driver" / "version.py")
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        self._folder = tempfile.TemporaryDirectory()
        written = {module.COMMIT_FILE: module.commit_of(root / "cascade_driver") + "\n"}
        if self.target_name == "wheel":
            files = [f for kind in self.config["data"] for f in sorted((root / kind).rglob("*")) if f.is_file()]
            names = [file.relative_to(root).as_posix() for file in files]
            left_out = {n for n in names if any(fnmatch(n, pattern) for pattern in self.config["left-out"])}
            first: dict[bytes, str] = {}
            same = {}
            for name in reversed(names):
                if name in left_out:
                    continue
                content = (root / name).read_bytes()
                if len(content) >= _LARGE_bytes and (other := first.setdefault(content, name)) != name:
                    same[name] = other
                else:
                    build_data["force_include"][str(root / name)] = f"cascade_driver/_data/{name}"
            written[module.KEPT_ONCE_FILE] = "".join(f"{name}\t{other}\n" for name, other in same.items())
            written[module.LEFT_OUT_FILE] = "".join(f"{name}\n" for name in sorted(left_out))
        for name, text in written.items():
            file = Path(self._folder.name) / Path(name).name
            file.write_text(text, encoding="utf-8")
            build_data["force_include"][str(file)] = f"cascade_driver/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Tidy up."""
        del version, build_data, artifact_path
        if hasattr(self, "_folder"):
            self._folder.cleanup()
