"""The model `cawo4` that comes with the package: its table of cascades gives it again."""

import contextlib
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cascade_driver as cd
from cascade_driver.analysis.defect_probability import defect_points
from cascade_driver.analysis.distribution import summarise_stored_energies
from cascade_driver.analysis.imported import IMPORT_FILE, load_import
from cascade_driver.analysis.outcomes import usable_cascades
from cascade_driver.analysis.published import CAWO4, shipped_model_folder
from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.guide.chapters import chapter
from cascade_driver.models import MODEL_FILE
from cascade_driver.schema import read_json
from cascade_driver.spectra.ensemble_content import unpacked

FOLDER = shipped_model_folder(CAWO4)
#: Tables of runs, which the wheel leaves out.
RUNS = Path(__file__).parents[2] / "potentials"


def numbers_of_the_guide() -> list[str]:
    """The numbers of the guide that this model makes; `pytest -s` prints them after a longer campaign."""
    rows = []
    for species, model in cd.load_model(CAWO4).species.items():
        cascades = usable_cascades(load_import(FOLDER)[1], species=species)
        sums = {one.recoil_energy_eV: one for one in summarise_stored_energies(cascades)}
        for point in defect_points(cascades):
            one = sums[point.recoil_energy_eV]
            mean = "-"
            if one.mean_eV is not None and one.standard_error_eV is not None:
                share = one.mean_eV / one.recoil_energy_eV
                mean = f"{one.mean_eV:.1f} ± {one.standard_error_eV:.1f} eV, {share:.0%}"
            rows.append(
                f"| {species}, {one.recoil_energy_eV:g} eV | {one.n_cascades} | {point.probability:.2f} "
                f"({point.lower:.2f} to {point.upper:.2f}) | {mean} |"
            )
        fit = model.defect_probability_fit
        (half, width), (half_error, width_error) = fit.values, fit.errors
        rows.append(f"| {species} | {half:.0f} ± {half_error:.0f} eV | {width:.0f} ± {width_error:.0f} eV |")
    one = cd.load_model(CAWO4).species["W"].distribution
    mean_eV = one.mean_eV(np.array([160.0]))[0]
    rows.append(f"a recoil of 160 eV that stores energy keeps {mean_eV:.1f} eV")
    for name, spectrum in (
        ("dark matter of 2 GeV", cd.dark_matter(mass_GeV=2, cross_section_cm2=1e-40, **_TO_200_EV)),
        ("reactor neutrinos", cd.reactor(power_GW=[4.25, 4.25], distance_m=[72, 102], **_TO_200_EV)),
    ):
        seen = cd.observe(spectrum, CAWO4).to_pandas().query("20 <= energy_low_eV < 150")
        most, least = (seen.loc[at] for at in (seen.ratio.idxmax(), seen.ratio.idxmin()))
        low, high = (most[f"observed_{side}"] / most.expected for side in ("lower", "upper"))
        rows.append(
            f"{name}: at most {most.ratio:.2f} ({low:.2f} to {high:.2f}) of the expected rate, "
            f"at {most.energy_low_eV:.0f} eV, at least {least.ratio:.2f}, at {least.energy_low_eV:.0f} eV"
        )
    return rows


_TO_200_EV = {"target": "CaWO4", "energy_eV": (1, 200), "bins": 199}


def test_the_guide_tells_its_numbers():
    rows = numbers_of_the_guide()
    print(*rows, sep="\n")
    said = " ".join(chapter("trust").split())
    assert [row for row in rows if " ".join(row.split()) not in said] == []


#: Species, table of a run, its column of stored energies, and the energies taken.
Source = tuple[str, str, str, tuple[int, ...]]

