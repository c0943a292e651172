"""Films fitted to measured spectra: the integral against a sample, known films are found, wrong ones refused."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from cascade_driver.cli import main
from cascade_driver.errors import FitError, InputError
from cascade_driver.relaxation.film import spectrum_fit as module
from cascade_driver.relaxation.film.dislocation import Film, Steps
from cascade_driver.relaxation.film.dynamics import Interface
from cascade_driver.relaxation.film.measured import Counts, MeasuredFilm
from cascade_driver.relaxation.film.spectrum import EnergyTable, FilmBackground, sample_events, tabulate
from cascade_driver.relaxation.film.spectrum_fit import FitRanges, fit_film, shares_below, table_for
from cascade_driver.spectrum import write_spectrum

BACKGROUND = FilmBackground(film_area_mm2=91.2, detector_mass_kg=0.0106, days_since_cooldown=42.0)
DETECTORS = (
    MeasuredFilm(file="one", film_area_mm2=91.2, detector_mass_kg=0.0106, days_since_cooldown=42.0),
    MeasuredFilm(file="two", film_area_mm2=16.8, detector_mass_kg=0.024, days_since_cooldown=365.0),
)
RANGES = FitRanges(spacing_nm=(25.0, 100.0), stress_MPa=(60.0, 120.0))


@functools.cache
def table(thickness_nm: float | None = None) -> EnergyTable:
    film, interface = Film(dislocation_spacing_nm=100), Interface(thickness_nm=thickness_nm)
    made = tabulate(film=film, interface=interface, start_nodes=13, stress_nodes=7)
    assert isinstance(made, EnergyTable)
    return made


def empty(detector: MeasuredFilm, exposure_kg_day: float) -> Counts:
    edges = np.linspace(30.0, 180.0, 31)
    return Counts(
        name=detector.called,
        energy_edges_eV=edges,
        events=np.zeros(30),
        exposure_kg_day=exposure_kg_day,
        efficiency=np.full(30, 0.8),
    )


@functools.cache
def drawn(seed: int) -> tuple[tuple[MeasuredFilm, Counts], ...]:
    """Counts of a film of 50 nm and a tenth of the rate, and a flat part, in two detectors."""
    generator = np.random.default_rng(seed)
    found = []
    for detector, exposure, flat in zip(DETECTORS, (0.05, 20.0), (2e5, 50.0), strict=True):
        one = module._Detector(
            BACKGROUND, detector, empty(detector, exposure), energies=module._Energies(table()), flat="flat_1"
        )
        events = generator.poisson(one.expected(50.0, 120.0, 0.1, flat)).astype(float)
        found.append((detector, dataclasses.replace(one.counts, events=events)))
    return tuple(found)


@pytest.mark.parametrize(("sampling", "thickness_nm"), [("weight", None), ("program", None), ("weight", 100.0)])
def test_the_integral_agrees_with_a_sample(sampling, thickness_nm):
    film = Film(dislocation_spacing_nm=60.0, stress_sampling=sampling)
    of_any = table(thickness_nm)
    of_film = dataclasses.replace(of_any, film=dataclasses.replace(of_any.film, stress_sampling=sampling))
    events = sample_events(of_film, film=film, size=200_000, generator=np.random.default_rng(1))
    energies = np.array([1.0, 10.0, 40.0, 100.0])
    found = shares_below(of_film, energies, spacing_nm=60.0, stress_MPa=120.0)
    sampled = np.array([np.mean(events.energy_eV < e) for e in energies])
    # Four standard deviations of the sample.
    np.testing.assert_allclose(found, sampled, atol=4 * np.sqrt(0.25 / 200_000))
    np.testing.assert_allclose(1 - found[2:], 1 - sampled[2:], rtol=0.1)


def test_a_known_film_is_found_and_a_wrong_one_refused():
    fit = fit_film(BACKGROUND, drawn(3), held={"bulk_stress_MPa": 120.0}, ranges=RANGES, table=table())
    assert fit.health.is_good
    assert fit.goodness.p_value > 1e-3
    for name, truth in (("dislocation_spacing_nm", 50.0), ("scale", 0.1), ("flat_1", 2e5), ("flat_2", 50.0)):
        found = fit.parameters[name]
        assert found.lower < found.value < found.upper
        assert abs(found.value - truth) < 4 * found.error
    assert fit.gamma.value * fit.parameters["scale"].value == pytest.approx(
        BACKGROUND.tunnelling.gamma(Interface().metal)
    )
    # Negative control: another spacing does not fit with any scale.
    held = {"bulk_stress_MPa": 120.0, "dislocation_spacing_nm": 80.0, "flat_1": 2e5, "flat_2": 50.0}
    assert fit_film(BACKGROUND, drawn(3), held=held, ranges=RANGES, table=table()).goodness.p_value < 1e-6


def test_the_command_fits_what_was_read(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(module, "table_for", lambda *_: table())
    for detector, counts in drawn(4):
        write_spectrum(counts.spectrum(), tmp_path / f"{detector.called}.csv")
    text = "film_area_mm2 = 91.2\ndetector_mass_kg = 0.0106\ndays_since_cooldown = 42\n"
    (tmp_path / "f.toml").write_text(text)
    arguments = ["background", "fit", str(tmp_path / "f.toml"), "--measured", str(tmp_path / "one.csv")]
    arguments += ["--hold", "flat_1=2e5", "--energy-eV", "40", "180", "--out", str(tmp_path / "fit.json")]
    arguments += ["--spacing-range-nm", "25", "100", "--stress-range-MPa", "60", "120"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "bulk_stress_MPa          120 (held)" in shown
    assert "Gamma" in shown
    assert "expected from 91.2 mm2 of film on 0.0106 kg, 42 days after the cooldown" in shown
    content = json.loads((tmp_path / "fit.json").read_text())
    assert len(content["spectra"][0]["events"]) == 28
    assert {path.suffix for path in tmp_path.glob("fit.*")} == {".json", ".png", ".pdf"}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fit_film(BACKGROUND, []), InputError, "no measured spectrum"),
        (lambda: fit_film(BACKGROUND, drawn(3), held={"slope": 1.0}), InputError, "`slope` cannot be held"),
        (lambda: fit_film(BACKGROUND, drawn(3), held={"scale": 0.0}), InputError, "`scale` is held at 0"),
        (
            lambda: fit_film(BACKGROUND, [(DETECTORS[0], drawn(3)[0][1].within(30, 40))], table=table()),
            FitError,
            "2 bins for 4 parameters",
        ),
        (
            lambda: shares_below(table(), np.ones(1), spacing_nm=200.0, stress_MPa=120.0),
            InputError,
            "the table is of 100 nm",
        ),
        (
            lambda: table_for(dataclasses.replace(BACKGROUND, film=Film(steps=Steps())), RANGES),
            InputError,
            "cannot be fitted",
        ),
    ],
)
def test_what_cannot_be_fitted_gets_one_clear_line(call, error, message):
    with pytest.raises(error, match=message):
        call()
