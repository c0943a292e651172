"""Members of a response: few are asked for, few are folded, and they are those of the whole ensemble."""

import campaigns
import numpy as np
import pytest

from cascade_driver.analysis.model import fit_stored_energy_model
from cascade_driver.analysis.outcomes import usable_cascades
from cascade_driver.analysis.published import load_stored_energy_model
from cascade_driver.analysis.tabulated import table_replicas
from cascade_driver.analysis.uncertainty import ParameterReplicas, bootstrap_replicas, rising_replicas
from cascade_driver.spectra.ensemble_content import ensemble_of
from cascade_driver.spectra.response_file import response_set

EDGES = np.linspace(20.0, 150.0, 66)
COUNTS = -np.diff(np.exp(-EDGES / 30.0))


def replicas_of_all_kinds(rng):
    table = campaigns.simulate(rng)
    cascades = usable_cascades(table, species="W")
    made = {}
    for shape in ("gaussian", "empirical", "table"):
        model = fit_stored_energy_model(table, shape=shape, n_bootstrap=0)["W"]
        if shape == "table":
            made[shape] = table_replicas(model.distribution, n_replicas=100, rng=rng)
        else:
            made[shape] = bootstrap_replicas(cascades, model, n_replicas=100, rng=rng)
            made[f"rising {shape}"] = rising_replicas(model, n_replicas=100, rng=rng)
    return made


@pytest.fixture(scope="module")
def kinds():
    return replicas_of_all_kinds(np.random.default_rng(3))


def few_of(replicas, index):
    return replicas.select(index).fold(COUNTS, recoil_edges_eV=EDGES)


def test_replicas_that_are_selected_fold_as_they_do_among_all(kinds):
    for name, replicas in kinds.items():
        whole = replicas.fold(COUNTS, recoil_edges_eV=EDGES)
        for index in (slice(10), np.array([3, 70])):
            few = few_of(replicas, index)
            assert len(replicas.select(index)) == len(few) == len(whole[index])
            if name != "empirical":  # parameters choose their nodes by the sharpest law: 1e-10
                np.testing.assert_allclose(few, whole[index], atol=1e-9 * whole.max(), err_msg=name)


def test_the_superposition_of_the_law_of_cascades_is_no_worse_for_fewer_replicas(kinds):
    """It is of first order about the mean of the replicas; of one alone it is exact."""
    replicas = kinds["empirical"]
    alone = np.concatenate([few_of(replicas, np.array([k])) for k in range(10)])
    whole = replicas.fold(COUNTS, recoil_edges_eV=EDGES)[:10]
    error_of_few, error_of_all = (
        np.sqrt(np.mean((of - alone) ** 2)) for of in (few_of(replicas, slice(10)), whole)
    )
    assert error_of_few < error_of_all < 2e-3 * whole.max()


def test_a_response_has_the_members_of_the_ensemble_and_folds_no_other(monkeypatch):
    model = load_stored_energy_model("cawo4")
    replicas = ensemble_of(model).statistics["W"]
    edges = np.linspace(20.0, 200.0, 7)
    folded = []
    fold = ParameterReplicas.fold

    def counted(self, counts, **edges_eV):
        folded.append(len(self))
        return fold(self, counts, **edges_eV)

    monkeypatch.setattr(ParameterReplicas, "fold", counted)
    made = response_set(model, edges, members=10).members["W"]
    assert set(folded) == {10}
    whole = np.stack([fold(replicas, one, recoil_edges_eV=edges)[:10] for one in np.eye(6)], axis=-1)
    np.testing.assert_allclose(made, whole, atol=1e-9)
