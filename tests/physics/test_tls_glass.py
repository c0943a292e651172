"""The glass against the printed numbers of Churkin et al. 2021, with the printed protocol."""

import numpy as np
import pytest
from papers import TABLE_II

from cascade_driver.relaxation.tls.density import PowerLawDensity, fit_density
from cascade_driver.relaxation.tls.glass import Annealing, Glass
from cascade_driver.relaxation.tls.properties import local_exponent, specific_heat, thermal_conductivity
from cascade_driver.relaxation.tls.realisations import GlassRun, GlassSummary, make_realisations, summarise

pytestmark = pytest.mark.physics

#: Of L = 8 each, a minute of processor time for both interactions.
#:
#: Of L = 12, as in the paper, 3000 with 2 K have 0.993(10), 1.005(7), 1.004(4), 1.007(4), 1.005(4), 1.001(3)
#: and 0.999(3) of the systems of Table II below 2 T, 1000 with 3 K (64 sweeps) 1.005(21), 1.019(14), 1.008(9),
#: 1.006(8), 0.997(7), 1.013(6) and 1.002(5). What some hundred had shown, 2 to 5 % too few below 0.4 K, was
#: their statistics; to cool eight times as fast changes nothing either (1000 of 2 K: 1.014(17), 1.001(12),
#: 0.998(8) up to 0.4 K).
REALISATIONS = 400


@pytest.fixture(scope="module", params=[2.0, 3.0])
def simulated(request, tmp_path_factory) -> GlassSummary:
    folder = tmp_path_factory.mktemp("glass")
    run = GlassRun(glass=Glass(size=8, interaction_K=request.param), annealing=Annealing(), seed=11)
    make_realisations(run, folder, realisations=REALISATIONS, workers=1)
    return summarise(folder)


def pulls_against_table(simulated: GlassSummary, *, interaction_K: float) -> np.ndarray:
    """Share of systems below 2 T minus what the table says, over the Poisson error with 3 % for the size."""
    pulls = []
    for T, B, mu in TABLE_II[interaction_K]:
        fit = fit_density(simulated.density, temperature_K=T)
        printed = PowerLawDensity(prefactor=B, exponent=mu, cutoff_K=1e6).integral(np.array(fit.highest_K), T)
        expected = 2 * simulated.density.systems * float(printed)
        pulls.append((fit.number - expected) / np.sqrt(expected + (0.03 * expected) ** 2))
    return np.array(pulls)


def test_density_below_2_T_is_that_of_table_ii(simulated):
    # 4 sigma at seven temperatures: false alarm below 0.1 %
    pulls = pulls_against_table(simulated, interaction_K=simulated.run.glass.interaction_K)
    assert np.all(np.abs(pulls) < 4), pulls


def test_negative_control_the_other_interaction_is_another_density(simulated):
    other = 5.0 - simulated.run.glass.interaction_K
    assert np.max(np.abs(pulls_against_table(simulated, interaction_K=other))) > 6


def test_exponents_are_those_of_table_ii_within_their_errors(simulated):
    for T, _, mu in TABLE_II[simulated.run.glass.interaction_K]:
        fit = fit_density(simulated.density, temperature_K=T)
        assert abs(fit.exponent - mu) < 4 * np.hypot(fit.exponent_error, 0.02), T


def test_zero_temperature_exponent_is_the_printed_one(simulated):
    # mu = 0.2 and 0.27 (Fig. 3); the range of that fit is not printed, and the exponent rises with it
    interaction = simulated.run.glass.interaction_K
    fit = fit_density(simulated.density, temperature_K=0.0, highest_K=interaction)
    assert fit.exponent == pytest.approx({2.0: 0.2, 3.0: 0.27}[interaction], abs=0.08)


def test_heat_and_conductivity_have_the_exponents_that_table_ii_implies(simulated):
    # 0.19 for 2 K, within the printed 0.1-0.2; 0.26 for 3 K, outside of it
    T = np.array([0.2, 0.4, 0.5, 0.6, 0.8, 1.0])
    expected = {2.0: 0.19, 3.0: 0.26}[simulated.run.glass.interaction_K]
    heat = [float(specific_heat(t, density=simulated.density)) for t in T]
    kappa = [float(thermal_conductivity(t, density=simulated.density)) for t in T]
    assert local_exponent(T, heat) - 1 == pytest.approx(expected, abs=0.06)
    assert 2 - local_exponent(T, kappa) == pytest.approx(expected, abs=0.06)


def test_width_of_the_density_is_near_the_printed_one(simulated):
    # "E_0 = 21.53 K" for 2 K, a fit of a Gaussian whose weights are not printed; the root of the mean square of E
    # at 0.02 K is 21.4 K. Without annealing it is 2 sqrt(h_0^2 + sum J^2) = 20.6 K
    density = simulated.density
    middle = np.sqrt(density.edges_K[1:] * density.edges_K[:-1])
    counts = density.counts[density.row(0.02)]
    width = np.sqrt(np.sum(counts * middle**2) / counts.sum())
    if simulated.run.glass.interaction_K == 2.0:
        assert width == pytest.approx(21.53, rel=0.02)
    else:
        assert width > 22
