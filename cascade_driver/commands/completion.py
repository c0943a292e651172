"""The verb by which shells complete verbs and options with the Tab key."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from cascade_driver.commands.arguments import (
    Parser,
    Verbs,
    a_run,
    add_verb,
    any_path,
    new_file,
    new_folder,
    new_stem,
    run_or_model,
)

#: Shells, and where each looks for what completes a command.
_PLACES = {
    "bash": "~/.local/share/bash-completion/completions/cascade",
    "zsh": "a folder of $fpath, as _cascade",
    "tcsh": "a file that ~/.tcshrc sources",
}


def add_to(verbs: Verbs, command: Parser) -> None:
    """Add the verb of this module to the command that it completes."""
    about = "Print what makes a shell complete verbs and options."
    verb = add_verb(verbs, "completion", partial(_completion, command), about)
    told = "; ".join(f"{shell}: {place}" for shell, place in _PLACES.items())
    verb.add_argument("shell", choices=list(_PLACES), help=f"whose output goes into {told}")


def _completion(command: Parser, chosen: argparse.Namespace) -> int:
    import shtab

    for verb in command.leaves():
        for action in verb._actions:
            if action.type in (Path, any_path, new_file, new_stem, run_or_model):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif action.type in (a_run, new_folder):
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(command, shell=chosen.shell))
    return 0
