"""A potential from anybody is data: what its include may say, and what never reaches LAMMPS."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from cascade_driver.errors import CascadeError, PotentialError
from cascade_driver.schema import file_sha256
from cascade_driver.simulation.include import COMMANDS, DISTRIBUTION, FOLDER, arithmetic, understood
from cascade_driver.simulation.lammps_build import new_instance
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import distribution_folder, load_potential

SOUND = "pair_style lj/cut 5.0\npair_coeff * * 0.01 2.5\n"


def read(folder: Path, text: str, *, files: tuple[str, ...] = ()) -> tuple[str, ...]:
    path = folder / "potential.lmp"
    path.write_text(text)
    own, distribution = ("potential.lmp", *files), ("NiAlH_jea.eam.alloy",)
    return understood(path.name, folder=folder, files=own, distribution_files=distribution)


@pytest.mark.parametrize(
    "line",
    [
        "shell touch {out}",
        "SHELL touch {out}",
        'print "x" file {out}',
        "print 'x' append {out}",
        "log {out}",
        "write_data {out}",
        "write_restart {out}",
        "write_dump all atom {out}",
        "dump d all atom 1 {out}",
        "pair_write 1 1 10 r 1 2 {out} key",
        "restart 1 {out}",
        "python f source here 'open(1)'",
        "plugin load {out}",
        "jump SELF",
        "label x",
        "next x",
        "quit",
        "if '1 > 0' then 'shell touch {out}'",
        "clear",
        "run 1",
        "fix f all nve",
        "read_data {out}",
        "units lj",
        "${{c}} touch {out}",
        "'shell' touch {out}",
        '"""shell""" touch {out}',
        "she&\nll touch {out}",
        "pair_coeff * * 0.01 2.5 # a comment\nshell touch {out}",
        "2",
    ],
)
def test_a_potential_says_only_what_it_may(tmp_path, line):
    text = SOUND + line.format(out=tmp_path / "written") + "\n"
    with pytest.raises(PotentialError, match=r"potential\.lmp:\d: `.*` may not stand in a potential; allowed are"):
        read(tmp_path, "variable c index shell\n" + text)
    # The command is named at its line.
    with pytest.raises(PotentialError, match=":5: " if "# a comment" in line else ":4: "):
        read(tmp_path, "variable c index shell\n" + text)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("include /etc/passwd", "names no file of"),
        ("include ../potential.lmp", "names no file of"),
        ("include ${potential_dir}/../potential.lmp", "names no file of"),
        ("include", "names no file of"),
        ("include potential.lmp", "does it include itself"),
        ("variable x getenv HOME", "styles index, string, equal"),
        ("variable x file /etc/passwd", "styles index, string, equal"),
        ("variable x python f", "styles index, string, equal"),
        ("variable x atom mass", "styles index, string, equal"),
        ("variable x equal is_os(Linux)", "no formula"),
        ("variable x equal __import__('os').system('true')", "characters|no formula|quotation"),
        ("variable x equal 9**9", "no formula"),
        ("variable x equal 1/0", "no formula"),
        ("variable x index", "with a value"),
        ("pair_coeff * * /etc/passwd Al", "no file of the potential"),
        ("pair_coeff * * ../x.eam Al", "no file of the potential"),
        ("pair_coeff * * ~/x.eam Al", "no file of the potential"),
        ("pair_coeff * * ${potential_dir}/../x.eam Al", "no file of the potential"),
        ("pair_coeff * * NiAlH_jea.eam.allo Al", "no file of the potential"),
        ("pair_coeff * * undeclared Al", "no file of the potential"),
        ("pair_coeff * * $(shell) Al", "characters"),
        ("pair_coeff * * ${nobody} Al", "`nobody` is not defined"),
        ("pair_coeff * * 'a b' Al", "characters"),
        ("pair_coeff * * `id` Al", "characters"),
        ("pair_coeff * * Läufe Al", "characters"),
        ("pair_coeff * * 'open Al", "not closed"),
        ("pair_coeff * * a'b' Al", "within a word"),
        ("pair_style python 5.0", "runs what its files hold"),
        ("pair_style hybrid/overlay lj/cut 5.0 python 5.0", "runs what its files hold"),
        ("variable p string python\npair_style ${p} 5.0", "runs what its files hold"),
        ("pair_style mliap unified x.pkl", "runs what its files hold"),
        ("variable a string b\nvariable a string c", "defined twice"),
    ],
)
def test_what_else_a_potential_may_not_is_said_in_one_line(tmp_path, line, complaint):
    (tmp_path / "undeclared").write_text("")
    with pytest.raises(PotentialError, match=complaint) as told:
        read(tmp_path, SOUND + line + "\n")
    assert "\n" not in str(told.value)
    assert re.search(r"potential\.lmp(:\d+)?: ", str(told.value))


def test_negative_control_lammps_itself_obeys_such_a_line(tmp_path):
    include = tmp_path / "include.lmp"
    include.write_text(f"shell touch {tmp_path}/written\n")
    lmp = new_instance()
    lmp.command(f"include {include}")
    lmp.close()
    assert (tmp_path / "written").exists()


def test_an_include_is_read_as_lammps_reads_it(tmp_path):
    (tmp_path / "coefficients.eam").write_text("")
    (tmp_path / "more.lmp").write_text("pair_modify shift yes # and no more\n")
    found = read(
        tmp_path,
        """# a comment
