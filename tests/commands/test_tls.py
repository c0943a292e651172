"""`cascade tls`: what it writes, and what it refuses with one line and exit code 2."""

import json

import numpy as np
import pytest

from cascade_driver.cli import main
from cascade_driver.plot import tls_damping_figure
from cascade_driver.relaxation.tls.damping import Resonator, TunnellingSystems

BEAM = ["--mode-frequency-Hz", "17.5e6", "--thickness-nm", "130", "--width-nm", "300"]
FITTED = ["--strength", "4.3e-5", "--strain-coupling-eV", "9.8"]


def test_damping_writes_table_and_figure_and_fit_reads_it_back(tmp_path, capsys):
    out = tmp_path / "damping.csv"
    options = [*FITTED, "--charged-fraction", "0.17", "--electron-coupling", "0.07", "--points", "15"]
    assert main(["tls", "damping", *BEAM, *options, "--out", str(out)]) == 0
    assert "crossover temperature 0.838 K, of charged systems 0.000911 K" in capsys.readouterr().out
    assert out.with_suffix(".png").is_file()
    table = np.genfromtxt(out, delimiter=",", names=True)
    lines = ["temperature_K,damping_Hz,damping_error_Hz,metal"]
    for name in ("superconducting", "normal"):
        lines += [
            f"{r['temperature_K']},{r[name + '_damping_Hz']},{0.01 * r[name + '_damping_Hz']},{name}"
            for r in table
        ]
    data = tmp_path / "data.csv"
    data.write_text("\n".join(lines) + "\n")
    fit = tmp_path / "fit.json"
    hold = ["--hold", "electron_coupling=0.07", "--without-superconducting-K", "0.6", "1.0"]
    assert main(["tls", "fit", str(data), *BEAM, *hold, "--out", str(fit)]) == 0
    said = capsys.readouterr().out
    assert ["electron_coupling", "0.07", "(held)"] in [line.split() for line in said.splitlines()]
    assert json.loads(fit.read_text())["parameters"]["strain_coupling_eV"]["value"] == pytest.approx(9.8, rel=1e-3)
    assert fit.with_suffix(".png").is_file()


def test_dos_resumes_and_writes_densities_fits_and_figure(tmp_path, capsys):
    command = ["tls", "dos", "--size", "5", "--interaction-K", "2", "--workers", "1", "--out", str(tmp_path)]
    assert main([*command, "--realisations", "6"]) == 0
    first = (tmp_path / "realisations/000000.npz").stat().st_mtime_ns
    assert main([*command, "--realisations", "12"]) == 0
    assert (tmp_path / "realisations/000000.npz").stat().st_mtime_ns == first
    said = capsys.readouterr().out
    assert "12 realisations" in said
    assert "spin flips tried" in said
    assert json.loads((tmp_path / "fits.json").read_text())["realisations"] == 12
    assert (tmp_path / "density.csv").read_text().startswith("temperature_K,energy_low_K")
    assert (tmp_path / "density.png").is_file()
    assert main([*command, "--realisations", "12", "--seed", "2"]) == 2
    assert "holds another glass" in capsys.readouterr().err
    out = tmp_path / "counted.csv"
    assert main(["tls", "properties", "--glass", str(tmp_path), "--points", "3", "--out", str(out)]) == 0
    table = np.genfromtxt(out, delimiter=",", names=True)
    assert np.all(np.diff(table["temperature_K"]) > 0)
    assert np.all(table["specific_heat"] > 0)


def test_properties_of_a_power_law_are_its_powers_and_the_shifts_mirror_each_other(tmp_path, capsys):
    out = tmp_path / "properties.csv"
    options = ["--exponent", "0.2", "--cutoff-K", "1000", "--temperature-K", "0.05", "1", "--points", "5"]
    assert main(["tls", "properties", *options, "--out", str(out)]) == 0
    # exact for Eq. 3 with constant B and mu: kappa ~ T^(2 - mu), C ~ T^(1 + mu)
    assert "thermal conductivity ~ T^1.800, specific heat ~ T^1.200" in capsys.readouterr().out
    table = np.genfromtxt(out, delimiter=",", names=True)
    np.testing.assert_allclose(table["dielectric_shift"], -table["sound_velocity_shift"])
    assert table["sound_velocity_shift"][0] == 0
    assert out.with_suffix(".png").is_file()
    # A density of asymmetries (Eq. A1) has the same powers; the mean of n up to E is at most 1 + mu below n(E).
    assert main(["tls", "properties", *options, "--density-of", "asymmetry", "--out", str(out)]) == 0
    assert "thermal conductivity ~ T^1.800" in capsys.readouterr().out
    other = np.genfromtxt(out, delimiter=",", names=True)
    ratio = other["thermal_conductivity"] / table["thermal_conductivity"]
    assert np.all((ratio > 1.02) & (ratio < 1.2))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["damping", *BEAM, *FITTED, "--charged-fraction", "1.5"],
            "`--charged-fraction`: input should be",
        ),
        (["damping", *BEAM, *FITTED, "--electron-coupling", "1"], "`--electron-coupling`"),
        (["damping", *BEAM, *FITTED, "--temperature-K", "0", "1"], "must rise and begin above 0"),
        (["damping", *BEAM[:4], "--width-nm", "-1", *FITTED], "`--width-nm`"),
        (["fit", "nowhere.csv", *BEAM], "no such file"),
        (["dos", "--size", "1", "--interaction-K", "2", "--realisations", "1"], "`--size`"),
        (["dos", "--size", "4", "--interaction-K", "-2", "--realisations", "1"], "`--interaction-K`"),
        (["properties", "--exponent", "3"], "exponent 3"),
        (["properties", "--crossover-K", "0"], "`--crossover-K`: input should be greater than 0"),
        (["properties", "--temperature-K", "1", "0.1"], "must rise"),
        (["properties", "--glass", "nowhere"], "no glass.json there"),
        ([], "say what to do"),
    ],
)
def test_what_lies_outside_the_models_is_one_line_and_exit_code_2(tmp_path, capsys, arguments, complaint):
    out = ["--out", str(tmp_path / "out.csv")] if arguments else []
    assert main(["tls", *arguments, *out]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_unwritable_output_is_one_line_and_a_missing_folder_is_made(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    command = ["tls", "damping", *BEAM, *FITTED, "--points", "3", "--out"]
    assert main([*command, str(tmp_path / "file" / "out.csv")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "new" / "out.csv")]) == 0


def test_figure_shows_both_states_and_both_limits():
    beam = Resonator(
        mode_frequency_Hz=17.5e6, thickness_nm=130, width_nm=300, density_kg_m3=2900, sound_speed_m_s=6000
    )
    systems = TunnellingSystems(
        strength=4.3e-5, strain_coupling_eV=9.8, charged_fraction=0.17, electron_coupling=0.07
    )
    figure = tls_damping_figure(
        systems=systems, resonator=beam, temperature_K=np.geomspace(0.03, 10, 9), data=None
    )
    axes = figure.axes[0]
    assert len(axes.get_lines()) == 4
    for line in axes.get_lines()[:2]:
        assert np.min(line.get_ydata()) > axes.get_ylim()[0]
