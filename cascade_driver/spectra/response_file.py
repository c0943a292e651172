"""Responses for other programs: NumPy, HDF5 or ROOT, with named axes, units, and members of the ensemble."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cascade_driver.analysis.model import StoredEnergyModel
from cascade_driver.analysis.response import observed_edges
from cascade_driver.errors import InputError
from cascade_driver.files import whole_file, write_file
from cascade_driver.histogram_file import library
from cascade_driver.kinds import Array
from cascade_driver.spectra.ensemble_content import ensemble_of
from cascade_driver.spectra.limits import NOTABLE, tail_said

#: Of members; a matrix has the last two.
_AXES = ("member", "observed_energy", "recoil_energy")

SUFFIXES = (".npz", ".h5", ".root")


@dataclass(frozen=True, kw_only=True, eq=False)
class ResponseSet:
    """The responses of all species of a model in the same bins.

    Attributes
    ----------
    recoil_edges_eV : (n + 1,) float
    observed_edges_eV : (m + 1,) float
    matrices : mapping of str to (m, n) float
        By species: probability of each observed bin for recoils within each recoil bin; columns sum to 1.
    members : mapping of str to (R, m, n) float
        The same for other campaigns of this size (bootstrap): how sure each is, and how they hang together; of no
        members where the model has none.
    about : mapping
        What a reader must know: axes, units, model, status, notes.
    notes : tuple of str
        Where it goes beyond what was simulated, or what stored energy; also among the notes of `about`.
    """

    recoil_edges_eV: Array
    observed_edges_eV: Array
    matrices: Mapping[str, Array]
    members: Mapping[str, Array]
    about: Mapping[str, object]
    notes: tuple[str, ...] = ()


def response_set(model: StoredEnergyModel, recoil_edges_eV: ArrayLike, *, members: int = 0) -> ResponseSet:
    """Return the responses of a model.

    Parameters
    ----------
    model : StoredEnergyModel
    recoil_edges_eV : (n + 1,) array_like
    members : int
        How many of the ensemble, at most; folding each takes as long as correcting n spectra.

    Raises
    ------
    InputError
        As `StoredEnergyModel.response`.
    """
    edges = np.asarray(recoil_edges_eV, dtype=np.float64)
    matrices = {s: model.response(s, edges, extrapolate=model.extrapolate).matrix for s in model.species}
    beyond = model.extrapolation_notes(model.species, minimum_eV=float(edges[0]), maximum_eV=float(edges[-1]))
    beyond += tuple(
        f"{species}: {said}"
        for species, one in model.species.items()
        if edges[0] < (low := one.distribution.lowest_energy_eV)
        and (said := tail_said(one))
        and float(one.defect_probability(low)) >= NOTABLE
    )
    ensemble = ensemble_of(model)
    statistics = (ensemble.statistics or ensemble.fit) if members else {}
    drawn = {}
    for species, replicas in statistics.items():
        chosen = replicas.select(slice(members))
        columns = [chosen.fold(column, recoil_edges_eV=edges) for column in np.eye(len(edges) - 1)]
        drawn[species] = np.stack(columns, axis=-1)
    return ResponseSet(
        recoil_edges_eV=edges,
        observed_edges_eV=observed_edges(edges),
        matrices=matrices,
        members=drawn,
        about={
            "matrix": "probability of an observed bin for recoils uniform within a recoil bin; columns sum to 1",
            "axes": {"matrix": list(_AXES[1:]), "members": list(_AXES)},
            "units": {"observed_energy": "eV", "recoil_energy": "eV", "matrix": "1"},
            "model": model.name,
            "status": model.status,
            "crystal": list(model.crystal),
            "simulated_eV": {
                s: [one.minimum_recoil_energy_eV, one.maximum_recoil_energy_eV] for s, one in model.species.items()
            },
            "notes": [*beyond, *model.notes],
        },
        notes=beyond,
    )


def write_response(responses: ResponseSet, path: Path) -> None:
    """Write responses as `.npz` (NumPy), `.h5` (HDF5, needs h5py) or `.root` (ROOT, needs uproot).

    NumPy and HDF5 hold `recoil_edges_eV`, `observed_edges_eV`, and of each species `<species>/matrix` and
    `<species>/members`; ROOT a TH2D per species, recoil energy along x, and per member one more, `<species>_<k>`.
    What they are stands beside them as JSON, `about`.

    Raises
    ------
    InputError
        If the ending is another one, a library is missing, or the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: a response is written as {', '.join(SUFFIXES)}; choose one of these endings")
    about = json.dumps(responses.about)
    if path.suffix == ".root":
        uproot = library("uproot", path)
        edges = (responses.recoil_edges_eV, responses.observed_edges_eV)
        with whole_file(path) as partial, uproot.recreate(partial) as file:
            file["about"] = about
            for species, matrix in responses.matrices.items():
                file[species] = (matrix.T, *edges)
                for k, member in enumerate(responses.members.get(species, ())):
                    file[f"{species}_{k}"] = (member.T, *edges)
        return
    arrays = {"recoil_edges_eV": responses.recoil_edges_eV, "observed_edges_eV": responses.observed_edges_eV}
    arrays |= {f"{species}/matrix": matrix for species, matrix in responses.matrices.items()}
    arrays |= {f"{species}/members": drawn.astype(np.float32) for species, drawn in responses.members.items()}
    if path.suffix == ".npz":
        stream = io.BytesIO()
        content: dict[str, Any] = {"about": np.array(about), **arrays}
        np.savez_compressed(stream, **content)
        write_file(path, stream.getvalue())
        return
    h5py = library("h5py", path)
    with whole_file(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["about"] = about
        for name, array in arrays.items():
            stored = file.create_dataset(name, data=array, compression="gzip" if array.ndim > 1 else None)
            stored.attrs["unit"] = "eV" if name.endswith("_eV") else "1"
            if array.ndim > 1:
                stored.attrs["axes"] = _AXES[-array.ndim :]
