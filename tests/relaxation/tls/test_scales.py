"""Random field and interactions from a material: Table I of Churkin 2021, and CODATA."""

import numpy as np
import pytest
from scipy import constants

from cascade_driver.cli import main
from cascade_driver.relaxation.tls.scales import GlassMaterial


def material(*, transition_K: float, dipole_D: float = 0.0, distance_nm: float = 1.0) -> GlassMaterial:
    """Return one whose strong defects freeze at a temperature, and whose couplings have the paper's ratio 0.02."""
    density, speed = 2200.0, 3800.0
    strong = np.sqrt(transition_K * constants.k * density * speed**2 * (distance_nm * 1e-9) ** 3) / constants.e
    return GlassMaterial(
        strong_coupling_eV=strong,
        weak_coupling_eV=0.02 * strong,
        dipole_D=dipole_D,
        distance_nm=distance_nm,
        density_kg_m3=density,
        speed_m_s=speed,
    )


@pytest.mark.parametrize("transition_K", [300.0, 1000.0])
def test_scales_of_the_two_TLS_model_are_those_of_table_I(transition_K):
    found = material(transition_K=transition_K)
    assert found.glass_transition_K == pytest.approx(transition_K, rel=1e-6)
    # printed: h_0 about 10 K, J_0 about 0.1 to 0.3 K, for 300 to 1000 K; to a factor of two
    assert 5 < found.random_field_K < 20.1
    assert 0.1 <= found.elastic_interaction_K < 0.6
    assert found.random_field_K**2 == pytest.approx(found.glass_transition_K * found.elastic_interaction_K)
    assert found.electric_interaction_K == 0


def test_dipoles_of_some_debye_at_three_nanometres_interact_by_the_2_to_3_K_of_table_I():
    assert 2 < material(transition_K=300, dipole_D=3.0, distance_nm=3.0).electric_interaction_K < 3
    # two electrons' charges an angstrom apart: e^2 / 4 pi eps0 is 14.3996 eV A
    one = material(transition_K=300, dipole_D=constants.e * 1e-10 * constants.c / 1e-21, distance_nm=0.1)
    assert one.electric_interaction_K == pytest.approx(14.399645 / 8.617333e-5, rel=1e-6)


def test_command_prints_what_dos_takes(capsys):
    words = "--strong-coupling-eV 10 --weak-coupling-eV 0.2 --dipole-D 3 --distance-nm 3"
    words += " --density-kg-m3 2200 --speed-m-s 3800"
    assert main(["tls", "scales", *words.split()]) == 0
    assert "cascade tls dos --random-field-K" in capsys.readouterr().out
    assert main(["tls", "scales", *words.replace("2200", "-1").split()]) == 2
    assert "--density-kg-m3" in capsys.readouterr().err
