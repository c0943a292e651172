"""What is done with a campaign once it is over is checked before it begins."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from complaints import GOOD, SPECTRA, run_complaint
from fake_engine import a_campaign

from cascade_driver import foresight
from cascade_driver.cli import main
from cascade_driver.foresight import US_PER_ATOM_STEP, cpu_said, foreseen_steps
from cascade_driver.schema import build, plain
from cascade_driver.simulation.spec import Protocol

WHOLE = GOOD + "\n[analysis]\n" + SPECTRA.replace("[1, 81]", "[10, 40]")

SOLAR = (
    '[[spectra]]\nkind = "cevns"\nsource = "solar"\nsolar_sources = ["B9"]\n'
    'target = "Si"\nenergy_eV = [1, 9]\nbins = 8\n'
)


def test_negative_control_the_whole_input_is_planned(tmp_path):
    (tmp_path / "input.toml").write_text(WHOLE)
    assert main(["run", str(tmp_path / "input.toml"), "--out", str(tmp_path / "RUN"), "--plan-only"]) == 0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param('target = "CaWO4"', 'target = "WCaO4"', "", id="control: the crystal written otherwise"),
        pytest.param('target = "CaWO4"', 'target = "CaWO"', "no known crystal: CaWO4 is", id="compound"),
        pytest.param('target = "CaWO4"', 'target = "Ge"', "target Ge: not of the crystal", id="other crystal"),
        pytest.param('target = "CaWO4"', 'target = "Uuo"', "`spectra[1]`: target 'Uuo'", id="no element"),
        pytest.param('target = "CaWO4"', 'target = "CaWO4[W999=1]"', "`spectra[1]`: ", id="no isotope"),
        pytest.param("[10, 40]", "[10, 81]", "wanted, and simulated up to 40 eV", id="beyond the simulated"),
        pytest.param("[analysis]", '[analysis]\nfallback_species = "O"', "only of W; name", id="fallback"),
        pytest.param("[analysis]", "[analysis]\ndirection = [0, 0, 0]", "of length zero", id="direction"),
        pytest.param("[analysis]", '[analysis]\npotential_runs = ["../no"]', "no run and no", id="other run"),
        pytest.param("[analysis]", '[analysis]\nprotocol_runs = ["../no"]', "protocol_runs", id="other protocol"),
        pytest.param("\n[[spectra]]", "\n" + SOLAR + "[[spectra]]", "`spectra[1]`: ", id="no source of the Sun"),
    ],
)
def test_what_could_not_be_concluded_is_refused_before_the_cascades(capsys, tmp_path, old, new, expected):
    assert old in WHOLE
    text = WHOLE.replace(old, new, 1)
    if not expected:
        (tmp_path / "input.toml").write_text(text)
        assert main(["run", str(tmp_path / "input.toml"), "--out", str(tmp_path / "RUN"), "--plan-only"]) == 0
        return
    assert expected in run_complaint(capsys, tmp_path, text)


@pytest.mark.parametrize("name", ["spectra", "figures", "report.html", "model.json"])
def test_a_place_that_the_conclusion_needs_is_looked_at_before(capsys, tmp_path, name):
    place = tmp_path / "RUN" / name
    place.parent.mkdir()
    place.write_text("") if "." not in name else place.mkdir()
    assert "the conclusion of a run is written there" in run_complaint(capsys, tmp_path, WHOLE)


#: Mean steps of the flights of 2 ps of 4 to 32 recorded cascades each: lightest mass (u), recoil energy (eV),
#: largest displacement (A), longest step (fs), temperature (K), steps.
FLOWN = [
    pytest.param(72.6, 8, 0.02, 2, 0.04, 1355, id="Ge 8"),
    pytest.param(72.6, 30, 0.02, 2, 0.04, 1419, id="Ge 30"),
    pytest.param(72.6, 70, 0.02, 2, 0.04, 1935, id="Ge 70"),
    pytest.param(28.1, 20, 0.02, 2, 0.04, 1481, id="Si 20, Tersoff"),
    pytest.param(28.1, 70, 0.02, 2, 0.04, 2366, id="Si 70, Tersoff"),
    pytest.param(28.1, 70, 0.02, 2, 0.04, 1965, id="Si 70, Stillinger-Weber"),
    pytest.param(12.0, 20, 0.01, 1, 0.04, 3082, id="C 20"),
    pytest.param(12.0, 100, 0.01, 1, 0.04, 4588, id="C 100"),
    pytest.param(12.0, 60, 0.01, 1, 0.04, 4380, id="C 60 in SiC"),
    pytest.param(16.0, 100, 0.02, 2, 0.04, 2118, id="O 100 in Al2O3"),
    pytest.param(16.0, 20, 0.03, 2, 133, 1263, id="W 20 in CaWO4"),
    pytest.param(16.0, 112, 0.03, 2, 133, 2023, id="W 112 in CaWO4"),
]


@pytest.mark.parametrize(("mass", "energy_eV", "displacement_A", "step_fs", "temperature_K", "steps"), FLOWN)
def test_steps_are_foreseen_as_flights_took_them(mass, energy_eV, displacement_A, step_fs, temperature_K, steps):
    content = plain(a_campaign().protocol)
    content["follow"] |= {"duration_ps": 2, "max_displacement_A": displacement_A, "max_timestep_fs": step_fs}
    content["thermal"] |= {"temperature_K": temperature_K}
    protocol = build(Protocol, content, origin="test")
    foreseen = foreseen_steps(protocol, recoil_energy_eV=energy_eV, lightest_u=mass) - 400  # without the quench
    assert 0.7 < steps / foreseen < 1.5


#: Evaluations of quenches that were made, from the tables of `cascade guide costs`: W and O in CaWO4, Si.
QUENCHED = {None: (304, 340, 300, 392), "cg-stiffness": (142, 134, 101, 166), "stiffness": (67,)}


@pytest.mark.parametrize("method", QUENCHED)
def test_quenches_are_foreseen_as_their_method_took(method):
    content = plain(a_campaign().protocol)
    content["quench"] |= {"method": method}

    def steps(**follow):
        protocol = build(Protocol, content | {"follow": content["follow"] | follow}, origin="test")
        return foreseen_steps(protocol, recoil_energy_eV=50, lightest_u=28)

    two = steps(also_quench_at_ps=[0.5, 1.0]) - steps()
    assert all(0.6 < evaluations / (two / 2) < 1.6 for evaluations in QUENCHED[method])


def test_costs_of_potentials_are_those_of_the_guide():
    text = (Path(foresight.__file__).parent / "guide" / "costs.md").read_text()
    printed = {}
    for names, times in re.findall(r"^\| (`.*`) \| ([\d., ]+) \|$", text, re.M):
        found = re.findall(r"`([^`]+)`", names)
        numbers = [float(time) for time in times.split(",")]
        printed |= dict(zip(found, numbers if len(numbers) > 1 else numbers * len(found), strict=True))
    assert printed == US_PER_ATOM_STEP


def test_a_plan_tells_what_it_costs_by_finished_cascades_or_by_the_guide(tmp_path, capsys):
    campaign = a_campaign(energies=(50.0, 90.0), directions=3, snapshots=2, repeats=(5, 5, 5))
    cascades = list(campaign.cascades())
    # 8000 steps of 1 fs, 3 sqrt(E)/0.01 of the fast atom, and 400: 10 521 and 11 246, six times each
    said = cpu_said(campaign, {})
    assert re.search(r"about 2 min 40 s for 12 cascades \(1000 atoms, some 11000 steps, 1.2 us", said), said
    assert "ask again when some are done" in said
    # 3 s each at 50 eV, 5 s at 90 eV
    rows = {c.id: SimpleNamespace(cpu_s=3.0 if c.recoil_energy_eV == 50.0 else 5.0) for c in cascades[:6]}
    left = sum(3 if c.recoil_energy_eV == 50.0 else 5 for c in cascades[6:])
    assert cpu_said(campaign, rows) == f"about {left} s for the 6 that are missing, as the finished ones took"
    assert cpu_said(campaign, {c.id: SimpleNamespace(cpu_s=1.0) for c in cascades}) == ""
    (tmp_path / "input.toml").write_text(GOOD)
    assert main(["run", str(tmp_path / "input.toml"), "--out", str(tmp_path / "RUN"), "--plan-only"]) == 0
    assert "CPU time  about" in capsys.readouterr().out


def test_the_cost_of_another_potential_is_unknown_and_the_line_says_how_to_learn_it():
    campaign = a_campaign()
    other = replace(campaign, protocol=replace(campaign.protocol, potential_name="of-mine"))
    assert cpu_said(other, {}).startswith("unknown for this potential: stop `cascade run` after some cascades")