#: Where the tables are from: species, table of a run, its column, and the energies taken: of each the largest box.
SOURCES: tuple[Source, ...] = (
    ("W", "cawo4-pbe-two-tier/campaign.csv", "stored_energy_follow_eV", (20, 30, 40, 50)),
    ("W", "cawo4-pbe-spline/validation/campaign-3024.csv", "stored_energy_eV", (60, 112)),
    ("W", "cawo4-pbe-spline/validation/protocol-12000-closed.csv", "stored_energy_eV", (81,)),
    ("W", "cawo4-pbe-spline/validation/campaign-12000.csv", "stored_energy_eV", (81, 200)),
    ("W", "cawo4-pbe-spline/validation/campaign-12000-2.csv", "stored_energy_eV", (81,)),
    ("W", "cawo4-pbe-spline/validation/campaign-12000-3.csv", "stored_energy_eV", (81,)),
    ("W", "cawo4-pbe-spline/validation/campaign-12000-160.csv", "stored_energy_eV", (160,)),
    ("Ca", "cawo4-pbe-spline/validation/campaign-ca-o-15.csv", "stored_energy_eV", (15,)),
    ("Ca", "cawo4-pbe-spline/validation/campaign-ca-o.csv", "stored_energy_eV", (30, 60, 100)),
    ("Ca", "cawo4-pbe-spline/validation/campaign-ca-o-200.csv", "stored_energy_eV", (200,)),
    ("O", "cawo4-pbe-spline/validation/campaign-o-8.csv", "stored_energy_eV", (8,)),
    ("O", "cawo4-pbe-spline/validation/campaign-ca-o-15.csv", "stored_energy_eV", (15,)),
    ("O", "cawo4-pbe-spline/validation/campaign-ca-o.csv", "stored_energy_eV", (30, 60, 100)),
    ("O", "cawo4-pbe-spline/validation/campaign-ca-o-200.csv", "stored_energy_eV", (200,)),
)
#: What smaller boxes say of W of 81 eV, in place of the largest ones.
SMALLER_BOXES: tuple[Source, ...] = (
    ("W", "cawo4-pbe-spline/validation/protocol-3024-closed.csv", "stored_energy_eV", (81,)),
    ("W", "cawo4-pbe-spline/validation/campaign-3024-2.csv", "stored_energy_eV", (81,)),
    ("W", "cawo4-pbe-spline/validation/campaign-6000.csv", "stored_energy_eV", (81,)),
)
#: PBE over spline: what four ends of 10.5 eV in the mean come to where PBE relaxes them (guide, trust).
RELAXED = 0.886
SPECIES = tuple(dict.fromkeys(source[0] for source in SOURCES))


def cascades_of_the_runs(species: str, sources: Sequence[Source] = SOURCES) -> list[list[float]]:
    """Energy, direction, stored energy and weight of each cascade of a species in the tables of the runs."""
    rows = []
    for of, file, column, energies in sources:
        if of != species:
            continue
        with (RUNS / file).open(encoding="utf-8") as stream:
            for row in csv.DictReader(line for line in stream if not line.startswith("#")):
                energy = round(float(row["recoil_energy_eV"]), 6)
                if (row["species"], row["outcome"]) == (of, "completed") and energy in energies:
                    names = (*(f"direction_{axis}" for axis in "xyz"), column, "direction_weight")
                    rows.append([energy, *(float(row[name]) for name in names)])
    return rows


@pytest.mark.parametrize("species", SPECIES)
def test_its_tables_are_those_of_the_runs(species):
    """Written again by `import` from the tables of the runs, as README.md beside the model says."""
    rows = np.array(cascades_of_the_runs(species))
    table = load_import(FOLDER)[1]
    mine = table.species == species
    energies, given = table.recoil_energy_eV[mine], table.direction_weight[mine]
    here = np.column_stack([energies, table.direction[mine], table.stored_energy_eV[mine]])
    np.testing.assert_allclose(here, rows[:, :5], rtol=1e-8, atol=1e-12)  # directions to their digits
    for energy in np.unique(energies):
        of_it = energies == energy
        expected = rows[of_it, 5] / rows[of_it, 5].sum()
        assert given[of_it] == pytest.approx(expected, rel=1e-12)


def tables() -> dict[str, str]:
    return {species: (FOLDER / f"{species}.csv").read_text() for species in SPECIES}


def in_smaller_boxes(table: str) -> str:
    """Return the cascades of W with those of 81 eV in smaller boxes, by the columns of its table."""
    head, *rows = csv.reader(table.splitlines())
    energy = head.index("recoil_energy_eV")
    others = [[str(number) for number in row] for row in cascades_of_the_runs("W", SMALLER_BOXES)]
    replaced = {float(row[energy]) for row in others}
    kept = [row for row in rows if float(row[energy]) not in replaced]
    return "".join(",".join(row) + "\n" for row in (head, *kept, *others))


