"""Validations are pages: what is kept of a shipped one makes its page again."""

import json
from pathlib import Path

import pytest

from cascade_driver.errors import InputError
from cascade_driver.simulation.potential import load_potential, shipped_potentials
from cascade_driver.training.validate import LEARNING, SECTIONS, Section, read_section
from cascade_driver.validation_report import write_validation


def kept(folder: Path) -> dict[str, Section]:
    """Return the sections of a validation, in the order of a page."""
    return {
        name: read_section(folder / f"{name}.json")
        for name in (*SECTIONS, LEARNING)
        if (folder / f"{name}.json").is_file()
    }


VALIDATED = [name for name in shipped_potentials() if kept(load_potential(name).folder / "validation")]


@pytest.mark.skipif(not VALIDATED, reason="the sections are in a checkout, not in the wheel")
@pytest.mark.parametrize("name", VALIDATED)
def test_the_sections_of_a_shipped_validation_make_its_page_again_with_all_figures(name, tmp_path):
    potential = load_potential(name)
    folder = potential.folder / "validation"
    written = write_validation(potential, kept(folder), tmp_path)
    assert (tmp_path / "report.md").read_text() == (folder / "report.md").read_text()
    assert {path.name for path in written} == {"report.md", *(p.name for p in folder.glob("*.p[dn][fg]"))}


def test_a_damaged_curve_is_one_line_that_names_its_place(tmp_path):
    potential = load_potential("si-tersoff-zbl")
    curves = {"distance_A": [0.1, 0.2], "pairs": {"Si-Si": {"energy_eV": [1.0, "x"], "zbl_eV": [1.0, 2.0]}}}
    section = tmp_path / "pair curves.json"
    section.write_text(json.dumps({"measures": [], "curves": curves, "remark": ""}))
    with pytest.raises(InputError, match=r"^curves of the section pair curves: `pairs\.energy_eV\[2\]`"):
        write_validation(potential, {"pair curves": read_section(section)}, tmp_path)
    assert not (tmp_path / "report.md").exists()
