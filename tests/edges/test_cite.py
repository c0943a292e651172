"""What a result rests on is named, from one table whose numbers stand with their DOI where they are used."""

import re
from pathlib import Path
from typing import get_args

import pytest

import cascade_driver
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.cite import Reference, cite_run, references, uses
from cascade_driver.cli import main
from cascade_driver.request import CaptureRequest, DarkMatterRequest, ReactorRequest, SolarRequest
from cascade_driver.schema import build
from cascade_driver.session import run
from cascade_driver.simulation.potential import load_potential, shipped_potentials

PACKAGE = Path(cascade_driver.__file__).parent
DOI = re.compile(r"10\.\d{4,}/[^\s,;:\"`]+[^\s,;:\"`).]")

DM = {"mass_GeV": 2.0, "cross_section_cm2": 1e-40}
REACTOR = {"power_GW": [4.0], "distance_m": [70.0]}
CAPTURE = {"neutron_flux_cm2_s": 100.0}


def request(kind, **more):
    content = {"target": "CaWO4", "energy_eV": [1, 100], "bins": 9, **more}
    return build(kind, content, origin="test")


def cited(made):
    used = set(uses(made))
    return {key for key, reference in references().items() if used & set(reference.used_for)}


def test_every_reference_stands_beside_its_numbers():
    texts = [p.read_text() for p in PACKAGE.rglob("*.py") if p.name != "cite.py"]
    texts += [load_potential(name).about.origin for name in shipped_potentials()]
    said = "\n".join(texts)
    programs = {"lammps", "ase", "spglib", "numpy", "scipy", "iminuit", "kuehne2020", "thompson2015"}
    for key, reference in references().items():
        assert key in programs or not reference.doi or reference.doi in said, key


@pytest.mark.parametrize("module", ["solar", "reactor"])
def test_every_source_of_a_flux_stands_in_the_table(module):
    """Those that only serve for comparison say so where they stand."""
    text = (PACKAGE / "sources" / f"{module}.py").read_text()
    compared = {"10.1134/1.1811196", "10.1016/j.nds.2018.02.001", "10.1016/j.physletb.2016.11.028"}
    compared |= {"10.1103/PhysRevD.83.073006"}
    known = {reference.doi for reference in references().values()}
    found = set(DOI.findall(text))
    assert len(found) > 3
    assert found - compared - {""} <= known


@pytest.mark.parametrize("name", shipped_potentials())
def test_every_potential_is_cited_by_what_it_names(name):
    origin = load_potential(name).about.origin
    known = {reference.doi for reference in references().values()}
    assert set(DOI.findall(origin)) <= known
    assert DOI.search(origin)


@pytest.mark.parametrize(
    ("made", "wanted", "unwanted"),
    [
        (request(DarkMatterRequest, **DM), {"baxter2021", "lewin1996"}, {"klos2013", "huber2011"}),
        (request(DarkMatterRequest, **DM, coupling="proton_spin"), {"klos2013"}, {"freedman1974"}),
        (
            request(ReactorRequest, **REACTOR),
            {"huber2011", "mueller2011", "kopeikin2012", "freedman1974"},
            {"vinyoles2017", "vogel1989"},
        ),
        (request(ReactorRequest, **REACTOR, low_energy_flux="vogel_engel"), {"vogel1989"}, {"kopeikin2012"}),
        (request(SolarRequest), {"vinyoles2017", "winter2006"}, {"huber2011", "dayabay2021"}),
        (request(CaptureRequest, **CAPTURE), {"egaf2003", "kopecky1990"}, {"baxter2021"}),
        (request(CaptureRequest, **CAPTURE, unresolved="left_out"), {"egaf2003"}, {"kopecky1990"}),
    ],
)
def test_a_spectrum_is_cited_by_what_it_is_made_of(made, wanted, unwanted):
    found = cited(made)
    assert wanted <= found
    assert not unwanted & found


def test_every_way_to_make_a_spectrum_is_a_word_of_the_table():
    words = {word for reference in references().values() for word in reference.used_for}
    fluxes = get_args(ReactorRequest.__annotations__["low_energy_flux"]) or ("kopeikin", "vogel_engel")
    for flux in set(fluxes) - {"flat", "extrapolate"}:
        assert f"reactor-{flux}" in words
    assert {"dm", "cevns", "capture", "reactor", "solar", "published", "film", "tls"} <= words


INPUT = """
[crystal]
name = "Si"
minimum_atoms = 300
[potential]
name = "si-tersoff-zbl"
[thermal]
equilibration_ps = 0.05
[follow]
duration_ps = 0.02
[[recoils]]
species = "Si"
recoil_energies_eV = [12]
snapshots = 1
directions = { count = 1 }
[analysis]
extrapolate = true
[[spectra]]
kind = "dm"
target = "Si"
mass_GeV = 2
cross_section_cm2 = 1e-40
energy_eV = [1, 12]
bins = 11
"""


def test_a_run_names_what_it_rests_on(tmp_path, capsys):
    (tmp_path / "input.toml").write_text(INPUT)
    run(tmp_path / "input.toml", out=tmp_path / "RUN", workers=1)
    assert main(["cite", str(tmp_path / "RUN")]) == 0
    said = capsys.readouterr().out
    assert "1 cascades by cascade_driver" in said
    for wanted in (
        "LAMMPS 20",
        "si-tersoff-zbl (",
        "10.1103/PhysRevB.38.9902",
        "10.1016/j.cpc.2021.108171",
        "Baxter",
    ):
        assert wanted in said
    for unwanted in ("Jelinek", "Huber", "Firestone"):
        assert unwanted not in said
    assert main(["cite", str(tmp_path / "RUN"), "--bibtex"]) == 0
    entries = capsys.readouterr().out
    assert set(re.findall(r"@\w+\{([^,]+),", entries)) == {
        "cascade_driver",
        "potential-si-tersoff-zbl",
        *cite_run(RunDirectory(tmp_path / "RUN")).references,
    }
    assert "cascade\\_driver" in entries


def test_without_a_run_all_is_named(capsys):
    assert main(["cite"]) == 0
    said = capsys.readouterr().out
    assert all(reference.text in said for reference in references().values())
    assert main(["cite", "/nowhere"]) == 2


def test_bibtex_is_what_a_reader_of_bibtex_reads():
    entry = Reference(used_for=(), what="", author="A. B{\\'e}b and others", title="50 % of A & B_2", year=1999)
    made = entry.bibtex("key")
    assert made.startswith("@misc{key,\n")
    assert "title = {50 \\% of A \\& B\\_2}," in made
    assert made.count("{") == made.count("}")


def test_the_citation_file_has_what_the_format_wants():
    text = (PACKAGE / "CITATION.cff").read_text()
    assert {"cff-version", "message", "title", "authors"} <= set(re.findall(r"^([\w-]+):", text, re.MULTILINE))


def test_printed_values_are_cited_by_their_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["cite", "cawo4-published"]) == 0
    said = capsys.readouterr().out
    assert "Soum-Sidikov" in said
    assert "LAMMPS" not in said


@pytest.mark.parametrize("verb", ["status", "plan", "report", "ls"])
def test_a_name_of_printed_values_is_no_run_and_that_is_said(verb, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([verb, "cawo4-published"]) == 2
    assert "is a model that comes with the package, and no run" in capsys.readouterr().err
    # A folder of that name is one.
    (tmp_path / "cawo4-published").mkdir()
    assert main([verb, "cawo4-published"]) == 2
    assert "printed values" not in capsys.readouterr().err
