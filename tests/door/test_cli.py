"""Where the program meets shells, terminals and people: nothing of theirs may stop it, and nothing acts."""

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from complaints import complaint
from fake_engine import a_campaign, a_run

from cascade_driver.cli import main
from cascade_driver.commands import spectra as spectra_verbs
from cascade_driver.commands.parser import make_parser
from cascade_driver.errors import InputError, told
from cascade_driver.text import visible

CASCADE = [sys.executable, "-c", "import sys; from cascade_driver.cli import main; sys.exit(main())"]

SPECTRUM = "energy_low_eV,energy_high_eV,rate_W\n" + "".join(f"{e},{e + 1},1\n" for e in range(20, 60))

#: What Jupyter sets for all that a notebook starts.
NOTEBOOK = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}


def cascade(*arguments: object, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*CASCADE, *map(str, arguments)],
        env={**os.environ, **variables},
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def spectra(tmp_path_factory) -> tuple[Path, Path]:
    """A recoil spectrum and what is observed of it."""
    folder = tmp_path_factory.mktemp("spectra")
    recoil, observed = folder / "recoil.csv", folder / "observed.csv"
    recoil.write_text(SPECTRUM)
    assert main(["correct", "cawo4-published", str(recoil), "--no-bands", "--out", str(observed)]) == 0
    return recoil, observed


def test_a_backend_that_only_a_notebook_has_does_not_matter(tmp_path, spectra):
    # Negative control: matplotlib alone does not load.
    alone = subprocess.run(
        [sys.executable, "-c", "import matplotlib"],
        env={**os.environ, **NOTEBOOK},
        capture_output=True,
        check=False,
    )
    if alone.returncode == 0:
        pytest.skip("matplotlib_inline is installed here")
    drawn = cascade("draw", *spectra, "--out", tmp_path / "figure", **NOTEBOOK)
    assert (drawn.returncode, drawn.stderr) == (0, b"")
    assert (tmp_path / "figure.png").is_file()


@pytest.mark.parametrize("verb", ["correct", "draw"])
def test_matplotlib_is_loaded_for_figures_alone(tmp_path, spectra, verb):
    recoil, _ = spectra
    arguments = {
        "correct": ["correct", "cawo4-published", str(recoil), "--no-bands", "--out", str(tmp_path / "o.csv")],
        "draw": ["draw", *map(str, spectra), "--out", str(tmp_path / "figure")],
    }[verb]
    program = (
        "import sys\nfrom cascade_driver.cli import main\n"
        f"code = main({arguments!r})\nprint(code, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"0 {verb == 'draw'}"


def test_an_ascii_terminal_is_spoken_to_in_ascii(tmp_path):
    run = a_run(tmp_path / "Läufe", a_campaign())
    plan = run.path / "campaign.json"
    assert b'"title":"trial"' in plan.read_bytes()
    for variables in (
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ):
        done = cascade("status", run.path, **variables)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.isascii()
        refused = cascade("status", tmp_path / "Ünter ± µ", **variables)
        assert refused.returncode == 2
        assert refused.stderr.isascii()
        assert refused.stderr.count(b"\n") == 1
    written = cascade("tls", "damping", *TLS, "--out", tmp_path / "ü.csv", PYTHONIOENCODING="ascii")
    assert written.returncode == 0
    assert (tmp_path / "ü.csv").read_text(encoding="utf-8")


TLS = (
    *("--mode-frequency-Hz", "17.5e6", "--thickness-nm", "130", "--width-nm", "300", "--points", "3"),
    *("--strength", "4.3e-5", "--strain-coupling-eV", "9.8"),
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[/red] :smile: $x_$", "[/red] :smile: $x_$"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("\u202ereversed", "\\u202ereversed"),
        ("Läufe ±", "Läufe ±"),
    ],
)
def test_a_title_is_shown_as_it_stands(text, shown, capsys):
    from cascade_driver.terminal.console import headed, make_console

    assert visible(text) == shown
    console = make_console()
    console.print(headed(text, " and the rest"))
    console.print(f"{text} and the rest")
    assert capsys.readouterr().out.splitlines() == [f"{shown} and the rest"] * 2