variable potential_dir index .
variable c index eam/alloy other
variable r equal 2*(3.5-1)+v_small
variable r index 99
pair_style hybrid/overlay ${c} &
    lj/cut $r
pair_coeff * * ${c} "NiAlH_jea.eam.alloy" Al # quoted
pair_coeff\t* * lj/cut 0 '2.5'
pair_coeff 1 1 eam ${potential_dir}/coefficients.eam coefficients.eam
include ${potential_dir}/more.lmp
include more.lmp
""".replace("variable r equal", "variable small string 0.5\nvariable r equal"),
        files=("coefficients.eam", "more.lmp"),
    )
    assert found == (
        "pair_style hybrid/overlay eam/alloy lj/cut 5.5",
        f"pair_coeff * * eam/alloy {DISTRIBUTION}/NiAlH_jea.eam.alloy Al",
        "pair_coeff * * lj/cut 0 2.5",
        f"pair_coeff 1 1 eam {FOLDER}/coefficients.eam {FOLDER}/coefficients.eam",
        "pair_modify shift yes",
        "pair_modify shift yes",
    )


LAMMPS_OWN = sorted(p.name for p in distribution_folder().glob("*.snap"))


@pytest.mark.parametrize("name", LAMMPS_OWN)
def test_the_includes_that_come_with_lammps_are_understood(name):
    folder = distribution_folder()
    found = understood(name, folder=folder, files=(), distribution_files=[p.name for p in folder.iterdir()])
    assert found[0].startswith("pair_style")
    named = [
        word.removeprefix(f"{DISTRIBUTION}/") for line in found for word in line.split() if DISTRIBUTION in word
    ]
    assert named
    assert all((folder / file).is_file() for file in named)


@given(st.text(alphabet=st.sampled_from("pair_style coeff shell$&#{}()'\"\\\n\t */.0123ä;|`\0"), max_size=60))
def test_whatever_an_include_holds_lammps_gets_plain_allowed_commands(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    try:
        found = read(folder, SOUND + text)
    except CascadeError:
        return
    for line in found:
        words = line.replace(FOLDER, "").replace(DISTRIBUTION, "").split(" ")
        assert words[0] in COMMANDS
        assert words[0] not in {"include", "variable"}
        assert not set("".join(words)) & set("$&#'\"`\n\t\\ ")


def test_arithmetic_is_that_of_numbers():
    assert arithmetic("-(2+3)*v_a/4", {"a": "8"}, place="") == -10.0
    assert arithmetic("sqrt(2)*sqrt(2)", {}, place="") == pytest.approx(2, rel=1e-15)
    assert arithmetic("ln(exp(1.5))+log(100)", {}, place="") == pytest.approx(3.5, rel=1e-15)


@pytest.mark.parametrize(
    "name", ["../outside.eam", "/etc/passwd", "a\\b", "sub/../../x", "", "na me", "Läufe.eam"]
)
def test_files_of_a_potential_lie_in_its_folder(tmp_path, name):
    folder = tmp_path / "mine"
    shutil.copytree(load_potential("al-eam-zbl").folder, folder)
    about = folder / "potential.toml"
    escaped = name.replace("\\", "\\\\")
    about.write_text(about.read_text().replace("[files]\n", f'[files]\n"{escaped}" = "{"0" * 64}"\n'))
    with pytest.raises(CascadeError, match="is no name of a file of the folder"):
        load_potential(folder)


def test_an_include_in_a_folder_of_the_folder_names_files_of_the_whole(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "potential.lmp").write_text("pair_style eam\npair_coeff 1 1 ${potential_dir}/a.eam\n")
    wanted = ("pair_style eam", f"pair_coeff 1 1 {FOLDER}/a.eam")
    files = ("sub/potential.lmp", "a.eam")
    assert understood(files[0], folder=tmp_path, files=files, distribution_files=()) == wanted


def energy_eV(potential) -> float:
    engine = LammpsEngine(potential=potential)
    atoms = bulk("Al", "fcc", a=4.05, cubic=True) * (3, 3, 3)
    atoms.rattle(0.1, seed=1)
    engine.build(atoms)
    found = engine.potential_energy_eV()
    engine.close()
    return found


def test_a_file_in_the_current_directory_takes_no_place_of_a_coefficient_file(tmp_path, monkeypatch):
    potential = load_potential("al-eam-zbl")
    wanted = energy_eV(potential)
    name = "NiAlH_jea.eam.alloy"
    shutil.copy(distribution_folder() / "Al_zhou.eam.alloy", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert energy_eV(potential) == wanted
    # Negative control: named as it is in the include, LAMMPS takes the one that lies here.
    lmp = new_instance()
    lmp.commands_string(
        "units metal\nlattice fcc 4.05\nregion r block 0 2 0 2 0 2\ncreate_box 1 r\ncreate_atoms 1 box\n"
        f"mass 1 27\npair_style eam/alloy\npair_coeff * * {name} Al\nrun 0 post no"
    )
    here = float(lmp.get_thermo("pe"))
    lmp.command(f"pair_coeff * * {distribution_folder() / name} Al")
    lmp.command("run 0 post no")
    assert not np.isclose(here, float(lmp.get_thermo("pe")), atol=1e-3)
    lmp.close()


def test_a_hostile_potential_is_refused_before_anything_runs(capsys, tmp_path):
    from cascade_driver.cli import main

    folder = tmp_path / "mine"
    shutil.copytree(load_potential("si-tersoff-zbl").folder, folder)
    include = folder / "potential.lmp"
    before = file_sha256(include)
    include.write_text(include.read_text() + f"shell touch {tmp_path}/written\n")
    about = folder / "potential.toml"
    about.write_text(about.read_text().replace(before, file_sha256(include)))
    (tmp_path / "in.toml").write_text(
        '[crystal]\nname = "Si"\nminimum_atoms = 64\n[potential]\nfolder = "mine"\n[[recoils]]\nspecies = "Si"\n'
        "recoil_energies_eV = [20]\ndirections = { count = 1 }\n"
    )
    for words in (
        ["potential", "check", str(folder)],
        ["potential", "show", str(folder)],
        ["run", str(tmp_path / "in.toml"), "--out", str(tmp_path / "RUN")],
        ["train", "validate", str(folder), "--out", str(tmp_path / "V")],
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert f"{include}:6: `shell` may not stand in a potential" in said
        assert said.count("\n") <= 2
    assert not (tmp_path / "written").exists()
    assert not (tmp_path / "RUN").exists()
