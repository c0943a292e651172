"""The ZBL core: against LAMMPS' own `pair_style zbl`, and joined to bodies that have none."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from cascade_driver.errors import InputError, PotentialError
from cascade_driver.schema import file_sha256
from cascade_driver.simulation.crystal import CrystalSpec, constituents
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import (
    Potential,
    ZblSwitch,
    data_folder,
    load_potential,
    shipped_potentials,
)
from cascade_driver.validation.zbl import CLOSEST_APPROACH_A, PairCurve, core_table, dimer, join_core, switch, zbl

#: A soft body for any species: repels, attracts, vanishes smoothly at 4 A.
SOFT_BODY = "pair_style morse 4.0\npair_coeff * * 0.5 1.5 2.6\npair_modify shift yes\n"
AL = {"Al-Al": ZblSwitch(inner_A=1.0, outer_A=1.8)}


def make_engine(potential: Potential) -> LammpsEngine:
    return LammpsEngine(potential=potential)


def write_potential(
    folder: Path, include: str, *, species: tuple[str, ...], files: Sequence[Path] = ()
) -> Potential:
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    (folder / "potential.lmp").write_text(include)
    pairs = [f"{a}-{b}" for i, a in enumerate(species) for b in species[i:]]
    zbl_lines = [f'"{p}" = {{ inner_A = 1.0, outer_A = 2.0 }}' for p in pairs]
    lines = [
        "schema_version = 1",
        'title = "t"',
        'origin = "o"',
        'license = "l"',
        'status = "qualitative"',
        f"species = {list(species)}",
        f"cutoff_A = {6.0 if files else 4.0}",
        "[zbl]",
        *zbl_lines,
        "[files]",
        *(f'"{name}" = "{file_sha256(folder / name)}"' for name in ("potential.lmp", *(f.name for f in files))),
    ]
    (folder / "potential.toml").write_text("\n".join(lines))
    return load_potential(folder)


def body(tmp_path: Path, text: str = SOFT_BODY) -> Path:
    path = tmp_path / "soft.lmp"
    path.write_text(text)
    return path


def test_energy_and_force_are_those_of_lammps(tmp_path):
    # Another implementation of the same function, cut off beyond where it is looked at; the tolerance is rounding.
    potential = write_potential(
        tmp_path / "p",
        "pair_style zbl 3.0 3.5\npair_coeff 1 1 74 74\npair_coeff 1 2 74 8\npair_coeff 2 2 8 8\n",
        species=("W", "O"),
    )
    engine = make_engine(potential)
    r = np.geomspace(0.05, 2.9, 12)
    for pair, numbers in [(("W", "W"), (74, 74)), (("W", "O"), (74, 8)), (("O", "O"), (8, 8))]:
        found = dimer(engine, pair, r, reach_A=4.0)
        energy, first, _ = zbl(r, numbers=numbers)
        np.testing.assert_allclose(found.force_eV_A, -first, rtol=1e-12)
        # LAMMPS shifts the energy by a constant, so that it vanishes at its cutoff.
        np.testing.assert_allclose(np.diff(found.energy_eV), np.diff(energy), rtol=1e-10)
    engine.close()


@pytest.mark.parametrize("r", [0.1, 0.7, 2.0])
def test_derivatives_are_derivatives(r):
    h = 1e-4 * r
    for function in (
        lambda x: zbl(x, numbers=(13, 14)),
        lambda x: switch(x, inner_A=0.05, outer_A=2.5),
    ):
        low, middle, high = function(r - h), function(r), function(r + h)
        for order in (0, 1):
            difference = float(high[order] - low[order]) / (2 * h)
            assert difference == pytest.approx(float(middle[order + 1]), rel=1e-5)


def test_switch_is_flat_to_second_order_at_both_ends():
    value, first, second = switch(np.array([0.5, 1.0, 2.0, 3.0]), inner_A=1.0, outer_A=2.0)
    np.testing.assert_array_equal(value, [1, 1, 0, 0])
    np.testing.assert_array_equal(first, 0)
    np.testing.assert_array_equal(second, 0)


def test_joined_pair_is_zbl_inside_and_the_body_outside(tmp_path):
    potential = join_core(
        body(tmp_path), species=("Al",), switches=AL, out=tmp_path / "joined", make_engine=make_engine
    )
    assert potential.about.cutoff_A == pytest.approx(4.0)
    engine = make_engine(potential)
    r = np.concatenate([np.geomspace(0.05, 1.0, 12), [1.81, 2.5, 3.9]])
    found = dimer(engine, ("Al", "Al"), r, reach_A=4.0)
    engine.close()
    inside, outside = r <= 1.0, r > 1.8
    energy, first, _ = zbl(r, numbers=(13, 13))
    close = np.where(r < 0.1, 1e-4, 1e-6)  # the grid of LAMMPS' tables is coarse below 0.1 A
    assert (np.abs(found.force_eV_A / -first - 1) < close)[inside].all()
    assert (np.abs(found.energy_eV / energy - 1) < close)[inside].all()
    x = np.exp(-1.5 * (r - 2.6))
    np.testing.assert_allclose(found.force_eV_A[outside], (0.5 * 3 * (x * x - x))[outside], rtol=1e-9)


def test_joined_folder_can_be_moved(tmp_path):
    join_core(body(tmp_path), species=("Al",), switches=AL, out=tmp_path / "a", make_engine=make_engine)
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "a").rename(tmp_path / "elsewhere" / "b")
    engine = make_engine(load_potential(moved))
    assert dimer(engine, ("Al", "Al"), [0.5], reach_A=4.0).force_eV_A[0] == pytest.approx(2309.59, abs=0.05)
    engine.close()


JOINED = [p for p in shipped_potentials() if (data_folder("potentials") / p / "body.lmp").is_file()]


@pytest.mark.parametrize("name", JOINED)
def test_shipped_tables_are_made_from_their_bodies(tmp_path, name):
    shipped = load_potential(name)
    made = join_core(
        shipped.folder / "body.lmp",
        species=shipped.species,
        switches=shipped.about.zbl,
        out=tmp_path / name,
        make_engine=make_engine,
        pairs_from=pairs if (pairs := shipped.folder / "pairs.lmp").is_file() else None,
    )
    assert made.include_path.read_text().splitlines()[1:] == shipped.include_path.read_text().splitlines()[1:]

    def curves(folder):
        sections = (folder / "core.table").read_text().split("FPRIME")[1:]
        rows = [[line.split()[1:] for line in s.splitlines() if line[:1].isdigit()] for s in sections]
        return [np.array(section, dtype=float).T for section in rows]

    # The first of them have other distances; those are bridged as LAMMPS does, by cubic splines. Sums in another
    # order (another compiler) differ by 1e-9 of the body at short range. Closer than recoils come it is coarser.
    for (r, *found), (at, *kept) in zip(curves(made.folder), curves(shipped.folder), strict=True):
        for ours, theirs in zip(found, kept, strict=True):
            close = r < CLOSEST_APPROACH_A
            bridged = CubicSpline(at, theirs)(r)
            np.testing.assert_allclose(ours[~close], bridged[~close], rtol=5e-5, atol=1e-5)
            np.testing.assert_allclose(ours[close], bridged[close], rtol=5e-3)
    assert made.about.cutoff_A == shipped.about.cutoff_A
    assert made.about.distribution_files == shipped.about.distribution_files


def test_pairs_of_another_include_are_those_of_lammps_beyond_the_switch(tmp_path):
    """As LAMMPS computes the whole of Vashishta's potential in alumina, whose atoms are farther apart."""
    shipped = load_potential("al2o3-vashishta-zbl")
    whole = write_potential(
        tmp_path / "whole",
        (shipped.folder / "pairs.lmp").read_text().replace("AlO.v", "${potential_dir}/AlO.v"),
        species=("Al", "O"),
        files=[shipped.folder / "AlO.vashishta"],
    )
    (cell,) = constituents(CrystalSpec(name="Al2O3", minimum_atoms=1)).values()
    box = cell.repeat((3, 2, 1))
    box.positions += np.random.default_rng(1).normal(0, 0.02, box.positions.shape)
    found = []
    for potential in (shipped, whole):
        engine = make_engine(potential)
        engine.build(box)
        found.append((engine.potential_energy_eV(), engine.forces_eV_A().copy()))
        engine.close()
    (energy_eV, force_eV_A), (wanted_eV, wanted_eV_A) = found
    assert energy_eV == pytest.approx(wanted_eV, abs=1e-6 * len(box))
    np.testing.assert_allclose(force_eV_A, wanted_eV_A, atol=1e-5)
    assert np.abs(wanted_eV_A).max() > 1


