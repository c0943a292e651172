"""Daily modulation by stored energy: a crystal with a soft axis, one without, and the frames in between."""

import campaigns
import numpy as np
import pytest

from cascade_driver.errors import InputError
from cascade_driver.simulation.outcome import CascadeTable, concatenate
from cascade_driver.sources.dark_matter import dark_matter_spectrum
from cascade_driver.spectra import daily_modulation as modulation
from cascade_driver.spectra.daily_modulation import crystal_from_laboratory, daily_modulation
from cascade_driver.spectrum import Spectrum

AXES = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0], [0.6, 0, 0.8]])


def cascades(*, soft, species="W", n_directions=40):
    """Return a campaign; with `soft` a recoil needs less energy the closer it is to the z axis."""
    rng = np.random.default_rng(5)
    direction = rng.normal(size=(n_directions, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    energies = np.array(campaigns.ENERGIES)
    of = np.tile(np.repeat(np.arange(n_directions), 6), len(energies))
    energy = np.repeat(energies, 6 * n_directions)
    half = 65.0 - (45.0 * direction[of, 2] ** 2 if soft else 15.0)
    n = len(of)
    stores = rng.random(n) < 1 / (1 + np.exp(-(energy - half) / 6.0))
    return CascadeTable(
        id=np.arange(n).astype(str),
        species=np.full(n, species),
        recoil_energy_eV=energy,
        direction=direction[of],
        direction_weight=np.full(n, 1 / n_directions),
        snapshot=np.tile(np.arange(6), n // 6),
        outcome=np.full(n, "completed"),
        stored_energy_eV=np.where(stores, campaigns.LAW.quantile(rng.random(n), energy), 0.0),
    )


def found(table):
    recoil = dark_matter_spectrum(
        target="W", mass_GeV=1.5, cross_section_cm2=1e-40, energy_edges_eV=np.linspace(0.0, 160.0, 81)
    )
    return daily_modulation(
        recoil,
        table,
        velocities_km_s=250.0 * AXES,
        mass_GeV=1.5,
        rotations={"W": np.eye(3)[None]},
        threshold_eV=40.0,
        n_replicas=100,
    )


def test_recoils_along_the_soft_axis_lose_more_and_fewer_pass_the_threshold():
    seen = found(cascades(soft=True))
    assert seen.counts_per_kg_day[0] < seen.counts_per_kg_day[[1, 2]].min()
    assert seen.deviation[0] < -2 * seen.deviation_error[0]
    assert seen.deviation.mean() == pytest.approx(0.0, abs=1e-12)
    assert seen.significance > 1.6
    # negative control: a crystal that knows no direction
    flat = found(cascades(soft=False))
    assert flat.significance < 1.6
    assert flat.amplitude < seen.amplitude / 2


def error_of_the_counts(monkeypatch, elements):
    """Return the error of each time's counts of elements, and the replicas of each species and time."""
    drawn, bootstrap = [], modulation.bootstrap_replicas

    def kept(*args, **kwargs):
        drawn.append(bootstrap(*args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(modulation, "bootstrap_replicas", kept)
    edges = np.linspace(0.0, 160.0, 81)
    counts = -np.diff(np.exp(-edges / 40.0))
    seen = daily_modulation(
        Spectrum.from_counts(energy_edges_eV=edges, counts_per_kg_day=dict.fromkeys(elements, counts)),
        concatenate([cascades(soft=True, species=element, n_directions=32) for element in ("W", "O")]),
        velocities_km_s=250.0 * AXES,
        mass_GeV=1.5,
        rotations=dict.fromkeys(("W", "O"), np.eye(3)[None]),
        threshold_eV=40.0,
        n_replicas=400,
    )
    monkeypatch.undo()
    return seen.deviation_error * seen.counts_per_kg_day.mean(), drawn


def test_species_are_drawn_apart_and_their_errors_add_in_quadrature(monkeypatch):
    both, drawn = error_of_the_counts(monkeypatch, ("W", "O"))
    of_w, of_o = drawn[: len(AXES)], drawn[len(AXES) :]
    assert abs(np.corrcoef(of_w[0].half_energy_eV, of_o[0].half_energy_eV)[0, 1]) < 0.2  # 4 standard errors
    # all times of one species are drawn alike
    assert np.corrcoef(of_w[0].half_energy_eV, of_w[3].half_energy_eV)[0, 1] > 0.5
    alone = [error_of_the_counts(monkeypatch, (element,))[0] for element in ("W", "O")]
    # an error of 400 replicas is known to 3.5 %; errors that added linearly would be 40 % larger
    assert both.mean() == pytest.approx(np.hypot(*alone).mean(), rel=0.15)


def test_the_crystal_stands_as_it_is_put():
    turn = crystal_from_laboratory(up=[0, 0, 2], east=[1, 0, 5])
    assert turn == pytest.approx(np.eye(3))
    turn = crystal_from_laboratory(up=[1, 0, 0], east=[0, 1, 0])
    assert turn @ [0, 0, 1] == pytest.approx([1, 0, 0])  # the zenith
    assert turn @ [1, 0, 0] == pytest.approx([0, 1, 0])  # east
    assert np.linalg.det(turn) == pytest.approx(1.0)
    for up, east in (([0, 0, 0], [1, 0, 0]), ([0, 0, 1], [0, 0, 2])):
        with pytest.raises(InputError, match="not parallel"):
            crystal_from_laboratory(up=up, east=east)
    with pytest.raises(InputError, match="three numbers each"):
        crystal_from_laboratory(up=[1, 0], east=[0, 1, 0])