def test_names_are_drawn_as_they_stand(tmp_path, spectra):
    from matplotlib.text import Text

    from cascade_driver.plot import save_figure, spectra_figure
    from cascade_driver.spectra.observe import observed_of_files

    titles = {"a $x_$ title": "a \\$x_\\$ title", "_hidden": " _hidden", "結晶": "□□"}
    figure = spectra_figure([observed_of_files(*spectra, title=title) for title in titles])
    save_figure(figure, tmp_path / "figure")  # a broken formula would not be drawn
    assert set(titles.values()) <= {text.get_text() for text in figure.findobj(Text)}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--energy-eV", "1", "9e200", "--bins", "4"], "--energy-eV: 9e200 is larger than any quantity"),
        (["--energy-eV", "nan", "9", "--bins", "4"], "--energy-eV: 'nan' is not a finite number"),
        (["--energy-eV", "1", "1e999", "--bins", "4"], "--energy-eV: '1e999' is not a finite number"),
        (
            ["--energy-eV", "1", "9", "--bins", "1" + 12 * "0"],
            "--bins: 1000000000000 is too many; give at most 1000",
        ),
        (["--energy-eV", "1", "9", "--bins", 5000 * "9"], "is not a whole number of at least 1"),
        (["--energy-eV", "1", "9", "--bins", "4", "--out", "."], "--out: . is a folder; give the name of a file"),
        (["--energy-eV", "1", "9", "--bins", "4", "--out", ""], "--out: an empty name"),
        (["--energy-eV", "1", "9", "--bins", "4", "--out", 300 * "é"], "--out: a name of 600 bytes"),
        (["--energy-eV", "1", "9", "--bins", "4", "--out", "\x1b[2J.csv"], "the control character \\x1b"),
    ],
)
def test_an_argument_that_cannot_be_used_gets_one_line(capsys, arguments, expected):
    wanted = ["--target", "Si", "--mass-GeV", "1", "--cross-section-cm2", "1e-40", "--out", "x.csv"]
    assert expected in complaint(capsys, "spectrum", "dm", *wanted, *arguments)


def test_what_is_read_or_computed_is_not_written_over(capsys, tmp_path):
    model, spectrum, run = tmp_path / "model.json", tmp_path / "s.csv", tmp_path / "RUN"
    (run / "cascades").mkdir(parents=True)
    for place in (model, spectrum, run / "campaign.json", run / "input.toml"):
        place.write_text("old")
    other = tmp_path / "x" / ".." / "s.csv"
    (tmp_path / "x").mkdir()
    for out in (spectrum, model, other):
        line = complaint(capsys, "correct", model, spectrum, "--out", out)
        assert "is read and would be replaced; give another name" in line
    for out in ("campaign.json", "input.toml", "cascades/new.csv"):
        line = complaint(capsys, "correct", "cawo4-published", spectrum, "--out", run / out)
        assert f"of the run {run} is written by the campaign alone" in line
    assert {place.read_text() for place in tmp_path.rglob("*.*") if place.is_file()} == {"old"}
    # what people put beside it, and the same names elsewhere, are theirs
    dm = ["spectrum", "dm", "--target", "Si", "--mass-GeV", "1", "--cross-section-cm2", "1e-40", "--energy-eV"]
    for out in (run / "mine.csv", tmp_path / "campaign.json"):
        assert main([*dm, "1", "9", "--bins", "4", "--out", str(out)]) == 0


