"""The input file: its defaults are the published protocol, and what is shipped is found by name."""

from pathlib import Path

import pytest

from cascade_driver.config import PotentialChoice, RunInput, find_input, read_input, read_threshold_input
from cascade_driver.errors import InputError
from cascade_driver.files import data_folder
from cascade_driver.schema import build, plain

LEAST = {
    "crystal": {"name": "CaWO4", "minimum_atoms": 700},
    "potential": {"name": "cawo4-pbe-spline"},
    "recoils": [
        {"species": "W", "recoil_energies_eV": [40], "directions": {"scheme": "symmetry", "count": 1}},
    ],
}


def test_the_defaults_are_those_of_the_published_protocol():
    wanted = build(RunInput, LEAST, origin="least")
    # Soum-Sidikov et al. 2024: 3/8 of 354 K, 8 ps, 0.01 angstrom, 10 snapshots, no thermostat.
    assert wanted.thermal.temperature_K == pytest.approx(3 / 8 * 354, abs=0.5)
    assert wanted.follow.duration_ps == 8
    assert wanted.follow.max_displacement_A == 0.01
    assert wanted.follow.border is None
    assert wanted.recoils[0].snapshots == 10
    assert wanted.analysis is None


@pytest.mark.parametrize("path", sorted(data_folder("inputs").glob("*.toml")), ids=lambda p: p.stem)
def test_an_input_survives_being_written_out_and_read_again(path):
    wanted = read_input(path)
    assert build(RunInput, plain(wanted), origin="again") == wanted


def test_a_shipped_input_is_found_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ("quickstart.toml", "inputs/quickstart.toml"):
        assert find_input(Path(given)) == data_folder("inputs") / "quickstart.toml"


def test_a_users_own_input_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("quickstart.toml").write_text("")
    assert find_input(Path("quickstart.toml")) == Path("quickstart.toml")


def test_a_missing_input_names_what_ships():
    with pytest.raises(InputError, match=r"shipped with the package are .*quickstart\.toml"):
        find_input(Path("elsewhere/quickstart.toml"))


def test_a_potential_folder_is_relative_to_its_input(tmp_path):
    assert PotentialChoice(folder="mine").locate(tmp_path) == (tmp_path / "mine").resolve()
    assert PotentialChoice(name="cawo4-pbe-spline").locate(tmp_path) == "cawo4-pbe-spline"


@pytest.mark.parametrize("content", [{}, {"name": "a", "folder": "b"}])
def test_a_potential_is_named_once(content):
    with pytest.raises(InputError, match="give either `name` or `folder`"):
        build(PotentialChoice, content, origin="potential")


def test_of_a_species_in_two_regions_the_fit_takes_the_one_that_is_named():
    film, substrate = ({**LEAST["recoils"][0], "region": region} for region in ("film", "substrate"))
    fitted = {**LEAST, "analysis": {}}
    build(RunInput, {**fitted, "recoils": [film, film]}, origin="one region")
    build(RunInput, {**LEAST, "recoils": [film, substrate]}, origin="nothing is fitted")
    with pytest.raises(InputError, match="of W in film and substrate as one sample: choose one by its `region`"):
        build(RunInput, {**fitted, "recoils": [film, substrate]}, origin="two regions")
    wanted = {**LEAST, "analysis": {"region": "substrate"}}
    assert build(RunInput, {**wanted, "recoils": [film, substrate]}, origin="one of two").analysis.region
    # what is kicked twice is not fitted, wherever it is
    twice = {**substrate, "then": [{"recoil_energy_eV": 10, "delay_fs": 20}]}
    build(RunInput, {**fitted, "recoils": [film, twice]}, origin="one of single kicks")
    for recoils, where in (
        ([film], "only film; choose one of these"),
        ([film, twice], "only film; choose one of these"),
        (LEAST["recoils"], "nor another one; leave it out"),
    ):
        with pytest.raises(InputError, match=f"`analysis.region`: region 'substrate': no recoils with .* {where}"):
            build(RunInput, {**wanted, "recoils": recoils}, origin="elsewhere")


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ("[work]\nattempts = 3", "`work.attempts`"),
        ("[work.trajectory]", "`work.trajectory`"),
        ('[quench]\nmethod = "stiffness"', "conjugate gradients alone"),
    ],
)
def test_a_search_refuses_what_it_would_not_do(section, complaint, tmp_path):
    path = tmp_path / "mine.toml"
    text = find_input("threshold-si.toml", room="thresholds").read_text()
    assert "[work]" not in text
    path.write_text(text + "\n" + section + "\n")
    with pytest.raises(InputError, match=complaint):
        read_threshold_input(path)


def test_an_input_of_the_other_verb_says_which(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(find_input("threshold-si.toml", room="thresholds").read_text())
    with pytest.raises(InputError, match=r"\[\[thresholds\]\] make it an input of `cascade threshold`"):
        read_input(path)
    with pytest.raises(InputError, match=r"\[\[recoils\]\] make it an input of `cascade run`"):
        read_threshold_input(find_input("minimal.toml"))