def test_a_body_too_hard_to_be_taken_away_says_what_to_do(tmp_path):
    folder = data_folder("potentials") / "al2o3-vashishta-zbl"
    shutil.copy(folder / "AlO.vashishta", tmp_path)
    radii = ZblSwitch(inner_A=1.0, outer_A=1.8)
    with pytest.raises(PotentialError, match=r"beyond 100 times ZBL.*--pairs-from"):
        join_core(
            body(tmp_path, (folder / "pairs.lmp").read_text()),
            species=("Al", "O"),
            switches=dict.fromkeys(("Al-Al", "Al-O", "O-O"), radii),
            out=tmp_path / "o",
            make_engine=make_engine,
        )


def test_second_join_numbers_the_tables(tmp_path):
    first = join_core(body(tmp_path), species=("Al",), switches=AL, out=tmp_path / "one", make_engine=make_engine)
    joined = tmp_path / "one" / "again.lmp"
    joined.write_text(first.include_path.read_text())
    second = join_core(joined, species=("Al",), switches=AL, out=tmp_path / "two", make_engine=make_engine)
    assert "table 2 ${potential_dir}/core.table" in second.include_path.read_text()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("pair_style hybrid morse 4.0\npair_coeff * * morse 1 1 1\n", "hybrid/overlay"),
        ("pair_style morse 4.0\npair_style morse 4.0\npair_coeff * * 1 1 1\n", "two `pair_style`"),
        ("pair_style morse 4.0\n", "needs a `pair_style` and its"),
        ("pair_style eam/fs\npair_coeff * * ${potential_dir}/none.fs Al\n", "missing; put it beside"),
    ],
)
def test_body_that_cannot_be_understood_is_refused(tmp_path, text, complaint):
    with pytest.raises(InputError, match=complaint):
        join_core(
            body(tmp_path, text), species=("Al",), switches=AL, out=tmp_path / "out", make_engine=make_engine
        )
    assert not (tmp_path / "out").exists()


