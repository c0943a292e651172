"""`cascade background film`: the spectrum, its figures, one clear line and exit code 2 for what cannot be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from cascade_driver import plot
from cascade_driver.cli import main
from cascade_driver.errors import InputError
from cascade_driver.relaxation.film import spectrum as module
from cascade_driver.relaxation.film.dynamics import Interface, follow, release
from cascade_driver.relaxation.film.spectrum import film_spectrum, read_film_background, tabulate
from cascade_driver.spectrum import Observation, Spectrum, read_spectrum, write_spectrum


@pytest.fixture
def coarse(monkeypatch):
    """The command with a table of few nodes: half a second."""

    def few(**arguments):
        return tabulate(**arguments, start_nodes=7, stress_nodes=7)

    monkeypatch.setattr(module, "tabulate", few)


def test_shipped_input_gives_a_spectrum_and_its_figures(coarse, tmp_path, capsys):
    flat = Spectrum(energy_edges_eV=[0, 50, 300], rate_per_kg_day_keV={"": np.array([1e6, 1e5])})
    write_spectrum(flat, tmp_path / "flat.csv")
    arguments = ["background", "film", "film.toml", "--events", "20000", "--out", str(tmp_path / "film.csv")]
    arguments += ["--spacing-nm", "60", "30", "--figure", str(tmp_path / "film")]
    arguments += ["--over", str(tmp_path / "flat.csv"), "--measured", str(tmp_path / "flat.csv")]
    arguments += ["--map", str(tmp_path / "map" / "fig5")]
    arguments += ["--dynamics", str(tmp_path / "single" / "one"), "--start-nm", "20", "--resolved-MPa", "50"]
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert "20 nm, 50 MPa: " in shown.out
    names = {f"one-{name}.{suffix}" for name in ("motion", "phonons", "release") for suffix in ("png", "pdf")}
    assert {path.name for path in (tmp_path / "single").iterdir()} == names
    assert {path.name for path in (tmp_path / "map").iterdir()} == {"fig5.csv", "fig5.png", "fig5.pdf"}
    assert "reading: Eq. 1-16 as printed: 1.5 to 5.5 times the printed rates" in shown.out
    assert "66.61 mHz/mm2 depin 7 days after the cooldown" in shown.out
    assert "137.9 mHz/mm2" in shown.out
    assert "get faster than sound" in shown.err
    spectrum = read_spectrum(tmp_path / "film.csv")
    assert spectrum.energy_kind == "observed"
    assert spectrum.metadata["dislocation_spacing_nm"] == "60.0"
    assert spectrum.total_counts_per_kg_day > 0
    assert {path.name for path in tmp_path.glob("*.p*")} == {
        "film.png",
        "film.pdf",
        "film-over.png",
        "film-over.pdf",
    }


def test_options_replace_what_the_file_says(coarse, tmp_path):
    content = 'film_area_mm2 = 1\ndetector_mass_kg = 1\n[interface]\nmetal = "Au"\n[film]\nbulk_stress_MPa = 200\n'
    (tmp_path / "my.toml").write_text(content)
    wanted = read_film_background(
        tmp_path / "my.toml",
        {"film_area_mm2": 4.0},
        film={"dislocation_spacing_nm": 80.0, "bulk_stress_MPa": None},
        interface={"metal": "Cu", "substrate_shear_modulus_GPa": 160.0},
    )
    assert (wanted.film_area_mm2, wanted.detector_mass_kg) == (4.0, 1.0)
    assert wanted.interface.metal.name == "Cu"
    assert (wanted.film.dislocation_spacing_nm, wanted.film.bulk_stress_MPa) == (80.0, 200.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "`--area-mm2` is missing"),
        (["--area-mm2", "1"], "`--mass-kg` is missing"),
        (["film.toml", "--days", "0"], "`--days`: input should be greater than 0"),
        (["film.toml", "--metal", "Cu"], "film 51.476 GPa; expected a stiffer substrate"),
        (["film.toml", "--spacing-nm", "2"], "there are no events"),
        (["film.toml", "--stress-MPa", "-5"], "`--stress-MPa`"),
        (["film.toml", "--energy-eV", "9", "3"], "two rising energies"),
        (["film.toml", "--over", "nowhere.csv", "--figure", "f"], "no such file"),
        (["film.toml", "--over", "nowhere.csv"], "--over says nothing without --figure"),
        (["film.toml", "--measured", "nowhere.csv"], "--measured says nothing without --figure"),
        (["film.toml", "--start-nm", "50"], "--start-nm says nothing without --dynamics"),
        (["film.toml", "--dynamics", "d", "--start-nm", "0.5"], "0.5 nm from the interface is outside the model"),
        (["nowhere.toml"], "no such file"),
    ],
)
def test_what_cannot_be_gets_one_line_and_exit_code_2(coarse, tmp_path, capsys, arguments, message):
    assert main(["background", "film", *arguments, "--out", str(tmp_path / "film.csv")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "film.csv").exists()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("[interface]\nsubstrate_shear_modulus_GPa = 10", "expected a stiffer substrate"),
        ("[interface]\npair_breaking_energy_meV = 4", "above all phonon energies"),
        ("[interface]\nimage_froce = 1", "did you mean `image_force`"),
        ("[tunnelling]\nexponent = -1", "`tunnelling.exponent`"),
    ],
)
def test_models_outside_their_domain_get_one_line_and_exit_code_2(coarse, tmp_path, capsys, section, message):
    (tmp_path / "my.toml").write_text(f"film_area_mm2 = 1\ndetector_mass_kg = 1\n{section}\n")
    assert main(["background", "film", str(tmp_path / "my.toml"), "--out", str(tmp_path / "film.csv")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_figures_show_every_spectrum(coarse):
    wanted = read_film_background(None, {"film_area_mm2": 1.0, "detector_mass_kg": 1.0, "events": 5000})
    spectrum = film_spectrum(wanted)
    figure = plot.film_spectra_figure([spectrum], scale=0.1)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == [r"$\rho_D$ = (60 nm)$^{-2}$", r"$\rho_D$ = (60 nm)$^{-2}$ × 0.1"]
    axes = Figure().subplots()
    assert plot.draw_film_spectra([spectrum], ax=axes) is axes
    measured = [(one, one.spectrum()) for one in read_film_background(Path("film-published.toml")).measured]
    drawn = plot.film_spectra_figure([spectrum], measured=measured).axes[0].get_legend_handles_labels()[1]
    assert set(drawn) >= {"SuperCDMS CPD (2021)", "CRESST-III A (2019)"}
    overlay = plot.film_overlay_figure(spectrum.in_detector(), [("neutrinos", spectrum.in_detector())])
    assert [t.get_text() for t in overlay.axes[0].get_legend().get_texts()] == ["film", "neutrinos"]


def test_an_overlay_is_pale_where_recoils_are_missing():
    film = Spectrum(energy_edges_eV=[0, 10, 20, 30], rate_per_kg_day_keV={"": np.array([9.0, 8.0, 7.0])})
    observed = replace(film, observation=Observation(model="m", status="qualitative", complete_eV=(0, 20)))
    stairs = plot.film_overlay_figure(film, [("observed", observed)]).axes[0].patches
    np.testing.assert_array_equal([np.isfinite(one.get_data().values).sum() for one in stairs], [3, 2, 1])
    assert [one.get_alpha() for one in stairs] == [None, None, 0.3]


def test_an_overlay_holds_the_lowest_bins_and_counts_a_bin_as_complete_to_a_hundredth():
    rates = np.array([3e7, 1e6, 9e4, 400.0])
    film = Spectrum(energy_edges_eV=np.arange(0, 81, 20.0), rate_per_kg_day_keV={"": rates})
    axes = plot.film_overlay_figure(film, [("measured", film)]).axes[0]
    assert axes.get_ylim()[0] < 400.0
    seen = replace(film, observation=Observation(model="m", status="qualitative", complete_eV=(0, 59.99)))
    whole = plot.film_overlay_figure(film, [("seen", seen)]).axes[0].patches[1]
    assert np.isfinite(whole.get_data().values).sum() == 3


def test_figures_without_anything_to_show_are_refused():
    with pytest.raises(InputError, match="give at least one"):
        plot.film_spectra_figure([])
    empty = Spectrum(energy_edges_eV=[0, 1], rate_per_kg_day_keV={"": np.zeros(1)})
    with pytest.raises(InputError, match="every spectrum is zero"):
        plot.film_overlay_figure(empty, [])


def drawn_energies(figure) -> dict[str, float]:
    """Integral over phonon energy of each of the curves, in eV/nm."""
    return {
        patch.get_label(): float(np.nansum(patch.get_data().values * np.diff(patch.get_data().edges)))
        for patch in figure.axes[0].patches
    }


def test_phonon_spectrum_holds_what_was_radiated():
    path, one = follow(50.0, stress_MPa=45.0, interface=Interface())
    found = drawn_energies(plot.film_phonons_figure(path, stress_MPa=45.0, interface=Interface()))
    # The turning points lie between two steps of the solver.
    assert found["into the crystal"] == pytest.approx(one.crystal_eV_per_nm, rel=0.01)
    assert found["into the film"] == pytest.approx(one.film_eV_per_nm, rel=0.01)
    weaker, _ = follow(50.0, stress_MPa=40.0, interface=Interface())
    other = drawn_energies(plot.film_phonons_figure(weaker, stress_MPa=40.0, interface=Interface()))
    assert other["into the crystal"] != pytest.approx(one.crystal_eV_per_nm, rel=0.05)


def test_motion_is_shaded_where_it_goes_to_the_interface():
    path, _ = follow(50.0, stress_MPa=45.0, interface=Interface())
    figure = plot.film_motion_figure(path, stress_MPa=45.0, interface=Interface())
    assert len(figure.axes) == 4
    (shade,) = figure.axes[0].collections
    first = shade.get_paths()[0].get_extents()
    assert first.x1 == pytest.approx(float(path.time_ps[np.argmin(path.distance_nm)]), abs=0.5)


def test_releases_are_dashed_where_faster_than_sound():
    starts = (30.0, 60.0, 100.0)
    rows = [(h, release(h, stress_MPa=45.0, interface=Interface())) for h in starts]
    slow, fast = plot.film_release_figure({45.0: rows}).axes[0].lines
    np.testing.assert_array_equal(np.isfinite(slow.get_ydata()), [True, True, False])
    np.testing.assert_array_equal(np.isfinite(fast.get_ydata()), [False, True, True])
    with pytest.raises(InputError, match="at least one stress"):
        plot.film_release_figure({45.0: []})
