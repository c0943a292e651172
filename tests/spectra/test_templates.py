"""What other programs take: templates hold the covariance of the members, files what was put into them."""

import dataclasses
import json
from importlib import resources

import numpy as np
import pytest
from campaigns import simulate

import cascade_driver as cd
from cascade_driver.analysis.model import fit_stored_energy_model
from cascade_driver.config import AnalysisSpec
from cascade_driver.errors import InputError
from cascade_driver.models import with_errors
from cascade_driver.spectra.response_file import response_set, write_response
from cascade_driver.spectra.templates import (
    MOST_TEMPLATES,
    count_templates,
    hs3_of,
    nuisance_templates,
    workspace_of,
)
from cascade_driver.spectrum import rebin


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    table = simulate(np.random.default_rng(3), n_directions=8)
    made = fit_stored_energy_model(table, n_bootstrap=0)
    return with_errors(table, made, analysis=AnalysisSpec(), relative_to=tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def pair(model):
    recoils = cd.dark_matter("W", mass_GeV=2, cross_section_cm2=1e-40, energy_eV=(20, 120), bins=25)
    return cd.observe(recoils, model, extrapolate=True, other_crystal=True)


def test_templates_hold_the_covariance_of_the_members(pair):
    for name, band in pair.bands.components.items():
        templates = nuisance_templates(pair.bands, name)
        away = band.members_per_kg_day_keV - pair.bands.nominal_per_kg_day_keV
        moment = away.T @ away / len(away)
        assert np.trace(templates.T @ templates) <= np.trace(moment) * (1 + 1e-9)
        if len(templates) < MOST_TEMPLATES:
            assert np.trace(templates.T @ templates) >= 0.99 * np.trace(moment)
            np.testing.assert_allclose(templates.T @ templates, moment, atol=0.01 * np.trace(moment))
        # each along its own direction
        gram = templates @ templates.T
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-9 * np.trace(gram))
    with pytest.raises(InputError, match="no component 'weather'"):
        nuisance_templates(pair.bands, "weather")


