"""Recoils in several regions of a film: one of them is fitted, as if the campaign had no other."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fake_engine import LawfulEngine, a_campaign, work_of

from cascade_driver.campaign.contents import contents_of
from cascade_driver.campaign.executors import Serial
from cascade_driver.campaign.plan import REGIONS
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.cli import main
from cascade_driver.conclusion import conclude
from cascade_driver.errors import FitError, InputError
from cascade_driver.models import analysis_section, fitted_run, load_model
from cascade_driver.session import open_run
from cascade_driver.simulation.crystal import CrystalSpec
from cascade_driver.simulation.film_box import FilmSpec
from cascade_driver.simulation.potential import load_potential

ENERGIES = (20.0, 35.0, 45.0, 60.0, 112.0, 160.0)

#: A silicon atom of the substrate makes a cascade store this much more than one at the interface.
DEEPER_eV = 4.0

INPUT = """
[crystal]
name = "Al/Si"
repeats = [1, 1, 1]
film = { film_cells = 4, substrate_cells = 3 }
[potential]
name = "alsi-meam-zbl"
[follow]
small_box = true
[[recoils]]
species = "Si"
region = "interface"
recoil_energies_eV = [20, 160]
directions = { scheme = "list", vectors = [[0, 0, 1]] }
[[recoils]]
species = "Si"
region = "substrate"
recoil_energies_eV = [20, 40]
directions = { scheme = "list", vectors = [[0, 0, 1]] }
"""


class FilmEngine(LawfulEngine):
    """Knows the depth of the atom that is kicked, and nothing of stresses and of where energy is kept."""

    def set_positions(self, positions_A):
        self.positions = positions_A

    def virials_eV(self):
        return np.zeros((len(self.positions), 6))

    def atom_energies_eV(self):
        return np.zeros(len(self.positions))

    def follow(self, *, pka, **settings):
        # the middle of the substrate is several layers below its highest atoms, beside the interface
        self.shift_eV = DEEPER_eV if self.positions[pka, 2] < np.median(self.positions[:, 2]) - 5 else 0.0
        return super().follow(pka=pka, **settings)


def a_film(folder: Path, *regions: str) -> RunDirectory:
    """Return the finished run of a film with silicon recoils in these regions."""
    potential = load_potential("alsi-meam-zbl")
    plain = a_campaign(energies=ENERGIES, directions=4, snapshots=3)
    (group,) = plain.groups
    film = FilmSpec(film_cells=4, substrate_cells=3)
    campaign = dataclasses.replace(
        plain,
        protocol=dataclasses.replace(
            plain.protocol,
            crystal=CrystalSpec(name="Al/Si", repeats=(1, 1, 1), film=film),
            potential_name=potential.name,
            potential_digest=potential.digest,
        ),
        groups=tuple(dataclasses.replace(group, region=REGIONS[region]) for region in regions),
    )
    run = RunDirectory(folder)
    run.prepare()
    run.keep(potential)
    run.save(campaign)
    work = dataclasses.replace(work_of(run, engine=FilmEngine, workers=1), potential=potential.folder)
    Serial().work(work, lambda _: None)
    (folder / "input.toml").write_text(INPUT)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    return {
        name: a_film(folder / name, *name.split("-")) for name in ("interface-substrate", "interface", "substrate")
    }


def test_a_region_is_fitted_as_if_the_campaign_had_no_other(runs):
    both = runs["interface-substrate"]
    assert contents_of(both).table().regions == ("interface", "substrate")
    found = {}
    for region in ("interface", "substrate"):
        table, found[region] = fitted_run(both, analysis=analysis_section(both, region=region))
        alone = fitted_run(runs[region], analysis=analysis_section(runs[region]))[1]
        assert table.regions == (region,)
        assert found[region]["Si"] == alone["Si"]
        assert found[region].provenance["cascades"] == alone.provenance["cascades"] == "72 of 72"
        assert open_run(both.path).fit(region=region)["Si"] == alone["Si"]
    middle = [one["Si"].distribution.quantile(0.5, 112.0).item() for one in found.values()]
    # each by some thirty cascades that store energy with a scatter of 1 eV
    assert middle[1] - middle[0] == pytest.approx(DEEPER_eV, abs=1.0)
    with pytest.raises(FitError, match="Si: recoils in interface and substrate are not one sample"):
        fitted_run(both, analysis=analysis_section(both))


def test_bands_of_a_region_compare_the_same_region_of_the_other_run(runs):
    both = runs["interface-substrate"]
    there = {"protocol_runs": (str(both.path),)}
    same = open_run(both.path).fit(region="substrate", **there)
    assert same.uncertainty["protocols"]
    with pytest.raises(InputError, match=r"region 'interface': .* only substrate; choose one of these"):
        open_run(both.path).fit(region="interface", protocol_runs=(str(runs["substrate"].path),))


def test_the_report_names_the_model_as_the_rows_it_was_fitted_to(runs, capsys):
    run = runs["interface-substrate"]
    (run.path / "input.toml").write_text(INPUT + '[analysis]\nregion = "substrate"\n')
    conclusion = conclude(run)
    assert not conclusion.failure
    assert (conclusion.finished, conclusion.planned) == (144, 144)
    assert {file.stem for file in conclusion.files if file.suffix == ".png"} >= {
        "defect-probability-Si-interface",
        "defect-probability-Si-substrate",
    }
    page = (run.path / "report.html").read_text().replace("\u00a0", " ")
    assert "Si-substrate recoils, simulated from 20 to 160 eV: half of them" in page
    assert "Si-interface recoils, simulated" not in page
    model = load_model(run.path / "model.json")
    assert (model.name, list(model.species)) == ("trial (substrate)", ["Si"])
    # what is not there is refused before anything is done
    (run.path / "input.toml").write_text(INPUT + '[analysis]\nregion = "film"\n')
    assert main(["report", str(run.path)]) == 2
    assert "`analysis.region`: region 'film': no recoils" in capsys.readouterr().err


def test_a_spectrum_beyond_the_recoils_of_its_region_is_foreseen(tmp_path, capsys):
    wanted = tmp_path / "mine.toml"
    spectrum = (
        '[[spectra]]\nkind = "dm"\ntarget = "Si"\nmass_GeV = 2\ncross_section_cm2 = 1e-40\n'
        "energy_eV = [1, 100]\nbins = 99\n"
    )
    for region, code in (("interface", 0), ("substrate", 2)):
        analysis = f'[analysis]\nregion = "{region}"\nother_crystal = true\n'
        wanted.write_text(INPUT + analysis + spectrum)
        assert main(["run", str(wanted), "--out", str(tmp_path / region), "--plan-only"]) == code
    assert "recoils up to 100 eV are wanted, and simulated up to 40 eV" in capsys.readouterr().err
    assert not (tmp_path / "substrate").exists()