@pytest.mark.parametrize(
    ("refused", "expected"),
    [(False, "note: careful\nnote: overflow encountered\n"), (True, "note: careful\ncascade: too far\n")],
)
def test_a_librarys_warning_is_a_line_and_one_of_arithmetic_gives_way_to_a_refusal(
    capsys, monkeypatch, refused, expected
):
    def warn(_):
        warnings.warn("overflow\nencountered", RuntimeWarning, stacklevel=1)
        warnings.warn("careful", UserWarning, stacklevel=1)
        if refused:
            raise InputError("too far")
        return 0

    monkeypatch.setattr(spectra_verbs, "_lines", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        given = ["lines", "x.csv", "--at-eV", "1", "--exposure-kg-day", "1", "--resolution-eV", "1"]
        assert main(given) == (2 if refused else 0)
    assert capsys.readouterr().err == expected


def test_trouble_of_the_world_is_one_line_and_a_bug_is_not():
    assert told(MemoryError("Unable to allocate 693. GiB")).startswith(
        "not enough memory (Unable to allocate 693."
    )
    assert "ulimit -n" in told(OSError(24, "Too many open files"))
    assert "links lead in a circle" in told(RuntimeError("Symlink loop from 'x'"))
    assert "nested too deeply" in told(RecursionError("maximum recursion depth exceeded"))
    for bug in (ValueError("x"), KeyError("x"), ImportError("No module named x"), RuntimeError("x"), IndexError()):
        assert told(bug) is None


def test_a_deleted_current_directory_is_told(tmp_path):
    program = (
        "import os, sys\nfrom cascade_driver.cli import main\n"
        "os.rmdir(os.getcwd())\nsys.exit(main(['status', 'RUN']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "the current directory has been deleted" in done.stderr


@pytest.mark.parametrize("limit", [("NOFILE", 3), ("AS", 2**28)])
def test_too_few_files_or_too_little_memory_is_one_line(spectra, limit, tmp_path):
    name, value = limit
    arguments = ["correct", "cawo4-published", str(spectra[0]), "--out", str(tmp_path / "o.csv")]
    program = (
        "import resource, sys\nfrom cascade_driver.cli import main\n"
        f"resource.setrlimit(resource.RLIMIT_{name}, ({value}, {value}))\nsys.exit(main({arguments!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("cascade: ")


def test_an_interrupt_while_the_program_loads_is_one_line(spectra, tmp_path):
    arguments = ["correct", "cawo4-published", str(spectra[0]), "--out", str(tmp_path / "o.csv")]
    program = (
        f"import sys\nfrom cascade_driver.cli import main\nprint('in', flush=True)\nsys.exit(main({arguments!r}))"
    )
    for wait_s in (0.02, 0.1, 0.3, 0.6):
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            process.stdout.readline()
            time.sleep(wait_s)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        if process.returncode == 0:  # it was done before
            continue
        assert process.returncode == 130, said
        assert said == "cascade: interrupted; the same command continues where it stopped\n"


@pytest.mark.parametrize(
    ("verb", "twice"),
    [
        (
            ["correct", "cawo4-published", "dm.csv", "--out", "x.json", "--workspace", "x.json"],
            "--out and --workspace",
        ),
        (
            ["correct", "cawo4", "dm.csv", "--out", "x.csv", "--workspace", "z", "--hs3", "./z"],
            "--workspace and --hs3",
        ),
        (["export", "RUN", "--table", "t.csv", "--table", "t.csv"], "(--table)"),
        (["export", "RUN", "--table", "t.h5", "--response", "t.h5"], "--table and --response"),
        (["background", "film", "--out", "m.csv", "--map", "m"], "--out and --map"),
        (["background", "film", "--out", "m.csv", "--figure", "f", "--map", "f"], "--figure and --map"),
        (["lines", "dm.csv", "--out", "f.png", "--figure", "f"], "--out and --figure"),
    ],
)
def test_two_outputs_of_one_name_are_refused_before_anything_is_read(capsys, tmp_path, monkeypatch, verb, twice):
    monkeypatch.chdir(tmp_path)
    line = complaint(capsys, *verb)
    assert "would be replaced; give each its own name" in line
    assert twice in line
    assert not list(tmp_path.iterdir())


def test_what_goes_to_the_terminal_may_go_there_twice():
    verb = ["correct", "cawo4", "dm.csv", "--out", "/dev/null", "--workspace", "/dev/null"]
    assert make_parser().parse_args(verb).workspace == Path("/dev/null")


@pytest.mark.parametrize(
    "given",
    [
        ["--mass-GeV", "2_0", "--energy-eV", "1", "9", "--bins", "4"],
        ["--mass-GeV", "2", "--energy-eV", "1", "9_0", "--bins", "4"],
        ["--mass-GeV", "2", "--energy-eV", "1", "9", "--bins", "4_0"],
    ],
)
def test_an_underscore_is_no_part_of_a_number(capsys, given):
    wanted = ["--target", "Si", "--cross-section-cm2", "1e-40", "--out", "x.csv"]
    assert re.search(
        r"'\d_0' is not a (finite|whole) number", complaint(capsys, "spectrum", "dm", *wanted, *given)
    )
