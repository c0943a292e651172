"""A step of the build: the wheel and the source distribution carry the commit that they were made from."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface):
    """Writes what `cascade_driver.version` reads; nothing in the checkout itself is changed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the commit to what is built; an editable installation asks git instead."""
        if version == "editable":
            return
        root = Path(self.root)
        found = importlib.util.spec_from_file_location("version", root / "cascade_driver" / "version.py")
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name) / module.COMMIT_FILE
        file.write_text(module.commit_of(root / "cascade_driver") + "\n", encoding="ascii")
        build_data["force_include"][str(file)] = f"cascade_driver/{module.COMMIT_FILE}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Tidy up."""
        del version, build_data, artifact_path
        if hasattr(self, "_folder"):
            self._folder.cleanup()
