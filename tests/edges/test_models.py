"""Correction with error bands: from runs, files and published models, with an ensemble of potentials."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from campaigns import model_of_replica
from fake_engine import LawfulEngine, a_campaign, a_run, work_of

import cascade_driver as cd
from cascade_driver.advice import advise_run
from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.analysis.published import CaWO4Assumptions, assumption_replicas, cawo4_published
from cascade_driver.analysis.uncertainty import central_replica
from cascade_driver.campaign.claims import Claims
from cascade_driver.campaign.executors import Serial
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.cli import main
from cascade_driver.conclusion import conclude
from cascade_driver.errors import InputError, RecordError
from cascade_driver.models import fitted_run, load_model, run_ensemble
from cascade_driver.request import CaptureRequest, ReactorRequest
from cascade_driver.schema import build
from cascade_driver.session import open_run
from cascade_driver.simulation.kick_sequence import ThenSpec
from cascade_driver.sources.requested import is_as_requested, requested_spectrum, source_members_of
from cascade_driver.spectra.ensemble import Ensemble, bands_of_file
from cascade_driver.spectra.ensemble_content import ensemble_content, ensemble_of
from cascade_driver.spectrum import Spectrum, read_spectrum, rebin, write_spectrum

ENERGIES = (20.0, 30.0, 40.0, 50.0, 60.0, 81.0, 112.0, 160.0)
EDGES = np.linspace(0.0, 150.0, 76)

#: A potential in which every damaged cascade stores this much more.
SHIFT_eV = 3.0


INPUT = (
    '[crystal]\nname = "Si"\nrepeats = [1, 1, 1]\n[potential]\nname = "si-tersoff-zbl"\n[analysis]\n'
    '[[recoils]]\nspecies = "Si"\nrecoil_energies_eV = [20]\nsnapshots = 1\n'
    'directions = { scheme = "symmetry", count = 1 }\n'
)


class OtherPotential(LawfulEngine):
    shift_eV = SHIFT_eV


def finished_run(folder: Path, *, engine=LawfulEngine, seed: int = 1, energies=ENERGIES) -> Path:
    run = a_run(folder, a_campaign(energies=energies, directions=6, snapshots=3, seed=seed))
    Serial().work(work_of(run, engine=engine, workers=1), lambda _: None)
    (folder / "input.toml").write_text(INPUT)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        "first": finished_run(folder / "first"),
        "shifted": finished_run(folder / "shifted", engine=OtherPotential, seed=2),
        "again": finished_run(folder / "again", seed=3),
    }


@pytest.fixture(scope="module")
def recoil(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("spectra") / "recoil.csv"
    counts = -np.diff(np.exp(-EDGES / 25.0)) * 1e3
    write_spectrum(Spectrum.from_counts(energy_edges_eV=EDGES, counts_per_kg_day={"Si": counts}), path)
    return path


def columns_of(path: Path) -> dict[str, np.ndarray]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    values = np.genfromtxt(lines[1:], delimiter=",")
    return dict(zip(lines[0].split(","), values.T, strict=True))


def test_a_run_corrects_with_every_band_in_the_file_and_a_diagnosis(runs, recoil, tmp_path, capsys):
    out = tmp_path / "observed.csv"
    before = sorted(runs["first"].rglob("*"))
    assert main(["correct", str(runs["first"]), str(recoil), "--out", str(out)]) == 0
    said = capsys.readouterr()
    for name in ("statistics", "fit", "shape"):
        assert f"  {name}" in said.out
    assert "of the same origin as statistics and not added" in said.out
    assert "dominates; what helps is" in said.out
    columns = columns_of(out)
    used = slice(5, 60)
    for name in ("total", "statistics", "fit", "shape"):
        low, high = (columns[f"rate_{side}_{name}"][used] for side in ("lower", "upper"))
        assert np.all(low <= columns["rate"][used] * (1 + 1e-9))
        assert np.all(columns["rate"][used] <= high * (1 + 1e-9))
    assert "potential" not in said.out
    # the file is a spectrum to every reader of spectra, and the run was left as it was
    assert read_spectrum(out).elements == ("Si",)
    assert sorted(runs["first"].rglob("*")) == before
    assert main(["correct", str(runs["first"]), str(recoil), "--no-bands", "--out", str(out)]) == 0
    assert "rate_lower" not in out.read_text()


def test_advice_on_a_run_changes_nothing_in_it(runs, tmp_path):
    # a run of somebody else, which may only be read, is planned on, too
    run = tmp_path / "run"
    shutil.copytree(runs["first"], run)
    (run / "input.toml").write_text(
        (run / "input.toml").read_text() + '[[spectra]]\nkind = "dm"\ntarget = "Si"\nmass_GeV = 2\n'
        "cross_section_cm2 = 1e-40\nenergy_eV = [10, 80]\nbins = 14\n"
    )
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    ((_, advice),) = advise_run(RunDirectory(run))
    assert advice
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_report_tells_the_defects_of_the_rows_that_it_has(tmp_path):
    """Cascades with later kicks are finished, too, and are not fitted."""
    single = a_campaign(energies=(20, 60, 112), directions=6, snapshots=3)
    (group,) = single.groups
    then = (build(ThenSpec, {"delay_fs": 10, "recoil_energy_eV": 5}, origin="then"),)
    twice = dataclasses.replace(group, recoil_energies_eV=(40.0,), then=then)
    run = a_run(tmp_path / "run", dataclasses.replace(single, groups=(twice, group)))
    Serial().work(work_of(run, engine=LawfulEngine, workers=1), lambda _: None)
    (run.path / "input.toml").write_text(INPUT)
    made = conclude(run)
    assert (made.finished, made.planned, len(run.finished())) == (54, 54, 72)
    assert not made.failure
    assert "The campaign is not finished" not in (run.path / "report.html").read_text()


DM = '[[spectra]]\nkind = "dm"\ntarget = "Si"\nmass_GeV = 2\ncross_section_cm2 = 1e-40\n'


def test_good_cascades_that_allow_no_fit_are_tabled_reported_and_say_what_to_run_next(tmp_path, capsys):
    run = finished_run(tmp_path / "run", energies=(6.0, 8.0))
    path = run / "input.toml"
    path.write_text(path.read_text() + DM + "energy_eV = [2, 8]\nbins = 6\n")
    for verb in ("report", "fit"):
        assert main([verb, str(run)]) == 1
        said = capsys.readouterr()
        assert "0.00 [0.00" in said.out
        assert said.err.count("\n") == 1
        assert "no model could be fitted: Si: none of 36 cascades up to 8 eV stored energy" in said.err
        assert "simulate 12, 16 and 24 eV too, 16 cascades each" in said.err
    html = (run / "report.html").read_text()
    assert "none of 36 left a defect" in html.replace("\u00a0", " ")
    assert "simulate 12, 16 and 24 eV too, 16 cascades each" in html
    assert [file.name for file in sorted((run / "figures").glob("*.png"))] == ["defect-probability-Si.png"]
    # nobody asked for a fit: the report is what was asked for
    path.write_text(path.read_text().replace("[analysis]\n", "").split("[[spectra]]")[0])
    assert main(["report", str(run)]) == 0
    assert "no model could be fitted" in capsys.readouterr().err


def test_a_report_on_a_run_that_goes_on_says_how_far_it_is_and_changes_with_it(runs, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(runs["first"], run)
    directory = RunDirectory(run)
    directory.save(a_campaign(energies=ENERGIES, directions=6, snapshots=4))
    missing = {planned.id for planned in directory.load().cascades()} - directory.finished()
    assert len(missing) == 48

    def said() -> str:
        assert main(["report", str(run)]) == 0
        assert "note: 144 of 192 cascades are finished" in capsys.readouterr().out
        return (run / "report.html").read_text()

    somebody = Claims(directory.claims).take(min(missing))
    assert somebody is not None
    html = said()
    assert "48 of 192 planned cascades are missing" in html
    at_work = r"1 task is in progress, about .* are left; <code>cascade report</code> makes this page again"
    assert re.search(at_work, html)
    assert "144 of 192 cascades" in " ".join(html.split())
    somebody.release()
    assert "Nobody is at work on it: <code>cascade run</code> goes on." in said()


def test_a_spectrum_that_cannot_be_corrected_does_not_take_the_others_along(runs, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(runs["first"], run)
    path = run / "input.toml"
    path.write_text(path.read_text() + "".join(f"{DM}energy_eV = [10, {e}]\nbins = 14\n" for e in (400, 80)))
    assert main(["report", str(run)]) == 1
    assert "1-dm: " in capsys.readouterr().err
    assert {file.name for file in (run / "spectra").iterdir()} == {"2-dm-expected.csv", "2-dm-observed.csv"}
    assert "Spectra that are not corrected: 1-dm: " in (run / "report.html").read_text()


def test_a_run_keeps_the_bands_of_a_spectrum_in_the_file_of_the_spectrum(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["first"], run)
    (run / "input.toml").write_text(
        (run / "input.toml").read_text() + '[[spectra]]\nkind = "dm"\ntarget = "Si"\nmass_GeV = 2\n'
        "cross_section_cm2 = 1e-40\nenergy_eV = [10, 80]\nbins = 14\n"
    )
    conclude(RunDirectory(run))
    folder = run / "spectra"
    assert sorted(file.name for file in folder.iterdir()) == ["1-dm-expected.csv", "1-dm-observed.csv"]
    (seen,) = open_run(run).spectra()
    again = bands_of_file(folder / "1-dm-observed.csv")
    np.testing.assert_allclose(again.total.upper_per_kg_day_keV, seen.bands.total.upper_per_kg_day_keV, rtol=1e-12)
    assert again.total.deviation_per_kg_day_keV.max() > 0
    assert f"# bands: {seen.bands.said}\n" in (folder / "1-dm-observed.csv").read_text()


def test_errors_of_other_numbers_than_those_of_the_model_are_refused(runs, tmp_path):
    path = tmp_path / "model.json"
    load_model(runs["first"]).save(path)
    assert len(ensemble_of(StoredEnergyModel.load(path)).nominal["Si"]) == 1

    def read(change: Callable[[dict], None]) -> Ensemble:
        content = json.loads(path.read_text())
        change(content)
        (tmp_path / "changed.json").write_text(json.dumps(content))
        return ensemble_of(StoredEnergyModel.load(tmp_path / "changed.json"))

    def other_half_energy(content):
        content["species"]["Si"]["defect_probability"]["half_energy_eV"] += 8

    def without_errors(content):
        other_half_energy(content)
        del content["uncertainty"]
        content["species"]["Si"] |= {"defect_probability_fit": None, "distribution_fit": None}

    def packed(content):
        return content["uncertainty"]["statistics"]["Si"]["half_energy_eV"]

    def more_than_the_shape_holds(content):
        packed(content)["packed"] = base64.b64encode(zlib.compress(bytes(10_000_000))).decode()

    with pytest.raises(RecordError, match=r"^Si: the model has other numbers than its errors"):
        read(other_half_energy)
    with pytest.raises(RecordError, match="other numbers than its errors"):  # those of the fit alone, too
        read(lambda content: (other_half_energy(content), content.pop("uncertainty")))
    with pytest.raises(RecordError, match=r"numbers of type '>f8'"):  # the same bytes as other numbers
        read(lambda content: packed(content).update(type=">f8"))
    with pytest.raises(RecordError, match="of an array of shape"):
        read(more_than_the_shape_holds)
    assert not read(without_errors).fit  # as the refusal advises


def test_bands_of_a_spectrum_after_subtraction_are_those_of_its_negative_turned_over(runs, tmp_path, capsys):
    # the correction is linear: of -s everything is the negative, what is lower becomes upper
    noise = np.random.default_rng(1).normal(0.3, 1.0, len(EDGES) - 1) * np.exp(-EDGES[1:] / 25.0)
    columns = []
    for name, rate in (("plus", noise), ("minus", -noise)):
        path = tmp_path / f"{name}.csv"
        write_spectrum(Spectrum(energy_edges_eV=EDGES, rate_per_kg_day_keV={"Si": rate}), path)
        assert main(["correct", str(runs["first"]), str(path), "--out", str(tmp_path / "o.csv")]) == 0
        columns.append(columns_of(tmp_path / "o.csv"))
    plus, minus = columns
    names = [name for name in plus if name.startswith("rate_lower_")]
    assert {"rate_lower_total", "rate_lower_statistics", "rate_lower_shape"} <= set(names)
    scale = np.abs(plus["rate"]).max()
    for name in names:
        assert plus[name] == pytest.approx(-minus[name.replace("lower", "upper")], abs=1e-9 * scale)
        assert np.all(plus[name] <= plus["rate"] + 1e-9 * scale)
    below = plus["rate"] < -0.01 * scale
    assert below.any()
    assert np.all(plus["rate_lower_total"][below] < plus["rate"][below])


def test_the_error_of_the_potential_is_the_distance_of_its_models(runs, recoil, tmp_path, capsys):
    # two populations whose stored energies differ by 3 eV: for exp(-E/25 eV) where every recoil stores energy a
    # shift by d changes the rate by the factor exp(-d/25 eV)
    out = tmp_path / "observed.csv"
    assert main(["correct", str(runs["first"]), str(runs["shifted"]), str(recoil), "--out", str(out)]) == 0
    assert "potential dominates" in capsys.readouterr().out
    columns = columns_of(out)
    where = (columns["energy_low_eV"] >= 70) & (columns["energy_high_eV"] <= 120)
    width = (columns["rate_upper_potential"] / columns["rate"] - 1)[where]
    # the law itself bends by 0.04 per eV, and two campaigns of 144 cascades know their means to 0.15 eV
    assert width == pytest.approx(1 - np.exp(-SHIFT_eV / 25.0), abs=0.03)
    # negative control: another campaign with the same potential differs by statistics alone
    assert main(["correct", str(runs["first"]), str(runs["again"]), str(recoil), "--out", str(out)]) == 0
    columns = columns_of(out)
    assert (columns["rate_upper_potential"] / columns["rate"] - 1)[where].mean() < 0.04


def test_an_input_may_name_the_runs_of_other_potentials(runs):
    from cascade_driver.config import AnalysisSpec

    analysis = AnalysisSpec(potential_runs=("../shifted",))
    table, model = fitted_run(RunDirectory(runs["first"]), analysis=analysis)
    made = run_ensemble(table, model, analysis=analysis, relative_to=runs["first"])
    (other,) = made.potentials.values()
    assert other["Si"].location_eV[0, 0] - model["Si"].distribution.location_eV[0] == pytest.approx(
        SHIFT_eV, abs=0.6
    )
    text = (runs["first"] / "input.toml").read_text()
    try:
        (runs["first"] / "input.toml").write_text(
            text.replace("[analysis]", '[analysis]\npotential_runs = ["../shifted"]')
        )
        assert list(ensemble_of(load_model(runs["first"])).potentials) == ["../shifted"]
    finally:
        (runs["first"] / "input.toml").write_text(text)
    with pytest.raises(InputError, match="no such model file or run directory"):
        run_ensemble(table, model, analysis=AnalysisSpec(potential_runs=("none",)), relative_to=runs["first"])


def test_the_band_of_a_bin_does_not_depend_on_where_the_spectrum_ends(runs):
    model = load_model(runs["first"])
    one, reach_eV = model["Si"], model["Si"].maximum_recoil_energy_eV
    location = (one.distribution.location_eV[0] + 20.0, *one.distribution.location_eV[1:])
    more = dataclasses.replace(one, distribution=dataclasses.replace(one.distribution, location_eV=location))
    errors = dataclasses.replace(ensemble_of(model), shapes={"more": {"Si": central_replica(more)}})
    model = dataclasses.replace(model, extrapolate=True, uncertainty=ensemble_content(errors))
    sides = []
    for end in (0.8, 1.0):
        top = round(end * reach_eV)
        source = cd.dark_matter("Si", mass_GeV=2, cross_section_cm2=1e-40, energy_eV=(1, top), bins=top - 1)
        total = cd.observe(source, model).bands.total
        at = round(0.8 * reach_eV) - 2
        sides.append([side[at] for side in (total.lower_per_kg_day_keV, total.upper_per_kg_day_keV)])
    assert sides[0] == pytest.approx(sides[1], rel=0.02)


def test_a_larger_box_is_an_error_of_the_protocol(runs, recoil, tmp_path):
    widths = {}
    for part, key in (("potential", "--potential-runs"), ("protocol", "--protocol-runs")):
        model = str(tmp_path / f"{part}.json")
        assert main(["fit", str(runs["first"]), key, "../shifted", "--out", model]) == 0
        assert main(["correct", model, str(recoil), "--out", str(tmp_path / f"{part}.csv")]) == 0
        columns = columns_of(tmp_path / f"{part}.csv")
        assert {name for name in columns if "potential" in name or "protocol" in name} == {
            f"rate_lower_{part}",
            f"rate_upper_{part}",
        }
        widths[part] = columns[f"rate_upper_{part}"]
    assert widths["protocol"] == pytest.approx(widths["potential"])


def test_a_model_file_brings_what_its_run_knows(runs, recoil, tmp_path, capsys):
    model = tmp_path / "model.json"
    assert main(["fit", str(runs["first"]), "--out", str(model)]) == 0
    assert main(["correct", str(model), str(recoil), "--out", str(tmp_path / "file.csv")]) == 0
    assert main(["correct", str(runs["first"]), str(recoil), "--out", str(tmp_path / "run.csv")]) == 0
    assert (tmp_path / "file.csv").read_text() == (tmp_path / "run.csv").read_text()
    capsys.readouterr()
    columns = columns_of(tmp_path / "file.csv")
    assert {"rate_lower_fit", "rate_lower_statistics", "rate_lower_shape"} <= columns.keys()
    # a file of an earlier version brings the covariance of its fits, and says that this is not all
    old = json.loads(model.read_text())
    for key in ("uncertainty", "crystal", "fallback_species", "extrapolate", "other_crystal"):
        old.pop(key, None)
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert main(["correct", str(tmp_path / "old.json"), str(recoil), "--out", str(tmp_path / "old.csv")]) == 0
    said = capsys.readouterr().err
    assert "other shapes are no part of the band" in said
    assert "does not say of which crystal it is" in said
    assert columns_of(tmp_path / "old.csv").keys() >= {"rate_lower_fit"}
    assert columns_of(tmp_path / "old.csv")["rate"] == pytest.approx(columns["rate"], rel=1e-12)
    # without the fits the same numbers are taken as they stand
    old["species"]["Si"] |= {"defect_probability_fit": None, "distribution_fit": None}
    (tmp_path / "bare.json").write_text(json.dumps(old))
    assert main(["correct", str(tmp_path / "bare.json"), str(recoil), "--out", str(tmp_path / "bare.csv")]) == 0
    said = capsys.readouterr()
    assert "Si: put in by hand, without error" in said.err
    assert "dominates" not in said.out
    columns = columns_of(tmp_path / "bare.csv")
    high = columns["rate"] > 1e-3 * columns["rate"].max()
    assert columns["rate_upper_total"][high] == pytest.approx(columns["rate"][high], rel=1e-5)


def test_two_runs_of_one_potential_are_told_where_another_potential_was_meant(runs, recoil, tmp_path, capsys):
    out = ["--out", str(tmp_path / "x.csv")]
    assert main(["correct", str(runs["first"]), str(runs["again"]), str(recoil), *out]) == 0
    said = capsys.readouterr().err
    assert said.count("are both of si-tersoff-zbl: their distance is no error of the potential") == 1
    assert "protocol_runs" in said
    # Negative control: a model that does not say its potential is another one for all that is known.
    content = json.loads(make_model(runs["again"], tmp_path).read_text())
    del content["provenance"]["potential_digest"]
    (tmp_path / "model.json").write_text(json.dumps(content))
    assert main(["correct", str(runs["first"]), str(tmp_path / "model.json"), str(recoil), *out]) == 0
    assert "are both of" not in capsys.readouterr().err


def test_damaged_errors_of_a_model_file_are_told(runs, recoil, tmp_path, capsys):
    content = json.loads(make_model(runs["first"], tmp_path).read_text())
    content["uncertainty"]["statistics"]["Si"]["kind"] = "Guesses"
    (tmp_path / "model.json").write_text(json.dumps(content))
    capsys.readouterr()
    assert main(["correct", str(tmp_path / "model.json"), str(recoil), "--out", str(tmp_path / "x.csv")]) == 2
    assert "the errors in the model file are damaged" in capsys.readouterr().err


def test_assumed_numbers_vary_and_printed_ones_do_not():
    drawn = assumption_replicas(n_replicas=40, rng=np.random.default_rng(1))
    for energy, mean in ((81.0, 7.5), (112.0, 8.9), (160.0, 11.0)):
        like = cawo4_published()["W"]
        means = [float(model_of_replica(drawn, i, like=like).distribution.mean_eV(energy)) for i in range(40)]
        assert means == pytest.approx([mean] * 40, rel=1e-6)
    assert np.log(drawn.half_energy_eV / CaWO4Assumptions().half_energy_eV).std() == pytest.approx(0.3, rel=0.4)
    with pytest.raises(InputError, match="expected above 0 and below 1"):
        assumption_replicas(relative_error=0.0, rng=np.random.default_rng(1))


def reactor(**changes) -> ReactorRequest:
    about = {"kind": "cevns", "target": "Ge", "power_GW": (4.25,), "distance_m": (72.0,)}
    return ReactorRequest(**{**about, "energy_eV": (10.0, 100.0), "bins": 30, **changes})


def test_a_spectrum_brings_the_errors_of_its_own_source():
    made = requested_spectrum(reactor())
    members = source_members_of(made)
    assert members is not None
    relative = members["Ge"].std(axis=0) / made.counts_per_kg_day["Ge"]
    assert np.all((relative > 0.01) & (relative < 0.0815))
    # in other bins the same source is known as well
    wider = rebin(made, made.energy_edges_eV[::3])
    assert is_as_requested(wider)
    assert source_members_of(wider) is not None
    # numbers that were changed are not those of their source any more
    twice = dataclasses.replace(made, rate_per_kg_day_keV={"Ge": 2 * made.rate_per_kg_day_keV["Ge"]})
    assert not is_as_requested(twice)
    assert source_members_of(dataclasses.replace(made, source=None)) is None


def test_intensities_of_capture_gammas_are_errors_of_the_source():
    from cascade_driver.sources.neutron_capture import capture_lines

    request = CaptureRequest(
        kind="capture", target="CaWO4", neutron_flux_cm2_s=100.0, energy_eV=(111.5, 112.9), bins=1
    )
    lines = requested_spectrum(request)
    members = source_members_of(lines, n_members=2000)
    assert members is not None
    (peak,) = [
        line
        for line in capture_lines(target="CaWO4", neutron_flux_cm2_s=100.0)
        if line.target == "W182" and line.final_level_keV == 0
    ]
    # nine tenths of this bin are the ground-state line of W182
    relative = members["W"].std() / lines.counts_per_kg_day["W"][0]
    assert relative == pytest.approx(peak.rate_error_per_kg_day / peak.rate_per_kg_day, rel=0.15)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_run_that_allows_no_fit_is_named_among_several(runs, recoil, tmp_path, monkeypatch, capsys, is_first):
    monkeypatch.chdir(tmp_path)
    finished_run(tmp_path / "short", energies=(50.0,))
    both = ["short", str(runs["first"])] if is_first else [str(runs["first"]), "short"]
    assert main(["correct", *both, str(recoil), "--out", "x.csv"]) != 0
    assert "short: Si: a single recoil energy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["RUN", "RUN", "s.csv"], "given twice as a model"),
        (["RUN", "nowhere", "s.csv"], "nowhere: no such model file or run directory"),
        (["RUN", "s.csv", "--sigma-81-eV", "2"], "assumptions are for published models only"),
        (["cawo4-published", "s.csv", "--assumption-error", "2"], "expected above 0 and below 1"),
        (["nothing", "s.csv"], "nothing: no such model file or run directory"),
    ],
)
def test_bad_requests_end_with_one_line(runs, recoil, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    given = [{"RUN": str(runs["first"]), "s.csv": str(recoil)}.get(word, word) for word in words]
    assert main(["correct", *given, "--out", "x.csv"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "x.csv").exists()


def test_recoils_of_one_direction_have_a_model_of_their_own(runs, recoil, tmp_path, capsys):
    model = tmp_path / "direction.json"
    words = ["fit", str(runs["first"]), "--direction", "1", "0", "0", "--angular-width-deg", "40"]
    assert main([*words, "--out", str(model)]) == 0
    said = json.loads(model.read_text())["provenance"]["direction"]
    assert said == "recoils within 40 degrees of (1, 0, 0)"
    words = ["correct", str(runs["first"]), str(recoil), "--direction", "1", "0", "0", "--angular-width-deg", "40"]
    assert main([*words, "--out", str(tmp_path / "tagged.csv")]) == 0
    assert main(["correct", str(runs["first"]), str(recoil), "--out", str(tmp_path / "all.csv")]) == 0
    capsys.readouterr()
    tagged, isotropic = (columns_of(tmp_path / f"{name}.csv") for name in ("tagged", "all"))
    # the law of this crystal knows no direction: the same within the errors, which are larger for fewer cascades
    width = {n: (c["rate_upper_statistics"] - c["rate_lower_statistics"])[10:60].sum()
             for n, c in (("tagged", tagged), ("all", isotropic))}  # fmt: skip
    assert width["tagged"] > width["all"]
    assert tagged["rate"][10:60] == pytest.approx(isotropic["rate"][10:60], rel=0.15)


@pytest.mark.parametrize("words", [["[1 0 0]"], ["[2", "0", "0]"], ["(100)"]])
def test_a_direction_of_the_crystal_is_that_of_the_box(runs, tmp_path, words):
    models = {}
    for name, direction in (("numbers", ["1", "0", "0"]), ("indices", words)):
        path = tmp_path / f"{name}.json"
        assert main(["fit", str(runs["first"]), "--direction", *direction, "--out", str(path)]) == 0
        models[name] = json.loads(path.read_text())
    assert models["indices"]["species"] == models["numbers"]["species"]
    said = models["indices"]["provenance"]["direction"]
    assert said == f"recoils within 15 degrees of {' '.join(words)} of the crystal"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["correct", "RUN", "s.csv", "--direction", "0", "0", "0"], "three numbers, not all zero"),
        (["correct", "RUN", "s.csv", "--direction", "nan", "0", "0"], "finite number"),
        (["correct", "RUN", "s.csv", "--direction", "1", "0", "0", "--angular-width-deg", "0"], "greater than 0"),
        (["correct", "cawo4-published", "s.csv", "--direction", "1", "0", "0"], "only the cascades of a run"),
        (["fit", "RUN", "--direction", "1", "0", "0"], "say where it goes with --out"),
        (
            ["correct", "RUN", "s.csv", "--direction", "north"],
            "expected three numbers, or indices as in '[1 -1 0]'",
        ),
        (
            ["correct", "RUN", "s.csv", "--direction", "1", "0"],
            "--direction 1 0: expected three numbers, or indices",
        ),
        (["correct", "RUN", "s.csv", "--direction", "[0 0 0]"], "three indices, not all zero"),
        (["correct", "RUN", "s.csv", "--direction", "(1 1)"], "three indices, not all zero"),
        (["fit", "--direction", "1", "0", "0", "RUN"], "and RUN or MODEL before it"),
    ],
)
def test_directions_that_are_none_end_with_one_line(runs, recoil, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    given = [{"RUN": str(runs["first"]), "s.csv": str(recoil)}.get(word, word) for word in words]
    assert main([*given, *([] if words[0] == "fit" else ["--out", "x.csv"])]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


HEAD = "energy_low_eV,energy_high_eV,rate_W\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("20,30,1\n10,20,1\n", ["line 3", "sort the lines"], id="unsorted"),
        pytest.param("10,20,1\n19,30,1\n", ["line 3", "overlaps", "expected bins that touch"], id="overlapping"),
        pytest.param("10,20,1\n21,30,1\n", ["line 3", "gap", "put a line with rate 0"], id="gap"),
        pytest.param("10,20,nan\n", ["line 2", "rate_W is nan", "correct it"], id="not finite"),
        pytest.param("10,20,inf\n", ["line 2", "rate_W is inf", "correct it"], id="infinite"),
        pytest.param("10,300,1\n", ["up to 300 eV wanted", "simulated up to 160", "--extrapolate"], id="range"),
        pytest.param("10,20,1,2\n", ["line 2", "found 4 cells, expected 3"], id="too many cells"),
    ],
)
def test_a_bad_spectrum_is_named_with_row_and_remedy_and_code_2(tmp_path, capsys, text, words):
    (tmp_path / "s.csv").write_text(HEAD + text)
    assert main(["correct", "cawo4-published", str(tmp_path / "s.csv"), "--out", str(tmp_path / "o.csv")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(word in said for word in words), said
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("energy_low_eV,energy_high_eV,rate_Wo", ["line 1", "'rate_Wo' is unknown", "Did you mean rate_W"]),
        (
            "energy_low,energy_high_eV,rate",
            ["line 1", "'energy_low' is unknown", "energy_low_eV or energy_low_keV"],
        ),
        ("energy_low_eV,energy_high_eV", ["line 1", "missing: rate"]),
        ("energy_low_eV,energy_high_eV,rate_lower_total", ["line 1", "missing: rate"]),
    ],
)
def test_wrong_columns_are_named_with_what_was_meant(tmp_path, capsys, header, words):
    (tmp_path / "s.csv").write_text(f"{header}\n" + ",".join("123"[: header.count(",") + 1]) + "\n")
    assert main(["correct", "cawo4-published", str(tmp_path / "s.csv"), "--out", str(tmp_path / "o.csv")]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said


def test_a_missing_species_is_named_with_its_remedy(runs, tmp_path, capsys):
    bare = json.loads((make_model(runs["first"], tmp_path)).read_text())
    bare["species"]["O"] = bare["species"]["Si"]
    bare |= {"crystal": ["SiWO3"], "uncertainty": {}}
    (tmp_path / "two.json").write_text(json.dumps(bare))
    (tmp_path / "s.csv").write_text("energy_low_eV,energy_high_eV,rate_W\n20,30,1\n")
    capsys.readouterr()
    assert main(["correct", str(tmp_path / "two.json"), str(tmp_path / "s.csv"), "--out", "o.csv"]) == 2
    said = capsys.readouterr().err
    assert "No response for W" in said
    assert "simulate cascades of the missing species" in said.lower()
    words = ["correct", str(tmp_path / "two.json"), str(tmp_path / "s.csv"), "--species", "Si"]
    assert main([*words, "--out", str(tmp_path / "o.csv")]) == 0


def make_model(run: Path, folder: Path) -> Path:
    assert main(["fit", str(run), "--out", str(folder / "model.json")]) == 0
    return folder / "model.json"


DAY = ["--mass-GeV", "2", "--cross-section-cm2", "1e-40", "--target", "Si", "--bins", "10", "--threshold-eV", "20"]
PLACE = ["--latitude-deg", "42.45", "--longitude-deg", "13.58", "--date", "2026-06-01", "--times", "3"]


def test_a_day_of_a_crystal_without_directions_is_even(runs, tmp_path, capsys):
    out = tmp_path / "day.csv"
    words = ["modulation", str(runs["first"]), *DAY, *PLACE, "--energy-eV", "0", "150"]
    assert main([*words, "--out", str(out)]) == 0
    assert "(noise: 1)" in capsys.readouterr().out
    rows = np.genfromtxt(out, delimiter=",", skip_header=1)[:, 1:]
    assert len(rows) == 3
    assert rows[:, 0] == pytest.approx(rows[0, 0], rel=0.1)
    assert rows[:, 1].mean() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--up", "0", "0", "0"], "not parallel"),
        (["--latitude-deg", "95"], "latitude 95"),
        (["--date", "tomorrow"], "date"),
        (["--threshold-eV", "500"], "no counts are observed above 500 eV"),
        (["--times", "0"], "not a whole number"),
    ],
)
def test_days_that_are_none_end_with_one_line(runs, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    given = ["modulation", str(runs["first"]), *DAY, *PLACE, "--energy-eV", "0", "150", "--out", "x.csv", *words]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "x.csv").exists()


def test_compare_tells_what_another_potential_does_to_a_spectrum(runs, recoil, capsys):
    found = {}
    for name in ("shifted", "again"):
        command = ["compare", str(runs["first"]), str(runs[name]), "--spectrum", str(recoil)]
        assert main([*command, "--json"]) == 0
        (found[name],) = json.loads(capsys.readouterr().out)["spectra"]
    assert main(command) == 0
    assert ", observed from " in capsys.readouterr().out
    assert found["shifted"]["p_value"] < 0.05 < found["again"]["p_value"]
    assert found["shifted"]["rms"] > found["again"]["rms"]
    assert len(found["again"]["ratio"]) == len(found["again"]["energy_edges_eV"]) - 1
    # Too few cascades for a model are a note, not the end.
    assert main(["compare", str(runs["first"]), str(runs["again"])]) == 0


def test_plan_and_correct_say_the_same_of_separated_data(tmp_path, capsys):
    run = finished_run(tmp_path / "run", energies=(10.0, 12.0, 90.0, 120.0))
    bins = "energy_eV = [5, 110]\nbins = 42\n"
    (run / "input.toml").write_text((run / "input.toml").read_text() + DM + bins)
    recoils, out = tmp_path / "dm.csv", tmp_path / "o.csv"
    asked = ["--target", "Si", "--mass-GeV", "2", "--cross-section-cm2", "1e-40", "--energy-eV", "5", "110"]
    assert main(["spectrum", "dm", *asked, "--bins", "42", "--out", str(recoils)]) == 0
    capsys.readouterr()
    assert main(["correct", str(run), str(recoils), "--out", str(out)]) == 0
    corrected = capsys.readouterr()
    assert main(["plan", str(run)]) == 0
    planned = capsys.readouterr().out
    (judged,) = (line.strip() for line in corrected.out.splitlines() if " dominates; " in line)
    assert "cascades of Si between 12 and 90 eV, where the defect probability is not known" in judged
    assert judged in (line.strip() for line in planned.splitlines())
    notes = [line for line in corrected.err.splitlines() if "the data are separated" in line]
    assert len(notes) == 1
    assert set(notes) <= {line.strip() for line in planned.splitlines()}


def test_data_that_are_not_separated_have_the_usual_remedy_in_both(runs, recoil, tmp_path, capsys):
    assert main(["correct", str(runs["first"]), str(recoil), "--out", str(tmp_path / "o.csv")]) == 0
    said = capsys.readouterr()
    assert " dominates; what helps is " in said.out
    assert "separated" not in said.out + said.err


def test_an_exported_response_tells_on_the_terminal_where_it_is_extrapolated(runs, tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "response.npz"
    shutil.copytree(runs["first"], run)
    words = ["export", str(run), "--response", str(out), "--bin-eV", "10"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}: Si, 14 bins from 20 to 160 eV\n"
    (tail,) = said.err.splitlines()  # the law that the cascades store by is 0.076 at 30 eV
    assert tail.startswith("note: Si: none of the ")
    assert "goes on as a tail" in tail
    assert json.loads(str(np.load(out)["about"]))["simulated_eV"] == {"Si": [20.0, 160.0]}
    out.unlink()
    assert main([*words, "--energy-eV", "20", "200"]) == 2
    assert "recoil energies up to 200 eV wanted, simulated up to 160 eV" in capsys.readouterr().err
    assert not out.exists()
    path = run / "input.toml"
    path.write_text(path.read_text().replace("[analysis]\n", "[analysis]\nextrapolate = true\n"))
    assert main([*words, "--energy-eV", "20", "200"]) == 0
    said = capsys.readouterr()
    note = "Si: extrapolated from 160 eV, the highest simulated energy, to 200 eV"
    assert said.err.splitlines() == [f"note: {note}", tail]
    assert said.out == f"{out}: Si, 18 bins from 20 to 200 eV\n"
    about = json.loads(str(np.load(out)["about"]))
    assert about["notes"].count(note) == 1
