"""The report in a real browser: it fits on a screen and on a phone, and its script does what it should."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from campaigns import simulate

from cascade_driver.analysis.model import fit_stored_energy_model
from cascade_driver.campaign.scene import Scene
from cascade_driver.report import ReportContent, write_report
from cascade_driver.simulation.defects import ListedDefect
from cascade_driver.simulation.record import Track
from cascade_driver.spectra.observe import Observed
from cascade_driver.spectrum import Spectrum

pytestmark = pytest.mark.browser


def scene() -> Scene:
    """Three atoms on a line: the knock-on goes to the place of the second, which makes way."""
    track = Track(time_ps=(0.0, 0.1), position_A=((0.0, 0.0, 0.0), (3.0, 0.0, 0.0)), kinetic_energy_eV=(81.0, 0.0))
    knock_on = SimpleNamespace(species="W", recoil_energy_eV=81.0, direction=(1.0, 0.0, 0.0))
    record = SimpleNamespace(
        id="0123456789abcdef",
        spec=SimpleNamespace(knock_on=knock_on),
        stored_energy_eV=9.0,
        physics=SimpleNamespace(pka=SimpleNamespace(index=0, track=track)),
    )
    start = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [6.0, 0.0, 0.0]])
    return Scene(
        record=record,  # type: ignore[arg-type]
        symbols=np.array(["W", "O", "Ca"]),
        start_A=start,
        end_A=start + np.array([[3.0, 0, 0], [1.5, 1.0, 0], [0, 0, 0]]),
        track_A=np.array(track.position_A),
        origin_A=np.zeros(3),
        period_A=np.full(3, 20.0),
        defects=(ListedDefect(kind="vacancy", species="W", position_A=(0.0, 0.0, 0.0), cluster=1),),
        pocket=None,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = simulate(np.random.default_rng(1), n_directions=12, n_snapshots=3)
    edges = np.arange(10.0, 161.0, 10.0)
    rate = 100 * np.exp(-edges[1:] / 20)

    def spectrum(rate: Any, kind: Any) -> Spectrum:
        return Spectrum(energy_edges_eV=edges, rate_per_kg_day_keV={"W": rate}, energy_kind=kind)

    pair = Observed(
        name="1-dm",
        title="dark matter with a title that is long enough for several lines of a phone, 2 GeV on CaWO4",
        expected=spectrum(rate, "recoil"),
        observed=spectrum(rate * np.linspace(1.2, 0.8, len(rate)), "observed"),
        complete_eV=(10.0, 135.0),
        notes=("a note of " + "many words " * 20, "x" * 200),
    )
    content = ReportContent(
        title="Tungsten recoils in a browser",
        table=table,
        facts={"a long fact": "Y" * 300},
        potential_name="cawo4-pbe-spline",
        potential_digest="f" * 64,
        planned={("W", float(e)): 36 for e in np.unique(table.recoil_energy_eV)},
        model=fit_stored_energy_model(table, n_bootstrap=0),
        pairs=[pair],
        files={"figures/" + "z" * 120 + ".png": "a figure"},
        command="cascade run input.toml --out " + "A" * 150,
        defects={"vacancies": np.where(table.stores_energy, 2.0, 0.0)},
        scenes=[scene()],
        citation=("doi:10.1000/" + "q" * 150,),
    )
    return write_report(tmp_path_factory.mktemp("report"), content)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")
    from selenium.webdriver.chrome.service import Service

    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("needs Chromium and its driver: .ci/system-packages browser")
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def opened(browser: Any, page: Path, *, width: int, height: int, dark: bool = False) -> Any:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page.as_uri())
    return browser


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_nothing_stands_beyond_the_edge_of_the_screen_and_nothing_is_complained_of(chromium, page, width, height):
    shown = opened(chromium, page, width=width, height=height)
    assert shown.execute_script("return document.documentElement.scrollWidth") <= width
    assert shown.execute_script("return document.body.innerText").startswith("Tungsten recoils in a browser")
    assert shown.get_log("browser") == []
    assert shown.execute_script("return document.querySelector('td.title').offsetWidth") >= 150
    fetched = shown.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert all(name.startswith("data:") for name in fetched)


def test_the_first_screen_has_the_answer_its_figure_and_the_remarks(chromium, page):
    shown = opened(chromium, page, width=1280, height=900)
    for what in (".said", ".attention", "#spectra img", ".light"):
        box = shown.execute_script(
            "const r = document.querySelector(arguments[0]).getBoundingClientRect(); return [r.top, r.bottom]",
            what,
        )
        assert 0 <= box[0] < box[1] <= 900, what


def test_a_click_sorts_a_table_and_another_one_turns_it_round(chromium, page):
    shown = opened(chromium, page, width=1280, height=900)
    column = "return [...document.querySelectorAll('#cascades table.sortable tbody tr')].map(r => +r.cells[1].innerText)"  # noqa: E501
    energies = shown.execute_script(column)
    assert len(energies) == 6
    press = "document.querySelectorAll('#cascades table.sortable th button')[1].click()"
    shown.execute_script(press)
    assert shown.execute_script(column) == sorted(energies)
    shown.execute_script(press)
    assert shown.execute_script(column) == sorted(energies, reverse=True)


def test_a_figure_grows_when_it_is_clicked_and_goes_away_again(chromium, page):
    shown = opened(chromium, page, width=1280, height=900)
    width = "return document.querySelector(arguments[0]).getBoundingClientRect().width"
    small = shown.execute_script(width, "#spectra img")
    shown.execute_script("document.querySelector('#spectra img').click()")
    assert shown.execute_script("return document.querySelector('dialog').open")
    assert shown.execute_script(width, "dialog img") > 1.3 * small
    shown.execute_script("document.querySelector('dialog').click()")
    assert not shown.execute_script("return document.querySelector('dialog').open")


def test_a_cascade_is_drawn_turns_when_it_is_dragged_and_goes_back_to_its_start(chromium, page):
    shown = opened(chromium, page, width=1280, height=900)
    picture = "return document.querySelector('canvas').toDataURL()"
    ink = (  # share of the pixels that are drawn
        "const c = document.querySelector('canvas');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n / (c.width * c.height)"
    )
    assert 0.005 < shown.execute_script(ink) < 0.9
    first = shown.execute_script(picture)
    shown.execute_script(
        """const c = document.querySelector('canvas');
        c.setPointerCapture = () => {};
        const event = (kind, x, y) => c.dispatchEvent(
            new PointerEvent(kind, {pointerId: 1, clientX: x, clientY: y, bubbles: true}));
        event('pointerdown', 100, 100); event('pointermove', 160, 130); event('pointerup', 160, 130);"""
    )
    turned = shown.execute_script(picture)
    assert turned != first
    shown.execute_script(
        "const s = document.querySelector('.scene input'); s.value = 0; s.dispatchEvent(new Event('input'))"
    )
    assert shown.execute_script(picture) not in {first, turned}
    assert shown.get_log("browser") == []


def test_by_night_the_page_is_dark_and_its_text_light(chromium, page):
    light = "return getComputedStyle(document.body)[arguments[0]].match(/\\d+/g).slice(0, 3).map(Number)"
    for dark in (False, True):
        shown = opened(chromium, page, width=1280, height=900, dark=dark)
        ink, paper = (np.mean(shown.execute_script(light, name)) for name in ("color", "backgroundColor"))
        assert (ink > 200, paper < 60) == (dark, dark)


def test_on_paper_there_is_no_navigation_the_letters_are_those_of_print_and_all_fits(chromium, page):
    sheet_px = round(180 / 25.4 * 96)  # A4 within its margins
    shown = opened(chromium, page, width=sheet_px, height=1000)
    shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert shown.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    beyond = "return [...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > arguments[0] + 1).map(e => e.outerHTML.slice(0, 90))"  # noqa: E501
    assert shown.execute_script(beyond, sheet_px) == []
    size = "return [...document.querySelectorAll(arguments[0])].map(e => parseFloat(getComputedStyle(e).fontSize))"
    for text in (".said", ".attention", "figcaption", "td", "p"):
        sizes_pt = np.array(shown.execute_script(size, text)) * 0.75
        assert 7 < sizes_pt.min() <= sizes_pt.max() < 11, text
    shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_tables_fit_the_paper_and_what_is_for_a_hand_is_not_printed(chromium, page):
    shown = opened(chromium, page, width=680, height=962)  # A4 without its margins
    acts = "return getComputedStyle(document.querySelector('.by-hand')).display"
    assert shown.execute_script(acts) != "none"
    shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert shown.execute_script(acts) == "none"
        right = "return [...document.querySelectorAll('table')].map(t => t.getBoundingClientRect().right)"
        assert max(shown.execute_script(right)) <= 680
    finally:
        shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
