"""How far a model moves a line, and how well it knows that."""

import numpy as np
import pytest

from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.models import load_model
from cascade_driver.spectra.line_shift import model_shifts
from cascade_driver.spectrum import Spectrum

#: Means of the stored energies that are not zero: G. Soum-Sidikov et al. (2024).
PRINTED_eV = {81.0: 7.5, 112.0: 8.9}


@pytest.fixture(scope="module")
def published():
    return load_model("cawo4-published")


def test_a_line_moves_by_the_mean_of_what_is_stored(published):
    found = {one.energy_eV: one for one in model_shifts(published, at_eV=list(PRINTED_eV))}
    for energy, mean in PRINTED_eV.items():
        assert found[energy].shift_eV == pytest.approx(-mean, abs=0.05)
    # The Fermi function that the model assumes: half at 45 eV, width 11 eV.
    assert found[81.0].storing_share == pytest.approx(1 / (1 + np.exp(-(81 - 45) / 11)), abs=5e-3)


def test_the_error_is_that_of_the_parts_of_the_band():
    one = next(shift for shift in model_shifts(load_model("cawo4"), at_eV=[112.0]) if shift.species == "W")
    assert one.error_eV == pytest.approx(np.sqrt(sum(part**2 for part in one.parts_eV.values())))
    # What PBE takes off: all energies times 0.886, so that 0.114 of the shift is its error.
    assert one.parts_eV["potential"] == pytest.approx(0.114 * -one.shift_eV, rel=0.02)
    assert "fit" not in one.parts_eV  # of the same origin as the statistics
    # 17 cascades of 112 eV store 11.9 +- 0.4 eV; the fit leans on all energies.
    assert 0.1 < one.parts_eV["statistics"] < 0.5


def test_a_line_that_cannot_be_is_refused(published):
    with pytest.raises(InputError, match="a line at -1 eV"):
        model_shifts(published, at_eV=[-1.0])


def test_the_fit_of_lines_tells_the_error_of_a_model_beside_its_own(tmp_path, capsys):
    edges = np.linspace(50, 90, 81)
    rate = 10 + 1e3 * np.exp(-0.5 * ((edges[:-1] + edges[1:]) / 2 - 73.5) ** 2 / 9)
    spectrum = Spectrum(energy_edges_eV=edges, rate_per_kg_day_keV={"W": rate}, energy_kind="observed")
    spectrum.write(tmp_path / "o.csv")
    words = ["lines", str(tmp_path / "o.csv"), "--at-eV", "81", "--resolution-eV", "3", "--exposure-kg-day", "10"]
    assert main([*words, "--background-order", "0", "--model", "cawo4-published"]) == 0
    said = capsys.readouterr().out
    assert "by the model alone" in said
    assert "they are no part of these errors" in " ".join(said.split())


def test_a_line_at_the_highest_simulated_energy_is_no_extrapolation(published):
    highest_eV = published["W"].maximum_recoil_energy_eV
    (at,) = model_shifts(published, at_eV=[highest_eV])
    (below,) = model_shifts(published, at_eV=[highest_eV - 1])
    assert at.shift_eV == pytest.approx(below.shift_eV, rel=0.02)
    with pytest.raises(InputError, match="simulated up to"):
        model_shifts(published, at_eV=[highest_eV + 1])