def test_a_workspace_has_the_counts_of_the_exposure_and_symmetric_shapes(pair):
    content = workspace_of(count_templates(pair, exposure_kg_day=2.0))
    (sample,) = content["channels"][0]["samples"]
    rate = pair.observed_in_same_bins.total_rate_per_kg_day_keV[pair.is_complete]
    width_keV = np.diff(pair.expected.energy_edges_eV)[pair.is_complete] / 1e3
    np.testing.assert_allclose(sample["data"], rate * width_keV * 2.0)
    shapes = [m for m in sample["modifiers"] if m["type"] == "histosys"]
    assert {m["name"].rpartition("_")[0] for m in shapes} == set(pair.bands.components) - {"fit"}
    for shape in shapes:
        high, low = (np.array(shape["data"][side]) for side in ("hi_data", "lo_data"))
        inside = (high > 1e-8) & (low > 1e-8)
        np.testing.assert_allclose((high + low)[inside], 2 * np.array(sample["data"])[inside])
    with pytest.raises(InputError, match="exposure"):
        count_templates(pair, exposure_kg_day=0.0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pyhf's own use of jsonschema
def test_pyhf_reads_the_workspace_and_finds_the_strength_that_was_put_in(pair):
    pyhf = pytest.importorskip("pyhf", reason="needs pyhf")
    workspace = pyhf.Workspace(workspace_of(count_templates(pair, exposure_kg_day=50.0)))
    fitted = pyhf.infer.mle.fit(workspace.data(workspace.model()), workspace.model())
    assert fitted[workspace.model().config.poi_index] == pytest.approx(1.0, abs=0.02)


def yields(distribution, parameters):
    """The counts of a `histfactory_dist` by the formula of the standard, interpolation `lin`."""
    total = 0.0
    for sample in distribution["samples"]:
        nominal = np.array(sample["data"]["contents"])
        added, factor = np.zeros_like(nominal), 1.0
        for modifier in sample["modifiers"]:
            x = parameters[modifier["parameter"]]
            if modifier["type"] == "normfactor":
                factor *= x
            else:
                assert (modifier["type"], modifier["constraint"]) == ("histosys", "Gauss")
                high, low = (np.array(modifier["data"][side]["contents"]) for side in ("hi", "lo"))
                added += x * (high - nominal if x >= 0 else nominal - low)
        total = total + (nominal + added) * factor
    return total


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_workspace_of_hs3_expects_what_that_of_pyhf_does_at_any_parameters(pair):
    """Keys by the chapters of the standard (2.1 to 2.8); pyhs3 0.4.2 and ROOT 6.40.00 gave these counts, too.

    ROOT's `RooJSONFactoryWSTool` refuses a file without the two names, and fitted the same error of `mu` as pyhf
    (0.01802, of dark matter in the model `cawo4`, 100 kg d).
    """
    pyhf = pytest.importorskip("pyhf", reason="needs pyhf")
    templates = count_templates(pair, exposure_kg_day=50.0)
    content = hs3_of(templates)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    named = {part: {one["name"]: one for one in content[part]} for part in content if part != "metadata"}
    analysis = named["analyses"]["strength"]
    likelihood = named["likelihoods"][analysis["likelihood"]]
    (distribution,), (data,) = (
        [named[part][name] for name in likelihood[part]] for part in ("distributions", "data")
    )
    (axis,) = distribution["axes"]
    assert data["axes"] == [axis]
    assert (axis["min"], axis["max"]) == (axis["edges"][0], axis["edges"][-1])
    np.testing.assert_array_equal(axis["edges"], templates.energy_edges_eV)
    (domain,) = (named["domains"][name] for name in analysis["domains"])
    starts = {one["name"]: one["value"] for one in named["parameter_points"][analysis["init"]]["parameters"]}
    assert starts.keys() == {one["name"] for one in domain["axes"]}
    assert (domain["name"], analysis["init"]) == ("default_domain", "default_values")
    assert set(analysis["parameters_of_interest"]) == {"mu"}
    np.testing.assert_allclose(yields(distribution, starts), data["contents"])
    model = pyhf.Workspace(workspace_of(templates)).model()
    assert set(model.config.par_names) == starts.keys()
    rng = np.random.default_rng(4)
    for _ in range(5):
        # within one error: there every interpolation is the straight line
        drawn = {name: abs(rng.normal()) if name == "mu" else rng.uniform(-0.5, 0.5) for name in starts}
        expected = model.expected_actualdata([drawn[name] for name in model.config.par_names])
        inside = [(min(high.min(), low.min()) > 1e-8) for high, low in templates.shapes.values()]
        assert all(inside)
        np.testing.assert_allclose(yields(distribution, drawn), expected, rtol=1e-9)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".root"])
def test_a_response_file_holds_the_matrix_its_axes_and_its_members(model, tmp_path, suffix):
    edges = np.linspace(40, 120, 9)
    made = response_set(model, edges, members=3)
    path = tmp_path / f"r{suffix}"
    library = {".npz": "numpy", ".h5": "h5py", ".root": "uproot"}[suffix]
    pytest.importorskip(library, reason=f"needs {library}")
    write_response(made, path)
    expected = model.response("W", edges).matrix
    np.testing.assert_allclose(expected.sum(axis=0), 1)
    np.testing.assert_allclose(made.members["W"].sum(axis=1), 1, rtol=1e-3)  # counts are conserved by each
    match suffix:
        case ".npz":
            with np.load(path) as file:
                matrix, members = file["W/matrix"], file["W/members"]
                np.testing.assert_array_equal(file["recoil_edges_eV"], edges)
                about = json.loads(str(file["about"]))
        case ".h5":
            import h5py

            with h5py.File(path) as file:
                matrix, members = file["W/matrix"][:], file["W/members"][:]
                assert list(file["W/matrix"].attrs["axes"]) == ["observed_energy", "recoil_energy"]
                assert file["recoil_edges_eV"].attrs["unit"] == "eV"
                about = json.loads(file.attrs["about"])
        case _:
            import uproot

            with uproot.open(path) as file:
                values, x, y = file["W"].to_numpy()
                np.testing.assert_allclose(x, edges)
                np.testing.assert_allclose(y, made.observed_edges_eV)
                matrix, members = values.T, np.stack([file[f"W_{k}"].to_numpy()[0].T for k in range(3)])
                about = json.loads(str(file["about"]))
    np.testing.assert_allclose(matrix, expected, rtol=1e-6)
    np.testing.assert_allclose(members, made.members["W"], rtol=1e-5, atol=1e-7)
    assert about["axes"]["matrix"] == ["observed_energy", "recoil_energy"]
    assert about["status"] == "qualitative"


