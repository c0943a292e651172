"""Recoils from files of binary-collision programs; lines as those programs write them."""

import pytest

from cascade_driver.errors import InputError
from cascade_driver.sources.collision_files import read_collisions

BAR = "\xb3"

#: Layout as trimRunner (github.com/NSF-GCR-MDDM/trimRunner, 3e802a69) and pysrim read it.
SRIM = f"""
================================================================
 Ion  Energy  Depth  Lateral Distance (A)  Se  Atom  Recoil
{BAR}00001{BAR}1.0000E+01{BAR} 3.10E+00{BAR} 1.0E-01{BAR}-2.0E-01{BAR} 12.30{BAR} Si {BAR}6.100E+01{BAR} <== Start
 Recoil Atom Energy(eV)   X (A)      Y (A)      Z (A)   Vac Repl Ion
\xdb 00001 14 6.1E+01 3.1E+00 1.0E-01 -2.0E-01 1 00 \xdb <== Prime Recoil
{BAR}00001{BAR} 14 {BAR}2.5E+01{BAR}1{BAR}1{BAR}1{BAR} Si {BAR}2.5E+01{BAR}
 Summary of Above Cascade
{BAR}00002{BAR}9.5000E+00{BAR} 4.10E+00{BAR} 1.0E-01{BAR}-2.0E-01{BAR} 12.30{BAR} O  {BAR}1.550E+01{BAR} <== Start
"""

#: `src/output.rs` of RustBCA: m, Z, E at the origin, origin, end.
RUSTBCA = "28.0855,14,61.5,3.1,0.1,-0.2,8.0,1.0,0.3\n15.999,8,15.25,4.1,0.1,-0.2,5.0,1.0,0.3\n"


def written(tmp_path, text):
    path = tmp_path / "collisions"
    path.write_text(text, encoding="latin-1")
    return path


def test_recoils_of_the_ion_are_read_and_those_of_its_cascades_left_out(tmp_path):
    found = read_collisions(written(tmp_path, SRIM), program="srim")
    assert found.species.tolist() == ["Si", "O"]
    assert found.recoil_energy_eV.tolist() == [61.0, 15.5]


def test_isotopes_have_the_masses_of_their_elements(tmp_path):
    isotopes = "2.014,1,5,0,0,0,1,1,1\n6.015,3,5,0,0,0,1,1,1\n3.016,2,5,0,0,0,1,1,1\n3.016,1,5,0,0,0,1,1,1\n"
    found = read_collisions(written(tmp_path, isotopes), program="rustbca")
    assert found.species.tolist() == ["H", "Li", "He", "H"]


def test_displacements_of_rustbca_are_read(tmp_path):
    found = read_collisions(written(tmp_path, RUSTBCA), program="rustbca")
    assert found.species.tolist() == ["Si", "O"]
    assert found.recoil_energy_eV.tolist() == [61.5, 15.25]


@pytest.mark.parametrize(
    ("program", "text", "complaint"),
    [
        ("srim", "nothing of it\n", "no collision in it"),
        ("srim", SRIM.replace("6.100E+01", "abc"), "line 4: 'abc' is no recoil energy"),
        ("srim", SRIM.replace(" O  ", " Qq "), "'Qq' is no element"),
        ("rustbca", RUSTBCA + "1,2,3\n", "line 3: 3 values, expected 9"),
        ("rustbca", RUSTBCA.replace("15.25", "-1"), "no recoil energy"),
        ("rustbca", RUSTBCA.replace(",8,", ",8.5,"), "no atomic number"),
        ("rustbca", RUSTBCA.replace(",8,", ",inf,"), "no atomic number"),
        ("rustbca", RUSTBCA.replace(",8,", ",nan,"), "no atomic number"),
        ("srim", SRIM.rpartition("50E+01")[0], "line 9: ends within a collision"),
        ("srim", SRIM.rpartition(f"{BAR} O")[0], "line 9: ends within a collision"),
        ("srim", SRIM.partition(" Summary")[0], "ends within the cascade of a collision"),
        ("srim", SRIM.replace("6.100E+01", "6,100E+01"), "with a decimal point"),
        ("rustbca", RUSTBCA.replace("28.0855", "4.66e-26"), "the units of the input of RustBCA"),
        ("rustbca", RUSTBCA.replace("15.999,8", "15.999,14"), "a mass of 15.999 for Si"),
        ("rustbca", RUSTBCA.rpartition("0.3")[0], "'' is no coordinate"),
        ("rustbca", RUSTBCA.replace("4.1,", "abc,"), "'abc' is no coordinate"),
    ],
)
def test_what_the_programs_do_not_write_is_refused_in_one_line(tmp_path, program, text, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        read_collisions(written(tmp_path, text), program=program)
    assert "\n" not in str(caught.value)
