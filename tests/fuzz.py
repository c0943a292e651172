# ruff: noqa: E501  (command lines stand in one line)
"""Bad input by the thousand: command lines of every verb, each spoilt in one place or two.

`in_a_cage.sh python fuzz.py FOLDER FIRST LAST` makes a small run, spectra, labels and inputs in FOLDER, and runs the
trials of these numbers; a number and the seed are all that a trial depends on. It prints a line of JSON for each
trial that is not as it must be. Trials are processes of their own, forked from one that has loaded everything.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SEED = 20261125

#: A trial that takes more processor time, or does nothing for so long, hangs.
LIMIT_cpu_s, LIMIT_idle_s = 20, 20

#: So that nothing asks this machine for more than it has.
LIMIT_memory_bytes = 6 * 2**30

#: 1 and 3 are answers of these: not the same, not sound, not fit, not all known.
VERDICTS = ("verify", "reproduce", "check")

NUMBERS = (
    *("nan", "inf", "-inf", "-1", "0", "-0.0", "1e308", "-1e308", "1e-320", "1e-30", "1e30", "1000000000000"),
    *(
        "9" * 400,
        "9" * 5000,
        "0.5",
        "1,5",
        "½",
        "٣",
        "0x10",
        "1e",
        "--",
        "1 2",
        "True",
        "3.7",
        "2147483648",
        "1e5",
    ),
)
WORDS = (
    *(
        "",
        " ",
        "-",
        ".",
        "..",
        "/",
        "abc",
        "[/red]",
        "[bold]",
        "$x_$",
        "\x1b[2J",
        "é" * 200,
        "a" * 300,
        "x" * 5000,
    ),
    *(
        "../../etc/passwd",
        "/dev/null",
        "/dev/full",
        "/dev/zero",
        "/proc/self/mem",
        "None",
        "=",
        "W=",
        "W=nan",
        "=1",
    ),
    *(
        "%s",
        "%(x)s",
        "{0}",
        "結晶",
        "\u202eabc",
        "Si Si",
        "Si,Si",
        "CaWO4[W999=1]",
        "()",
        "Si(",
        "Uuo",
        "99999-99-99",
    ),
    *("2026-02-30", "NaN", "\udcff", "~", "*", "a\nb", "a\\", "'", '"', "CON", "nowhere/x.csv", "RUN", "dm.csv"),
)
OPTIONS = (
    "--nonsense",
    "--help-me",
    "-x",
    "--bins",
    "--out",
    "--target",
    "--log",
    "--json",
    "--seed",
    "--workers",
)

DM = ("--target", "Si", "--mass-GeV", "2", "--cross-section-cm2", "1e-40")
BINS = ("--energy-eV", "10", "150", "--bins", "14")
BEAM = ("--mode-frequency-Hz", "17.5e6", "--thickness-nm", "130", "--width-nm", "300")
CRYSTAL = ("--crystal", "Si", "--repeat", "1", "1", "1", "--queue", "QUEUE")

#: Valid command lines of every verb, cheap ones more often.
COMMANDS: tuple[str, ...] = (
    "run plan.toml --out NEW --plan-only",
    "run plan.toml --out NEW --plan-only --workers 2 --executor serial",
    "run plan.toml --out NEW --plan-only --redo-failed --redo-outcome lost_atoms",
    "submit RUN --slurm --dry-run --tasks 4 --time 1:00:00 --cpus 1 --memory-MiB 900 --partition p --account a",
    "work RUN --workers 1 --until 0",
    "status RUN",
    "status RUN --json",
    "verify RUN",
    "export RUN --table t.csv --structures st",
    "export RUN --ase-db t.db",
    "show RUN FIRST_ID",
    "show RUN FIRST_ID --json",
    "ls RUN --sort stored --reverse --species Si --energy-eV 20 --json",
    "defects RUN --out d.csv",
    "cite RUN --bibtex",
    "cite cawo4-published",
    "compare RUN RUN",
    "schema input --out schema.json",
    "guide method",
    "new NEW.toml --crystal Si --potential si-tersoff-zbl --purpose dark-matter --machine minutes",
    "threshold threshold.toml --out NEW --plan-only",
    "import --crystal Si --source somebody Si=stored.csv --allow-failures --out NEW",
    "estimate pairs --target Si --displacement-eV Si=20 --pair-eV 5 --energies-eV 10 100 1000 --out x.csv",
    "estimate resolution --target Si --displacement-eV 20 --pair-eV 5 --energy-keV 5000",
    "capture lines TeO2 --between-eV 100 400 --first 5 --neutron-flux-cm2-s 100 --out x.csv",
    "potential compare si-tersoff-zbl si-sw-zbl --crystal Si --directions 2 --plan-only --out NEW",
    "train relax cell.extxyz --potential POTENTIAL --most-steps 2 --out NEW",
    "fit RUN --out m.json --shape gaussian --order 1",
    "fit RUN --out m.json --direction 0 0 1 --angular-width-deg 40",
    "report RUN",
    "plan RUN --between-eV 30 120",
    "spectrum dm " + " ".join((*DM, *BINS)) + " --out x.csv",
    "spectrum dm " + " ".join((*DM, *BINS)) + " --mediator-mass-MeV 10 --coupling independent --date 2026-06-01 "
    "--density-GeV-cm3 0.4 --escape-speed-km-s 600 --most-probable-speed-km-s 220 --log --out x.csv",
    "spectrum dm "
    + " ".join((*DM, *BINS))
    + " --model model.json --extrapolate --resolution-eV 2 --threshold-eV 20 "
    "--no-bands --out x.csv",
    "spectrum cevns --target Si --power-GW 4 --distance-m 70 --energy-eV 10 150 --bins 14 --out x.csv",
    "spectrum cevns --target CaWO4 --enrich W183=0.9 --source mono --neutrino-energy-MeV 3 --neutrino-flux-cm2-s 1e9 "
    "--magnetic-moment-bohr 1e-11 --mediator-mass-MeV 1 --mediator-coupling 1e-10 --energy-eV 10 150 --bins 14 --out x.csv",
    "spectrum cevns --target Ge --source solar --solar-sources B8 hep --energy-eV 10 150 --bins 14 --out x.csv",
    "spectrum capture --target Si --neutron-flux-cm2-s 100 --energy-eV 0 1400 --bins 28 --gamma-timing in_flight "
    "--slowing-time-fs 100 --mass-g 10 --tag-keV 7200 --tag-width-keV 100 --tag-efficiency 0.5 --escape-keV 100 6000 "
    "--escape-probability 0.2 0.9 --out x.csv",
    "spectrum recoils list.csv --counts-per-kg-day 10 --element Si --energy-eV 0 200 --bins 20 --out x.csv",
    "spectrum levels levels.txt --captures-per-kg-day 10 --target Si --lifetime-unit-fs 1 --energy-eV 0 1400 --bins 28 "
    "--out x.csv",
    "correct model.json dm.csv --species Si --extrapolate --no-bands --out x.csv",
    "correct cawo4-published nu.csv --half-energy-eV 40 --width-eV 9 --assumption-error 0.2 --no-bands --out x.csv",
    "correct cawo4-published nu.csv --resolution-eV 3 --threshold-eV 20 --out x.csv",
    "correct RUN dm.csv --no-bands --extrapolate --out x.csv",
    "lines lines.csv --at-eV 80 112 --exposure-kg-day 1 --resolution-eV 4 --between-eV 40 150 --background-order 2 "
    "--recoils lines.csv --half-window-eV 4",
    "lines --table --target Si --neutron-flux-cm2-s 100 --density-g-cm3 2.3 --between-eV 40 150 --first 3 --out x.csv",
    "draw dm.csv observed.csv --titles one --labels a b --range-eV 10 100 --out figure",
    "draw dm.csv observed.csv --mass-g 10 --lines-eV 80 --log-counts --out figure",
    "modulation RUN " + " ".join((*DM, *BINS)) + " --threshold-eV 20 --latitude-deg 48 --longitude-deg 11 "
    "--date 2026-06-01 --times 2 --up 0 0 1 --east 1 0 0 --out x.csv",
    "background film film.toml --area-mm2 90 --mass-kg 0.01 --days 7 --metal Al --spacing-nm 60 --stress-MPa 120 "
    "--energy-eV 1 101 --bins 20 --events 2000 --seed 1 --out x.csv",
    "tls damping " + " ".join(BEAM) + " --strength 4e-5 --strain-coupling-eV 9.8 --charged-fraction 0.1 "
    "--electron-coupling 0.07 --temperature-K 0.01 10 --points 5 --out x.csv",
    "tls fit damping.csv " + " ".join(BEAM) + " --hold electron_coupling=0.07 --out fit.json",
    "tls fit kappa.csv --of conductivity --temperature-K 0.05 0.3 --longitudinal-speed-m-s 2700 "
    "--transverse-speed-m-s 1300 --out kappa.json",
    "tls fit quality.csv --of loss --frequency-Hz 6e9 --terms constant relaxation --hold crossover_K=1 --out loss.json",
    "tls dos --size 4 --interaction-K 2 --random-field-K 10 --concentration 0.5 --realisations 4 --seed 1 --workers 1 "
    "--out GLASS",
    "tls properties --prefactor-per-K 0.0135 --exponent 0.127 --cutoff-K 100 --coupling-K 1 --frequency-Hz 9e4 "
    "--crossover-K 0.1 --temperature-K 0.01 2 --points 3 --out x.csv",
    "tls scales --strong-coupling-eV 10 --weak-coupling-eV 0.2 --dipole-D 3 --distance-nm 3 --density-kg-m3 2200 "
    "--speed-m-s 3800",
    "tls debris RUN --out DEBRIS --cascades 1 --bursts 1 --saddle-searches 1 --images 3 --path-steps 2 --density-kg-m3 2329",
    "potential list",
    "potential show POTENTIAL",
    "potential show si-tersoff-zbl",
    "potential check POTENTIAL",
    "potential join body.lmp --species Si --inner 0.8 --outer 1.6 --title t --origin o --license l --out JOINED",
    "train propose file frames.extxyz --group given --queue QUEUE --priority 3",
    "train propose strain --strain 0.02 --rattle-A 0.1 --count 2 --seed 2 " + " ".join(CRYSTAL),
    "train propose pairs --pair Si Si --at-A 1.0 1.5 " + " ".join(CRYSTAL),
    "train propose strain --crystal cell.extxyz --count 1 --queue NEWQUEUE --settings label.toml",
    "train label QUEUE --until 0 --most 1",
    "train status QUEUE --json",
    "train collect QUEUE --out f.extxyz.gz",
    "train import frames.extxyz --out f.extxyz.gz",
    "train fit fit.toml --out STUDENT --cache CACHE",
    "train validate POTENTIAL --crystal Si --frames frames.extxyz --sections frames --out REPORT",
)

#: Those that run LAMMPS, fit much or load much: a few of a thousand.
DEAR = (
    "relax",
    "compare",
    "reproduce",
    "check",
    "join",
    "debris",
    "report",
    "validate",
    "film",
    "train fit",
    "plan RUN",
    "tls fit",
)

PLAN = """
title = "trial"
seed = 1
[crystal]
name = "Si"
repeats = [5, 5, 5]
[potential]
name = "si-tersoff-zbl"
[thermal]
temperature_K = 133
equilibration_ps = 0.02
snapshot_interval_ps = 0.01
[follow]
duration_ps = 0.01
max_displacement_A = 0.05
[analysis]
shape = "gaussian"
extrapolate = true
[detector]
resolution_eV = 2
threshold_eV = 10
[[recoils]]
species = "Si"
recoil_energies_eV = [20, 40]
directions = { scheme = "symmetry", count = 2 }
snapshots = 2
[[spectra]]
kind = "dm"
target = "Si"
mass_GeV = 2
cross_section_cm2 = 1e-40
energy_eV = [10, 100]
bins = 9
"""

THRESHOLD = """
title = "trial"
snapshots = 2
[crystal]
name = "Si"
repeats = [4, 4, 4]
[potential]
name = "si-tersoff-zbl"
[thermal]
temperature_K = 133
equilibration_ps = 0.02
snapshot_interval_ps = 0.01
[follow]
duration_ps = 0.2
max_displacement_A = 0.05
[[thresholds]]
species = "Si"
lowest_eV = 5
highest_eV = 60
directions = { scheme = "symmetry", count = 2 }
"""

STORED = "recoil_energy_eV,stored_energy_eV,direction_x,direction_y,direction_z\n" + "".join(
    f"{energy},{0.1 * energy if energy > 25 else 0},{x},{1 - x},0\n"
    for energy in (20, 30, 40, 60, 90)
    for x in (0, 1)
)

RUN_INPUT = PLAN.replace("[5, 5, 5]", "[1, 1, 1]")

LABELS = """
kind = "ase"
factory = "ase.calculators.lj:LennardJones"
"""

FIT = """
title = "trial"
origin = "test"
crystals = ["Si"]
[[data]]
file = "frames.extxyz"
[plan]
species = ["Si"]
folds = 2
zbl = { Si-Si = { inner_A = 0.8, outer_A = 1.6 } }
[plan.splines]
two_body_cutoff_A = 4.0
two_body_knot_A = 0.8
three_body_cutoff_A = 3.0
leg_knot_A = { Si-Si = 0.8 }
far_knot_A = { Si-Si = 1.2 }
"""

LEVELS = """# probability nucleus A [levels/keV] [lifetimes]
0.0216 29Si 29 [0]             [100000000000000.0]
7.0e-2 29Si 29 [1273.37 0]     [291.0   100000000000000.0]
"""

BODY = """pair_style morse 4.0
pair_coeff * * 1.0 1.5 2.3
"""


#: How trials ended, by exit code.
ENDS: collections.Counter[int | None] = collections.Counter()


@dataclass(frozen=True)
class Trial:
    """One command line and what was done to it."""

    number: int
    command: list[str]
    spoilt: list[str] = field(default_factory=list)


# -- what there is ------------------------------------------------------------------------------------------


def make_place(folder: Path) -> None:
    """Make everything that the commands name."""
    import numpy as np
    from ase.build import bulk
    from fake_engine import LawfulEngine, a_campaign, a_run, work_of

    from cascade_driver.campaign.executors import Serial
    from cascade_driver.cli import main
    from cascade_driver.simulation.potential import load_potential
    from cascade_driver.spectrum import Spectrum, write_spectrum
    from cascade_driver.training.frames import LabelledFrame, write_frames
    from cascade_driver.training.propose import strained
    from cascade_driver.validation.calculator import calculator

    folder.mkdir(parents=True)
    os.chdir(folder)
    energies = (20.0, 30.0, 40.0, 50.0, 60.0, 81.0, 112.0, 160.0)
    run = a_run(folder / "RUN", a_campaign(energies=energies, directions=4, snapshots=2))
    Serial().work(work_of(run, engine=LawfulEngine, workers=1), lambda _: None)
    Path("RUN/input.toml").write_text(RUN_INPUT)
    edges = np.linspace(0, 150, 16)
    fall = -np.diff(np.exp(-edges / 40)) * 100
    write_spectrum(Spectrum.from_counts(energy_edges_eV=edges, counts_per_kg_day={"Si": fall}), Path("dm.csv"))
    write_spectrum(Spectrum.from_counts(energy_edges_eV=edges, counts_per_kg_day={"W": fall}), Path("nu.csv"))
    fine = np.linspace(20, 160, 71)
    middles = (fine[1:] + fine[:-1]) / 2
    peaks = sum(1e4 * np.exp(-((middles - at) ** 2) / 32) for at in (72, 103))
    lines = Spectrum.from_counts(
        energy_edges_eV=fine, counts_per_kg_day={"": 50 + peaks}, energy_kind="observed", metadata={}
    )
    write_spectrum(lines, Path("lines.csv"))
    for text, name in {
        PLAN: "plan.toml",
        LABELS: "label.toml",
        FIT: "fit.toml",
        LEVELS: "levels.txt",
        BODY: "body.lmp",
        THRESHOLD: "threshold.toml",
        STORED: "stored.csv",
        "energy_eV,weight\n81.3,2\n112.4,1\n": "list.csv",
        'title = "film"\nfilm_area_mm2 = 91.2\ndetector_mass_kg = 0.0106\n[film]\ndislocation_spacing_nm = 60\n'
        'bulk_stress_MPa = 120\n[interface]\nmetal = "Al"\n': "film.toml",
    }.items():
        Path(name).write_text(text)
    potential = load_potential("si-tersoff-zbl")
    shutil.copytree(potential.folder, "POTENTIAL", ignore=shutil.ignore_patterns("validation"))
    box = bulk("Si", cubic=True)
    frames = []
    for number, atoms in enumerate([box, *strained(box, strain=0.02, count=7, rattle_A=0.1, seed=1)]):
        copy = atoms.copy()
        copy.calc = calculator(potential)
        frames.append(
            LabelledFrame(
                atoms=atoms,
                energy_eV=float(copy.get_potential_energy()),
                forces_eV_per_A=copy.get_forces(),
                stress_eV_per_A3=copy.get_stress(),
                group="perfect" if number == 0 else "rattle",
                trajectory=f"{number}",
            )
        )
    write_frames(Path("frames.extxyz.gz"), frames)
    import gzip

    Path("frames.extxyz").write_bytes(gzip.decompress(Path("frames.extxyz.gz").read_bytes()))
    box.write("cell.extxyz")
    made = (
        "fit RUN --out model.json",
        "correct model.json dm.csv --extrapolate --no-bands --out observed.csv",
        "train propose strain --crystal Si --count 1 --queue QUEUE --settings label.toml",
        "tls damping " + " ".join(BEAM) + " --strength 4e-5 --strain-coupling-eV 9.8 --points 9 --out made.csv",
    )
    for command in made:
        if main(command.split()) != 0:
            raise SystemExit(f"not made: {command}")
    table = np.genfromtxt("made.csv", delimiter=",", names=True)
    rows = [
        f"{r['temperature_K']},{r[name + '_damping_Hz']},{0.01 * r[name + '_damping_Hz']},{name}"
        for name in ("superconducting", "normal")
        for r in table
    ]
    kappa = "\n".join(f"{0.06 + 0.03 * i:g},{0.04 * (0.06 + 0.03 * i) ** 1.95:g}" for i in range(8))
    Path("kappa.csv").write_text(f"temperature_K,conductivity_W_mK\n{kappa}\n")
    quality = "\n".join(f"{0.06 + 0.03 * i:g},{1e6 / (1 + i):g},{1e4 / (1 + i):g}" for i in range(8))
    Path("quality.csv").write_text(f"temperature_K,quality,quality_error\n{quality}\n")
    Path("damping.csv").write_text("temperature_K,damping_Hz,damping_error_Hz,metal\n" + "\n".join(rows) + "\n")


def command_of(text: str) -> list[str]:
    """Return the words of a command, the id of a cascade filled in."""
    first = sorted(p.name for p in Path("RUN/cascades").iterdir())[0]
    return [first[:6] if word == "FIRST_ID" else word for word in text.split()]


# -- what is done to it -------------------------------------------------------------------------------------


def make_trial(number: int, place: Path) -> tuple[Trial, list[Callable[[Path], None]]]:
    """Return a trial, and what to do to its files."""
    rng = random.Random(f"{SEED}-{number}")
    os.chdir(place)
    text = rng.choice(COMMANDS)
    while any(word in text for word in DEAR) and rng.random() < 0.7:
        text = rng.choice(COMMANDS)
    command, spoilt, acts = command_of(text), [], []
    there = {p.name for p in place.iterdir()}
    for _ in range(rng.choice((1, 1, 1, 2))):
        files = [word for word in command[1:] if word in there]
        if files and rng.random() < 0.45:
            name = rng.choice(files)
            said, act = spoil_file(place, name, rng)
            spoilt.append(said)
            acts.append(act)
        else:
            command, said = spoil_words(command, rng)
            spoilt.append(said)
    return Trial(number, command, spoilt), acts


def spoil_words(command: list[str], rng: random.Random) -> tuple[list[str], str]:
    """Spoil one word of a command line."""
    words = list(command)
    places = [i for i, word in enumerate(words) if i > 0 and not word.startswith("--")]
    options = [i for i, word in enumerate(words) if word.startswith("--")]
    kind = rng.random()
    if kind < 0.6 and places:
        at = rng.choice(places)
        is_number = re.fullmatch(r"[\d.e+-]+", words[at]) is not None
        words[at] = rng.choice(NUMBERS if is_number and rng.random() < 0.75 else WORDS)
        return words, f"word {at} is {words[at][:40]!r}"
    if kind < 0.7 and options:
        at = rng.choice([i for i in options if words[i] != "--until"] or options)
        gone = words.pop(at)
        while at < len(words) and not words[at].startswith("--") and rng.random() < 0.8:
            words.pop(at)
        return words, f"without {gone}"
    if kind < 0.85:
        at = rng.randrange(1, len(words) + 1)
        new = [rng.choice(OPTIONS), *rng.sample(WORDS + NUMBERS, rng.randrange(2))]
        return words[:at] + new + words[at:], f"with {new[0]} at {at}"
    if kind < 0.95 and len(words) > 3:
        a, b = rng.sample(range(1, len(words)), 2)
        words[a], words[b] = words[b], words[a]
        return words, f"words {a} and {b} exchanged"
    at = rng.randrange(1, len(words))
    return [*words[:at], words[at], *words[at:]], f"word {at} twice"


def spoil_file(place: Path, name: str, rng: random.Random) -> tuple[str, Callable[[Path], None]]:
    """Return what to do to a file, or to one of a folder, and how to call it."""
    inside = sorted(str(p.relative_to(place)) for p in (place / name).rglob("*") if p.is_file())
    if inside:
        top = [p for p in inside if p.count("/") == 1]
        name = rng.choice(top if top and rng.random() < 0.6 else inside)
    kinds = {"gone": _gone, "folder": _folder, "pipe": _pipe, "zero": _zero, "loop": _loop, "closed": _empty}
    if rng.random() < 0.25:
        kind = rng.choice(sorted(kinds))
        return f"{name}: {kind}", lambda folder: kinds[kind](folder / name)
    content = (place / name).read_bytes()
    said, content = spoil_content(content, name, rng)
    return f"{name}: {said}", lambda folder: _written(folder / name, content)


def spoil_content(content: bytes, name: str, rng: random.Random) -> tuple[str, bytes]:
    """Spoil the content of a file."""
    whole: dict[str, Callable[[], bytes]] = {
        "empty": lambda: b"",
        "binary": lambda: rng.randbytes(300),
        "truncated": lambda: content[: rng.randrange(1 + len(content))],
        "BOM": lambda: b"\xef\xbb\xbf" + content,
        "latin-1": lambda: content + "# \xe9\n".encode("latin-1"),
        "UTF-16": lambda: content.decode("utf-8", "replace").encode("utf-16"),
        "CRLF": lambda: content.replace(b"\n", b"\r\n"),
        "CR": lambda: content.replace(b"\n", b"\r"),
        "NUL": lambda: content.replace(b"1", b"\0", 1),
        "deep": lambda: b'{"a":' * 3000,
        "deep list": lambda: b"a = " + b"[" * 3000,
        "twice": lambda: content + content,
        "flipped": lambda: _flipped(content, rng),
        "other": lambda: b"energy_low_eV,energy_high_eV,rate\n1,2,3\n",
        "one long line": lambda: b"9" * 100_000,
    }
    if rng.random() < 0.4 or b"\0" in content:
        said = rng.choice(sorted(whole))
        return said, whole[said]()
    text = content.decode("utf-8", "replace")
    values = list(re.finditer(r'(?<![\w.])[-+]?\d[\w.+-]*|"[^"]*"|(?<==)\s*[A-Za-z]\w*', text))
    kind = rng.random()
    if kind < 0.65 and values:
        found = rng.choice(values)
        new = rng.choice(NUMBERS if rng.random() < 0.75 else WORDS)
        if found[0].startswith('"') and rng.random() < 0.8:
            new = json.dumps(new)
        spoilt = text[: found.start()] + new + text[found.end() :]
        return f"{found[0][:30]!r} is {new[:40]!r}", spoilt.encode("utf-8", "surrogateescape")
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines)) if lines else 0
    if kind < 0.8 and lines:
        return f"line {at + 1} gone", "".join(lines[:at] + lines[at + 1 :]).encode("utf-8", "surrogateescape")
    if kind < 0.9 and len(lines) > 1:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
        return f"lines {at + 1} and {other + 1} exchanged", "".join(lines).encode("utf-8", "surrogateescape")
    keys = list(re.finditer(r"[A-Za-z_]{4,}", text))
    if keys:
        found = rng.choice(keys)
        return f"{found[0]!r} misspelt", (text[: found.start()] + "x" + text[found.start() :]).encode(
            "utf-8", "surrogateescape"
        )
    return "as it is", content


def _flipped(content: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(content)
    for _ in range(3):
        if spoilt:
            spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _gone(path: Path) -> None:
    path.unlink(missing_ok=True)


def _folder(path: Path) -> None:
    _gone(path)
    path.mkdir()


def _pipe(path: Path) -> None:
    _gone(path)
    os.mkfifo(path)


def _zero(path: Path) -> None:
    _gone(path)
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    _gone(path)
    path.symlink_to(path.name)


def _empty(path: Path) -> None:
    _written(path, b"")


def _written(path: Path, content: bytes) -> None:
    if path.is_file():
        path.write_bytes(content)


# -- what comes of it ---------------------------------------------------------------------------------------


def run_trial(
    trial: Trial, acts: list[Callable[[Path], None]], place: Path, work: Path
) -> dict[str, object] | None:
    """Run a trial in a process of its own; return what is wrong, if anything is."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(place, work, symlinks=True)
    for act in acts:
        with contextlib.suppress(OSError):
            act(work)
    before = {p: p.stat().st_mtime_ns for p in work.rglob("*") if p.is_file() and not p.is_symlink()}
    logs = work.parent / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(trial.command, work, logs)
    status, worked, rested = None, 0, began
    while status is None:
        done, found = os.waitpid(pid, os.WNOHANG)
        if done:
            status = found
            break
        now = time.monotonic()
        if now - rested > 1 and (ticks := ticks_of(pid)) > worked:
            worked, rested = ticks, now
        if now - rested > LIMIT_idle_s or worked > LIMIT_cpu_s * os.sysconf("SC_CLK_TCK"):
            break
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if status is None:
        os.waitpid(pid, 0)
    out, err = ((logs / name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err"))
    code = os.waitstatus_to_exitcode(status) if status is not None else None
    ENDS[code] += 1
    wrong = judge(trial, code, out, err, work, before)
    if trial.number < 0 and code != 0:
        wrong = wrong or f"exit code {code} of a valid command"
    if not wrong:
        return None
    return {
        "number": trial.number,
        "command": trial.command,
        "spoilt": trial.spoilt,
        "code": code,
        "wrong": wrong,
        "err": err[-3000:],
        "out": out[-500:],
        "seconds": round(time.monotonic() - began, 1),
    }


def ticks_of(session: int) -> int:
    """Return the processor time of all processes of a session, in clock ticks."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(words[3]) == session:
                ticks += sum(map(int, words[11:15]))  # its own, and that of children it has waited for
    return ticks


def _child(command: list[str], work: Path, logs: Path) -> None:
    """Be the trial: the rest of this process is the command."""
    code = 1
    try:
        os.setsid()
        os.chdir(work)
        for name, number in (("out", 1), ("err", 2)):
            descriptor = os.open(logs / name, os.O_CREAT | os.O_WRONLY)
            os.dup2(descriptor, number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_cpu_s, LIMIT_cpu_s + 5))
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT_memory_bytes, LIMIT_memory_bytes))
        from cascade_driver import cli

        try:
            code = cli.main(command)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def judge(trial: Trial, code: int | None, out: str, err: str, work: Path, before: dict[Path, int]) -> str:
    """Say what is wrong with how a command ended; nothing if all is as it must be."""
    if code is None or code == -signal.SIGXCPU or code == -signal.SIGKILL:
        return "hangs"
    if "Traceback" in err + out:
        return "traceback"
    if "Warning:" in err:
        return "a library's warning"
    verdict = code in {1, 3} and any(word in trial.command[:3] for word in VERDICTS)
    if code not in {0, 2, 130} and not verdict:
        return f"exit code {code}"
    told = [line for line in err.splitlines() if not line.startswith("note: ")]
    if code == 2 and (len(told) != 1 or not told[0].startswith("cascade: ")):
        if out.startswith("usage:") and not err:
            return ""
        return f"{len(told)} lines of complaint"
    if re.search(r"[\x00-\x08\x0b-\x1f]", out + err):
        return "control characters"
    if code == 0:
        new = [p for p in work.rglob("*") if p.is_file() and before.get(p) != p.lstat().st_mtime_ns]
        for path in new:
            if path.suffix in {".csv", ".json", ".toml", ".extxyz"} and not path.is_symlink():
                text = path.read_text(encoding="utf-8", errors="replace")
                if found := re.search(r"(?i)(?<![\w-])[-+]?(nan|inf|infinity)(?![\w-])", text):
                    return f"{found[0]} in {path.relative_to(work)}"
        unnamed = out
        for word in trial.command:
            unnamed = unnamed.replace(word, "") if word else unnamed
        if found := re.search(r"(?i)(?<![\w-])[-+]?(nan|inf)(?![\w-])", unnamed):
            return f"{found[0]} is printed"
    return ""


def load_everything() -> None:
    """Import the package, so that a trial costs what it does; LAMMPS and MPI stay out of what is forked."""
    import importlib
    import pkgutil

    import cascade_driver

    for module in pkgutil.walk_packages(cascade_driver.__path__, "cascade_driver."):
        # The guide's notebook is a script: it would run.
        if not module.name.endswith(("_fork_server", "lammps_build", "lammps_engine", "notebook")):
            importlib.import_module(module.name)


def main(arguments: list[str]) -> int:
    """Run trials; those below zero are the commands as they are."""
    folder, first, last = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    place = folder / "place"
    sys.stdout.reconfigure(line_buffering=True)
    if not place.exists():
        pid = os.fork()  # LAMMPS and MPI must not be at work in the process that the trials are forked from
        if pid == 0:
            code = 1
            try:
                with Path(os.devnull).open("w") as quiet, contextlib.redirect_stdout(quiet):
                    make_place(place)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        if os.waitpid(pid, 0)[1] != 0:
            return 1
    os.chdir(place)
    load_everything()
    for number in range(first, last):
        if number < 0:
            trial, acts = Trial(number, command_of(COMMANDS[-number - 1])), []
        else:
            trial, acts = make_trial(number, place)
        if number % 50 == 0:
            print(f"trial {number}", file=sys.stderr, flush=True)
        if wrong := run_trial(trial, acts, place, folder / "work"):
            print(json.dumps(wrong))
    print(json.dumps({"done": last - first, "ends": {str(code): n for code, n in ENDS.items()}}))
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main(sys.argv[1:]))