def test_elements_of_a_body_in_another_order_than_the_species_are_refused(tmp_path):
    for text in (
        "pair_style tersoff\npair_coeff * * SiC.tersoff C Si\n",
        "pair_style hybrid/overlay tersoff zero 4\npair_coeff * * tersoff SiC.tersoff C Si\npair_coeff * * zero\n",
    ):
        with pytest.raises(InputError, match=r"ends with C Si, expected .* order, Si C; give --species in the"):
            join_core(
                body(tmp_path, text),
                species=("Si", "C"),
                switches=lambda *_: None,
                out=tmp_path / "o",
                make_engine=make_engine,
            )
    assert not (tmp_path / "o").exists()


def test_existing_folder_missing_body_and_missing_pairs_are_refused(tmp_path):
    with pytest.raises(InputError, match="exists; give the name of a new folder"):
        join_core(body(tmp_path), species=("Al",), switches=AL, out=tmp_path, make_engine=make_engine)
    with pytest.raises(InputError, match="no such file"):
        join_core(tmp_path / "no", species=("Al",), switches=AL, out=tmp_path / "o", make_engine=make_engine)
    with pytest.raises(InputError, match="radii are needed for"):
        join_core(body(tmp_path), species=("Al", "Si"), switches=AL, out=tmp_path / "o", make_engine=make_engine)


def test_body_with_a_filler_at_short_range_is_refused(tmp_path):
    text = "pair_style eam/fs\npair_coeff * * Al_mm.eam.fs Al\n"
    with pytest.raises(PotentialError, match=r"at 0\.5\d\d A.*softer core"):
        join_core(body(tmp_path, text), species=("Al",), switches=AL, out=tmp_path / "o", make_engine=make_engine)


def test_body_that_is_not_finite_is_refused():
    r = np.array([0.5, 1.0])
    curve = PairCurve(distance_A=r, energy_eV=np.array([np.nan, 1.0]), force_eV_A=np.zeros(2))
    with pytest.raises(PotentialError, match=r"not finite.*0\.500 A"):
        core_table(curve, numbers=(13, 13), switch_A=AL["Al-Al"])


def test_every_shipped_potential_is_found():
    assert {p.name for p in data_folder("potentials").iterdir()} >= {
        "al-eam-zbl",
        "alsi-meam-zbl",
        "si-tersoff-zbl",
    }
