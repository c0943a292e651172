"""One road from a recoil spectrum to what a detector sees, whatever the spectrum comes from."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.analysis.published import cawo4_published
from cascade_driver.cli import main
from cascade_driver.config import RunInput
from cascade_driver.errors import InputError
from cascade_driver.models import load_model
from cascade_driver.request import CaptureRequest, DarkMatterRequest, ReactorRequest, SolarRequest
from cascade_driver.schema import build
from cascade_driver.sources.requested import is_as_requested, requested_spectrum, source_members_of
from cascade_driver.spectra.detector import Detector
from cascade_driver.spectra.observe import expect, observe, observed_of_files
from cascade_driver.spectrum import Spectrum, read_bands, read_spectrum, rebin, write_spectrum

DARK_MATTER = {"kind": "dm", "target": "CaWO4", "mass_GeV": 2.0, "cross_section_cm2": 1e-40}


def dark_matter(**changes) -> DarkMatterRequest:
    return DarkMatterRequest(**{**DARK_MATTER, "energy_eV": (1.0, 150.0), "bins": 50, **changes})


# -- bins ------------------------------------------------------------------------------------------------------


@functools.cache
def counts_in_bins(bins: int, *, logarithmic: bool) -> float:
    pair = observe(dark_matter(bins=bins, logarithmic=logarithmic), cawo4_published(), bands=False)
    assert len(pair.expected.energy_edges_eV) == bins + 1
    return float(pair.observed_in_same_bins.total_counts_per_kg_day)


@pytest.mark.parametrize("bins", [*range(10, 400, 26), 50, 60, 75, 149, 400])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_any_number_of_bins_gives_the_same_counts(bins, logarithmic):
    # 1e-3: rates are taken as constant within a bin, of which there are as few as ten
    assert counts_in_bins(bins, logarithmic=logarithmic) == pytest.approx(
        counts_in_bins(1000, logarithmic=False), rel=1e-3
    )


WIDE_EV = np.arange(0.0, 141.0, 20.0)
FALLING = np.array([200.0, 120.0, 80.0, 50.0, 30.0, 20.0, 10.0])

#: What a detector does within a bin of 20 eV: a threshold in it, a slope, events carried over its edges.
WITHIN_BINS = [
    Detector(threshold_eV=50.0),
    Detector(threshold_eV=50.0, resolution_eV=3.0),
    Detector(resolution_eV=1.0),
    Detector(efficiency_points=((20.0, 0.0), (60.0, 1.0))),
]


@pytest.mark.parametrize("detector", WITHIN_BINS)
def test_a_detector_that_cuts_through_wide_bins_records_what_it_does_of_narrow_ones(detector):
    # the same piecewise constant rates in bins of 20 eV and of 1 eV; as much as 7 % lay between them. Above 100 eV
    # recoils beyond the end are missing
    pairs = [
        observe(
            Spectrum(energy_edges_eV=edges, rate_per_kg_day_keV={"W": rate}),
            load_model("cawo4"),
            detector=detector,
            bands=False,
        )
        for edges, rate in ((WIDE_EV, FALLING), (np.arange(141.0), np.repeat(FALLING, 20)))
    ]
    for which in ("expected", "observed_in_same_bins"):
        wide, narrow = (getattr(pair, which).values() for pair in pairs)
        assert wide[:5] == pytest.approx(narrow.reshape(7, 20).sum(axis=1)[:5], rel=3e-3)


@pytest.mark.parametrize("detector", WITHIN_BINS)
def test_a_source_in_wide_bins_is_recorded_as_in_narrow_ones(detector):
    # a rate that falls by a factor e in 30 eV: even within a bin of 20 eV it is up to 11 % too much above 50 eV
    wide, narrow = (
        expect(dark_matter(energy_eV=(0.0, 140.0), bins=bins), detector=detector).values() for bins in (7, 560)
    )
    assert wide == pytest.approx(narrow.reshape(7, 80).sum(axis=1), rel=3e-3)


def test_bins_that_are_asked_for_within_those_of_a_spectrum_know_the_threshold():
    # 120 per keV from 20 to 33 eV: below a threshold of 23.5 eV nothing, above it 120 /keV times the width
    spectrum = Spectrum(energy_edges_eV=[10.0, 20.0, 33.0, 60.0], rate_per_kg_day_keV={"W": [0.0, 120.0, 0.0]})
    edges = [10.0, 20.0, 25.0, 30.0, 33.0, 60.0]
    pair = observe(
        spectrum, load_model("cawo4"), detector=Detector(threshold_eV=23.5), edges_eV=edges, bands=False
    )
    assert pair.expected.values() == pytest.approx(0.12 * np.array([0.0, 1.5, 5.0, 3.0, 0.0]))
    observed = pair.observed_in_same_bins.values()
    # an energy is stored by less than 10 % of the W recoils below 33 eV
    assert observed[:4] == pytest.approx(pair.expected.values()[:4], rel=0.1, abs=1e-12)


# -- four ways in ----------------------------------------------------------------------------------------------

#: As an input, as options, and as a request: one and the same.
SOURCES = {
    "dm": DARK_MATTER | {"energy_eV": [1.0, 120.0], "bins": 37},
    "cevns": {
        "kind": "cevns", "target": "CaWO4", "power_GW": [4.25], "distance_m": [72.0],
        "energy_eV": [1.0, 120.0], "bins": 30, "logarithmic": True,
    },
    "capture": {
        "kind": "capture", "target": "CaWO4", "neutron_flux_cm2_s": 100.0, "unresolved": "left_out",
        "slowing_time_fs": 20.0, "unknown_lifetime": "prompt", "energy_eV": [0.0, 120.0], "bins": 40,
    },
}  # fmt: skip


def options_of(content: dict[str, object]) -> list[str]:
    words = []
    for name, value in content.items():
        option = "--log" if name == "logarithmic" else f"--{name.replace('_', '-')}"
        if name != "kind":
            words += [option, *([] if value is True else [str(v) for v in np.atleast_1d(value)])]
    return words


@pytest.mark.parametrize("kind", SOURCES)
def test_an_input_a_command_a_file_and_python_give_the_same(kind, tmp_path, capsys):
    content = SOURCES[kind]
    seen = ["--resolution-eV", "2", "--threshold-eV", "10", "--extrapolate"]
    words = ["spectrum", kind, *options_of(content)]
    assert main([*words, "--model", "cawo4-published", *seen, "--out", str(tmp_path / "model.csv")]) == 0
    assert main([*words, "--out", str(tmp_path / "e.csv")]) == 0
    words = ["correct", "cawo4-published", str(tmp_path / "e.csv"), *seen]
    assert main([*words, "--out", str(tmp_path / "correct.csv")]) == 0
    capsys.readouterr()
    assert (tmp_path / "model.csv").read_text() == (tmp_path / "correct.csv").read_text()

    # the section of an input, and the library
    wanted = build(
        RunInput,
        {
            "crystal": {"name": "CaWO4", "minimum_atoms": 700},
            "potential": {"name": "cawo4-pbe-spline"},
            "recoils": [{"species": "W", "recoil_energies_eV": [20], "snapshots": 1,
                         "directions": {"scheme": "symmetry", "count": 1}}],
            "analysis": {},
            "detector": {"resolution_eV": 2.0, "threshold_eV": 10.0},
            "spectra": [content],
        },
        origin="input",
    )  # fmt: skip
    pair = observe(wanted.spectra[0], load_model("cawo4-published"), detector=wanted.detector, extrapolate=True)
    back = read_spectrum(tmp_path / "model.csv")
    here = pair.observed_in_same_bins
    assert np.array_equal(back.energy_edges_eV, here.energy_edges_eV)
    for element, rate in here.rate_per_kg_day_keV.items():
        assert np.array_equal(back.rate_per_kg_day_keV[element], rate)
    assert back.observation == pair.observed.observation
    assert back.observation.complete_eV == pair.complete_eV
    assert back.notes == pair.notes
    for name, (low, high) in read_bands(tmp_path / "model.csv").items():
        assert np.array_equal(low, pair.bands.limits()[name][0])
        assert np.array_equal(high, pair.bands.limits()[name][1])

    # and what is drawn of the files is complete where the observation was
    assert main(["spectrum", kind, *options_of(content), *seen[:4], "--out", str(tmp_path / "x.csv")]) == 0
    drawn = observed_of_files(tmp_path / "x.csv", tmp_path / "model.csv", title="")
    assert np.array_equal(drawn.is_complete, pair.is_complete)
    assert drawn.expected.total_rate_per_kg_day_keV == pytest.approx(
        pair.expected.total_rate_per_kg_day_keV,
        rel=1e-5,  # recoils beyond five standard deviations
    )


def test_a_file_of_another_program_has_the_same_numbers_where_it_is_complete(tmp_path):
    model = cawo4_published()
    whole = observe(dark_matter(), model, bands=False)
    bare = dataclasses.replace(requested_spectrum(dark_matter()), source=None)
    alone = observe(bare, model, bands=False)
    # the request goes on to the end of the model at 160 eV, the file ends at 150 eV
    assert whole.complete_eV[1] - alone.complete_eV[1] == pytest.approx(10.0, abs=1e-6)
    both = alone.is_complete
    assert 35 < both.sum() < 45
    rates = [pair.observed_in_same_bins.total_rate_per_kg_day_keV for pair in (whole, alone)]
    # 1e-4: what so few recoils store more is how complete is meant
    assert rates[1][both] == pytest.approx(rates[0][both], rel=2e-4)
    # negative control: beyond, the file lacks what comes in from above
    assert np.all(rates[1][~both][-3:] < 0.98 * rates[0][~both][-3:])


def test_a_bin_that_is_complete_but_for_a_hair_counts_and_lacks_next_to_nothing():
    model = cawo4_published()
    bare = dataclasses.replace(requested_spectrum(dark_matter(bins=149)), source=None)
    high = observe(bare, model, bands=False).complete_eV[1]
    # the same recoils in bins of 20 eV, of which one ends 0.5 or 2 % of its width above
    for share, is_whole in ((0.005, True), (0.02, False)):
        edges = high + 20.0 * share + np.arange(-5, 2) * 20.0
        edges[-1] = 150.0
        pair = observe(rebin(bare, bare.energy_edges_eV), model, edges_eV=edges, bands=False)
        assert pair.complete_eV[1] == pytest.approx(high)
        assert pair.is_complete[4] == is_whole
        whole = observe(dark_matter(bins=149), model, edges_eV=edges, bands=False)
        lacks = (
            1
            - pair.observed_in_same_bins.total_rate_per_kg_day_keV[4]
            / (whole.observed_in_same_bins.total_rate_per_kg_day_keV[4])
        )
        # far less than the share: above the limit it is the rarest losses that are missing; and bins beyond 150 eV
        # are wider where the source goes on
        assert abs(lacks) < (1e-3 if is_whole else 1)


def test_a_spectrum_that_ends_by_itself_is_complete():
    counts = np.where(np.arange(150) < 60, 1.0, 0.0)
    ended = Spectrum.from_counts(energy_edges_eV=np.arange(151.0), counts_per_kg_day={"W": counts})
    pair = observe(ended, cawo4_published(), bands=False)
    assert pair.complete_eV == (0.0, 150.0)
    assert pair.observed.total_counts_per_kg_day == pytest.approx(60.0)
    # empty bins beyond the simulated energies need no model
    beyond = np.linspace(0.0, 300.0, 301)
    assert observe(rebin(ended, beyond), cawo4_published(), bands=False).complete_eV == (0.0, 300.0)


def test_energies_in_keV_without_the_name_are_noticed():
    keV = Spectrum(energy_edges_eV=np.linspace(0.001, 0.15, 31), rate_per_kg_day_keV={"W": np.ones(30)})
    pair = observe(keV, cawo4_published(), bands=False)
    assert pair.complete_eV is None
    assert not pair.is_complete.any()
    assert any("keV?" in note for note in pair.notes)


# -- whose crystal ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["Ge", "Al2O3", "WO3", "Ca", "CaO4W2"])
def test_another_crystal_is_refused_unless_by_an_explicit_word(target):
    with pytest.raises(InputError, match=r"not of the crystal of the model, which is CaWO4.*--other-crystal"):
        observe(dark_matter(target=target), cawo4_published())
    pair = observe(dark_matter(target=target), cawo4_published(), other_crystal=True, bands=False)
    assert any("another crystal, CaWO4" in note for note in pair.observed.notes)


@pytest.mark.parametrize("target", ["CaWO4", "CaWO4[W183=0.9]", "WCaO4", "Ca2W2O8"])
def test_the_crystal_may_be_written_otherwise_and_enriched(target):
    pair = observe(dark_matter(target=target, bins=5), cawo4_published(), bands=False)
    assert pair.borrowed == {"Ca": "W", "O": "W"}
    assert "response of W used for Ca, O" in pair.notes or "response of W used for O, Ca" in pair.notes


def test_notes_on_species_that_a_spectrum_does_not_use_are_left_out():
    model = load_model("cawo4")
    model = dataclasses.replace(model, notes=(*model.notes, "Ca: a note of a fit", "W: another", "of all of them"))

    def notes(elements: tuple[str, ...]) -> str:
        rates = {element: [2.0, 1.0] for element in elements}
        spectrum = Spectrum(energy_edges_eV=[20.0, 30.0, 40.0], rate_per_kg_day_keV=rates)
        return "\n".join(observe(spectrum, model).notes)

    said = notes(("W",))
    assert "few cascades: of W store energy" in said
    assert "W: another" in said
    assert "of all of them" in said
    assert not any(text in said for text in ("of Ca store", "of O store", "Ca: a note", "knows nothing of Ca, O"))
    said = notes(("W", "Ca"))  # negative control
    assert all(text in said for text in ("of Ca store", "Ca: a note", "knows nothing of Ca, O"))
    assert "of O store" not in said


def test_elements_of_a_file_are_those_of_the_crystal():
    for element, known in (("Ge", False), ("Ca", True)):
        spectrum = Spectrum(energy_edges_eV=[20.0, 30.0, 40.0], rate_per_kg_day_keV={element: [2.0, 1.0]})
        if known:
            assert observe(spectrum, cawo4_published(), bands=False).borrowed == {"Ca": "W"}
        else:
            with pytest.raises(InputError, match="Ge: not of the crystal of the model, which is CaWO4"):
                observe(spectrum, cawo4_published())


def test_a_model_that_does_not_know_its_crystal_lends_nothing():
    unknown = dataclasses.replace(cawo4_published(), crystal=())
    assert isinstance(unknown, StoredEnergyModel)
    with pytest.raises(InputError, match="does not say of which crystal it is, and Ca, O would borrow"):
        observe(dark_matter(), unknown)
    tungsten = Spectrum(energy_edges_eV=[20.0, 30.0], rate_per_kg_day_keV={"W": [2.0]})
    assert any("does not say of which crystal" in note for note in observe(tungsten, unknown, bands=False).notes)


def test_extrapolation_says_its_energies_on_every_road(tmp_path, capsys):
    with pytest.raises(InputError, match="up to 200 eV wanted, simulated up to 160 eV"):
        observe(dark_matter(mass_GeV=5.0, energy_eV=(1.0, 200.0)), cawo4_published())
    said = "W: extrapolated from 160 eV, the highest simulated energy, to "
    for model, changes in (
        (cawo4_published(), {"extrapolate": True}),
        (dataclasses.replace(cawo4_published(), extrapolate=True), {}),
    ):
        pair = observe(dark_matter(mass_GeV=5.0, energy_eV=(1.0, 200.0)), model, bands=False, **changes)
        assert sum(note.startswith(said) for note in pair.notes) == 1
        # of recoils above 160 eV one in 1e4 comes to lie below 160 eV less what so few of 160 eV exceed
        low, high = pair.simulated_eV
        law = model["W"].distribution
        assert low == 0
        assert float(law.cumulative(160 - high, 160.0).item()) == pytest.approx(1 - 1e-4, abs=1e-8)
        assert pair.is_simulated.tolist() == (pair.expected.energy_edges_eV[1:] <= high).tolist()
        assert pair.observed.observation.simulated_eV == pair.simulated_eV
    assert observe(dark_matter(energy_eV=(1.0, 100.0)), cawo4_published(), bands=False).simulated_eV is None
    words = ["spectrum", "dm", *options_of(DARK_MATTER | {"mass_GeV": 5.0, "energy_eV": [1, 200], "bins": 20})]
    assert main([*words, "--out", str(tmp_path / "e.csv")]) == 0
    files = ["correct", "cawo4-published", str(tmp_path / "e.csv"), "--no-bands", "--out", str(tmp_path / "o.csv")]
    assert main(files) == 2
    assert main([*files, "--extrapolate"]) == 0
    assert f"note: {said}" in capsys.readouterr().err


# -- a spectrum carries its source -----------------------------------------------------------------------------

energies = st.tuples(st.floats(0.5, 40.0), st.floats(1.0, 80.0)).map(lambda e: (e[0], e[0] + e[1]))
binning = {"energy_eV": energies, "bins": st.integers(1, 30), "logarithmic": st.booleans()}
targets = st.sampled_from(["CaWO4", "Ge", "Si[Si29=0.5]", "Al2O3"])

requests = st.one_of(
    st.builds(
        DarkMatterRequest,
        kind=st.just("dm"),
        target=targets,
        mass_GeV=st.floats(0.5, 50.0),
        cross_section_cm2=st.floats(1e-45, 1e-35),
        mediator_mass_MeV=st.none() | st.floats(0.1, 100.0),
        coupling=st.sampled_from(["independent", "proton_spin", "neutron_spin"]),
        date=st.none() | st.dates(),
        density_GeV_cm3=st.none() | st.floats(0.1, 1.0),
        escape_speed_km_s=st.none() | st.floats(500.0, 700.0),
        **binning,
    ),
    st.builds(
        ReactorRequest,
        kind=st.just("cevns"),
        target=targets,
        power_GW=st.tuples(st.floats(0.1, 10.0)),
        distance_m=st.tuples(st.floats(5.0, 500.0)),
        fission_fractions=st.none() | st.just({"U235": 1.0}),
        low_energy_flux=st.sampled_from(["kopeikin", "flat"]),
        magnetic_moment_bohr=st.sampled_from([0.0, 1e-11]),
        **binning,
    ),
    st.builds(
        SolarRequest,
        kind=st.just("cevns"),
        target=targets,
        solar_sources=st.none() | st.just(("B8", "Be7")),
        **binning,
    ),
    st.builds(
        CaptureRequest,
        kind=st.just("capture"),
        target=st.sampled_from(["Si", "Al2O3"]),
        neutron_flux_cm2_s=st.floats(1e-3, 1e6),
        gamma_timing=st.sampled_from(["in_flight", "prompt", "slow"]),
        unknown_lifetime=st.sampled_from(["single_particle", "prompt", "slow"]),
        slowing_time_fs=st.none() | st.floats(0.5, 500.0),
        unresolved=st.just("left_out"),
        **binning,
    ),
)


@settings(max_examples=30)
@given(request=requests)
def test_what_a_file_says_makes_the_same_spectrum_again(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "s.csv"
    made = requested_spectrum(request)
    write_spectrum(made, path)
    back = read_spectrum(path)
    assert back.source == request
    again = requested_spectrum(back.source)
    assert np.array_equal(again.energy_edges_eV, back.energy_edges_eV)
    for element, counts in made.counts_per_kg_day.items():
        assert np.array_equal(back.counts_per_kg_day[element], counts)
        assert np.array_equal(again.counts_per_kg_day[element], counts)
    assert is_as_requested(back)


def test_spectra_that_differ_by_their_timing_say_so_and_have_errors_of_their_own(tmp_path):
    about = {
        "kind": "capture",
        "target": "Si",
        "neutron_flux_cm2_s": 100.0,
        "energy_eV": (0.0, 1400.0),
        "bins": 28,
    }
    changes = ({}, {"slowing_time_fs": 5.0, "unknown_lifetime": "prompt"})
    headers, errors = [], []
    for number, change in enumerate(changes):
        request = CaptureRequest(**about, **change)
        made = requested_spectrum(request)
        write_spectrum(made, tmp_path / f"{number}.csv")
        text = (tmp_path / f"{number}.csv").read_text()
        headers.append([line for line in text.splitlines() if line.startswith("#")])
        fresh, read = source_members_of(made), source_members_of(read_spectrum(tmp_path / f"{number}.csv"))
        assert np.array_equal(fresh["Si"], read["Si"])
        errors.append(fresh["Si"].std(axis=0))
    assert headers[0] != headers[1]
    assert not np.allclose(errors[0], errors[1], rtol=0.2)


def test_numbers_that_were_changed_are_taken_as_they_stand():
    made = requested_spectrum(dark_matter())
    twice = dataclasses.replace(made, rate_per_kg_day_keV={e: 2 * r for e, r in made.rate_per_kg_day_keV.items()})
    pair = observe(twice, cawo4_published(), bands=False)
    assert any("not those that the source in the header makes" in note for note in pair.notes)
    assert pair.observed.source is None
    once = observe(dataclasses.replace(made, source=None), cawo4_published(), bands=False)
    assert pair.observed.total_counts_per_kg_day == pytest.approx(2 * once.observed.total_counts_per_kg_day)


def test_a_note_stays_one_note(tmp_path):
    note = "W: half; and half; no error"
    model = dataclasses.replace(cawo4_published(), notes=(note,))
    observed = observe(dark_matter(bins=5), model, bands=False).observed
    write_spectrum(observed, tmp_path / "o.csv")
    assert read_spectrum(tmp_path / "o.csv").notes == observed.notes
    assert note in observed.notes


def test_a_background_below_zero_goes_through_as_it_stands():
    counts = np.exp(-np.arange(75.0) / 12)
    for wanted in (1.0, -1.0):
        spectrum = Spectrum.from_counts(
            energy_edges_eV=np.arange(0.0, 151.0, 2.0), counts_per_kg_day={"W": wanted * counts}
        )
        pair = observe(spectrum, load_model("cawo4-published"))
        if wanted > 0:
            plus = pair
    # linear: the sign goes through, in the bands with upper and lower exchanged
    assert pair.observed.counts_per_kg_day["W"] == pytest.approx(-plus.observed.counts_per_kg_day["W"], abs=1e-12)
    low, high = pair.bands.limits()["assumptions"]
    assert high == pytest.approx(-plus.bands.limits()["assumptions"][0], rel=1e-6, abs=1e-9)
    assert np.all(low <= high)


def test_all_of_a_detector_acts_on_rate_and_band_alike():
    plain = observe(dark_matter(), load_model("cawo4-published"), detector=Detector(resolution_eV=2.0))
    half = observe(
        dark_matter(), load_model("cawo4-published"), detector=Detector(resolution_eV=2.0, efficiency=0.5)
    )
    assert half.observed.total_counts_per_kg_day == pytest.approx(0.5 * plain.observed.total_counts_per_kg_day)
    assert half.bands.total.upper_per_kg_day_keV == pytest.approx(0.5 * plain.bands.total.upper_per_kg_day_keV)


def test_counts_that_lie_below_the_first_bin_are_told():
    """A line at 100 eV whose recoils nearly all store some 9 eV, in a file of two bins."""
    line = Spectrum(energy_edges_eV=[100, 101, 102], rate_per_kg_day_keV={"W": [1000.0, 1000.0]})
    seen = observe(line, cawo4_published())
    widths = seen.expected.bin_widths_keV
    left = float((seen.observed_in_same_bins.total_rate_per_kg_day_keV * widths).sum())
    (note,) = (note for note in seen.notes if "below 100 eV" in note)
    below, whole = float(note.split()[0]), float(note.split()[2])
    assert whole == pytest.approx(2.0, rel=1e-3)
    assert below == pytest.approx(2.0 - left, rel=1e-3)
    assert below > 1.9
    assert not any("keV?" in note for note in seen.notes)
    # From 0 on nothing is lost, and nothing said.
    edges = [0.0, 50, 100, 101, 102]
    whole = Spectrum(energy_edges_eV=edges, rate_per_kg_day_keV={"W": [0.0, 0.0, 1000.0, 1000.0]})
    assert not any("first bin" in note for note in observe(whole, cawo4_published()).notes)