def refitted(folder: Path, tables: dict[str, str]) -> Any:
    """Return what the commands of README.md beside the model make of tables of cascades."""
    (folder / "W-smaller-boxes.csv").write_text(in_smaller_boxes(tables["W"]))
    (folder / "relaxed-tables").mkdir()
    for species, table in tables.items():
        (folder / f"{species}.csv").write_text(table)
        head, *rows = csv.reader(table.splitlines())
        stored = head.index("stored_energy_eV")
        for row in rows:
            row[stored] = repr(float(row[stored]) * RELAXED)
        lines = "".join(",".join(row) + "\n" for row in (head, *rows))
        (folder / "relaxed-tables" / f"{species}.csv").write_text(lines)
    made = read_json(FOLDER / IMPORT_FILE)
    origin = ["--source", made["source"], "--notes", *made["notes"]]
    fit = ["--shape", "auto"]
    with contextlib.chdir(folder):
        for out, place, words in (("relaxed", "relaxed-tables/", []), ("cawo4", "", origin)):
            given = [f"{species}={place}{species}.csv" for species in tables]
            assert main(["import", "--crystal", "CaWO4", *given, *words, "--out", out]) == 0
        assert main(["import", "--crystal", "CaWO4", "W=W-smaller-boxes.csv", "--out", "smaller"]) == 0
        for name, out in (("relaxed", "relaxed.json"), ("smaller", "smaller-boxes.json")):
            assert main(["fit", name, *fit, "--out", f"cawo4/{out}"]) == 0
        others = ["--potential-runs", "relaxed.json", "--protocol-runs", "smaller-boxes.json"]
        assert main(["fit", "cawo4", *fit, *others]) == 0
    return read_json(folder / "cawo4" / MODEL_FILE)


def differences(one: Any, other: Any, at: str = "model") -> list[str]:
    """Return where two contents differ, numbers by more than the bits in which minimisers on processors do."""
    if isinstance(one, dict) and isinstance(other, dict) and "packed" in one and "packed" in other:
        one, other = ({**each, "packed": unpacked(each).ravel().tolist()} for each in (one, other))
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for name in one for found in differences(one[name], other[name], f"{at}.{name}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for k, (a, b) in pairs for found in differences(a, b, f"{at}[{k}]")]
    is_same = one == (pytest.approx(other, rel=1e-4, abs=1e-5) if isinstance(other, float) else other)
    return [] if is_same else [f"{at}: {one!r} and {other!r}"]


def test_its_cascades_refit_to_the_model(tmp_path):
    assert differences(refitted(tmp_path, tables()), read_json(FOLDER / MODEL_FILE)) == []


def test_negative_control_a_cascade_less_is_another_model(tmp_path):
    fewer = {species: "".join(table.splitlines(keepends=True)[:-1]) for species, table in tables().items()}
    assert differences(refitted(tmp_path, fewer), read_json(FOLDER / MODEL_FILE))


def test_command_and_library_take_it_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / CAWO4).mkdir()  # the name comes before what lies about
    words = "spectrum cevns --target CaWO4 --power-GW 4.25 --distance-m 72 --energy-eV 1 80 --bins 79 --out nu.csv"
    assert main(words.split()) == 0
    assert main(["correct", CAWO4, "nu.csv", "--out", "seen.csv"]) == 0
    assert "more is stored than printed" in capsys.readouterr().err
    pair = cd.observe(cd.read_spectrum("nu.csv"), CAWO4)
    total = cd.read_spectrum("seen.csv").total_counts_per_kg_day
    assert pair.observed_in_same_bins.total_counts_per_kg_day == pytest.approx(total, rel=1e-9)
    assert pair.bands is not None
    assert main(["cite", CAWO4]) == 0
    assert "cawo4-pbe-spline" in capsys.readouterr().out


def test_it_ends_where_its_cascades_end():
    reach_eV = float(load_import(FOLDER)[1].recoil_energy_eV.max())
    beyond = cd.dark_matter("CaWO4", mass_GeV=5, cross_section_cm2=1e-40, energy_eV=(1, reach_eV + 50), bins=50)
    with pytest.raises(InputError, match=f"simulated up to {reach_eV:g} eV"):
        cd.observe(beyond, CAWO4)