def test_a_response_beyond_what_was_simulated_says_so_or_is_refused(model):
    one = model.species["W"]
    high = one.maximum_recoil_energy_eV
    inside = response_set(dataclasses.replace(model, extrapolate=True), [high - 20, high])
    assert not inside.notes
    edges = [high - 20, high, high + 20]
    made = response_set(dataclasses.replace(model, extrapolate=True), edges)
    said = f"W: extrapolated from {high:g} eV, the highest simulated energy, to {high + 20:g} eV"
    assert said in made.notes
    assert said in made.about["notes"]
    with pytest.raises(InputError, match="simulated up to"):
        response_set(dataclasses.replace(model, extrapolate=False), edges)


def test_an_ending_that_no_program_reads_is_refused(model, tmp_path):
    with pytest.raises(InputError, match=r"\.npz, \.h5, \.root"):
        write_response(response_set(model, [50, 60]), tmp_path / "r.mat")


def histogram_of(path, name):
    """Return a histogram of a file as the library reads it that the file is for."""
    hist = pytest.importorskip("hist", reason="needs hist")
    match path.suffix:
        case ".json":
            uhi = pytest.importorskip("uhi.io.json", reason="needs uhi")
            content = json.loads(path.read_text(), object_hook=uhi.object_hook)
            return hist.Hist(content[name])
        case ".h5":
            h5py = pytest.importorskip("h5py", reason="needs h5py")
            uhi = pytest.importorskip("uhi.io.hdf5", reason="needs uhi")
            with h5py.File(path) as file:
                return hist.Hist(uhi.read(file[name]))
        case _:
            uproot = pytest.importorskip("uproot", reason="needs uproot")
            with uproot.open(path) as file:
                return file[name].to_hist()


@pytest.mark.parametrize("suffix", [".json", ".h5", ".root"])
def test_other_programs_read_a_spectrum_in_its_bins_with_the_members_of_its_band(model, tmp_path, suffix):
    recoils = cd.dark_matter("W", mass_GeV=2, cross_section_cm2=1e-40, energy_eV=(20, 120), bins=25)
    uneven = rebin(recoils, np.r_[20:60:2, 60:121:12.0])
    pair = cd.observe(uneven, model, extrapolate=True, other_crystal=True)
    path = tmp_path / f"seen{suffix}"
    pair.write(path)
    seen = histogram_of(path, "observed")
    np.testing.assert_allclose(seen.axes[0].edges, uneven.energy_edges_eV)
    rate = pair.observed_in_same_bins.total_rate_per_kg_day_keV
    np.testing.assert_allclose(seen.values() / np.diff(seen.axes[0].edges) * 1e3, rate, rtol=1e-7)
    np.testing.assert_allclose(histogram_of(path, "expected").values().sum(), uneven.total_counts_per_kg_day)
    np.testing.assert_allclose(histogram_of(path, "observed_W").values(), seen.values(), rtol=1e-7)
    upper = histogram_of(path, "upper_total").values() / np.diff(uneven.energy_edges_eV) * 1e3
    np.testing.assert_allclose(upper, pair.bands.total.upper_per_kg_day_keV, rtol=1e-7)
    members = histogram_of(path, "members_statistics").values()
    # the members know the error of a sum, which the sides of the bands do not
    away = members.sum(axis=1) - seen.values().sum()
    names = set(pair.bands.components) - {"statistics"}
    expected = pair.bands.error_of_counts_per_kg_day(low_eV=20, high_eV=120, without=names)
    assert np.sqrt(np.mean(away**2)) == pytest.approx(expected, rel=1e-5)


def test_a_file_of_histograms_follows_the_schema_of_uhi(pair, tmp_path):
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema")
    uhi = pytest.importorskip("uhi", reason="needs uhi")
    schema = json.loads((resources.files(uhi) / "resources" / "histogram.schema.json").read_text())
    pair.write(tmp_path / "seen.json")
    content = json.loads((tmp_path / "seen.json").read_text())
    assert {"expected", "observed", "lower_total", "members_statistics"} <= content.keys()
    for histogram in content.values():
        jsonschema.validate(histogram, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content["observed"], "axes": [{"type": "variable"}]}, schema)
