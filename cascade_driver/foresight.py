"""What is known of a campaign before its first cascade: whether its end can be reached, and what it costs.

What an input asks for after its cascades is checked before them: days later is too late for a misspelt target.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cascade_driver.analysis.published import NAMED_MODELS
from cascade_driver.campaign.index import Row
from cascade_driver.campaign.plan import Campaign, PlannedCascade
from cascade_driver.config import AnalysisSpec, RunInput
from cascade_driver.errors import InputError
from cascade_driver.models import crystal_formulas
from cascade_driver.request import AnySpectrumRequest
from cascade_driver.simulation.crystal import assemble, constituents
from cascade_driver.simulation.spec import ZERO_POINT_TEMPERATURE_CAWO4_K, Protocol
from cascade_driver.sources.requested import requested_spectrum
from cascade_driver.spectra.observe import check_crystal
from cascade_driver.text import duration
from cascade_driver.units import FS_PER_PS, BOLTZMANN_eV_PER_K, eV_PER_AMU_A2_PS2

#: What the conclusion of a run writes, by the name of a folder or a file.
_FOLDERS, _FILES = ("spectra", "figures"), ("model.json", "report.html")


#: CPU time per atom and step in microseconds, of `cascade guide costs`.
US_PER_ATOM_STEP = {
    "si-sw-zbl": 0.6,
    "si-tersoff-zbl": 1.2,
    "ge-tersoff-zbl": 1.2,
    "diamond-erhart-albe-zbl": 1.2,
    "sic-erhart-albe-zbl": 1.8,
    "al2o3-vashishta-zbl": 5.3,
    "al-eam-zbl": 4.5,
    "alsi-meam-zbl": 4.7,
    "cawo4-pbe-spline": 19.0,
    "cawo4-pbe-accurate": 125.0,
    "si-snap-zbl": 129.0,
    "ge-snap-zbl": 129.0,
}

#: Evaluations of the forces in a quench, by its method (`cascade guide costs`).
_QUENCH_STEPS = {None: 400, "cg-stiffness": 150, "stiffness": 70}

#: The fastest atom of a recoil is held to `max_displacement_A` a step until it has gone this far for each root of
#: an eV: 14 to 30 A at 60 and 100 eV, of C, Al, Si, Ge and W.
_FAST_PATH_A = 3.0

#: The fastest of some thousand atoms against the width of one component of their velocities.
_FASTEST = 4.0


def foreseen_steps(protocol: Protocol, *, recoil_energy_eV: float, lightest_u: float) -> float:
    r"""Return about how many evaluations of the forces a cascade takes, quenches included.

    .. math:: n = \frac{t}{\min(\Delta t_\mathrm{max},\; d / 4 \sqrt{kT/m})} + \frac{3 \sqrt{E_R}}{d} + n_q

    with d the largest displacement in a step, in angstrom, E_R in eV, and 400 evaluations for each quench by
    conjugate gradients (150 by `cg-stiffness`, 70 by `stiffness`). Flights took 0.7 to 1.5 times that.
    """
    follow, thermal = protocol.follow, protocol.thermal
    temperature_K = thermal.temperature_K
    if thermal.start == "quantum":
        temperature_K = max(temperature_K, ZERO_POINT_TEMPERATURE_CAWO4_K)  # of its zero-point motion
    speed_A_ps = np.sqrt(BOLTZMANN_eV_PER_K * temperature_K / (lightest_u * eV_PER_AMU_A2_PS2))
    step_ps = min(follow.max_timestep_fs / FS_PER_PS, follow.max_displacement_A / (_FASTEST * speed_A_ps))
    quenches = 1 + len(follow.also_quench_at_ps or ())
    fast = _FAST_PATH_A * np.sqrt(recoil_energy_eV) / follow.max_displacement_A
    return float(follow.duration_ps / step_ps + fast + quenches * _QUENCH_STEPS[protocol.quench.method])


def cpu_said(campaign: Campaign, rows: Mapping[str, Row]) -> str:
    """Return in words what the missing cascades of a campaign cost, or how to learn it; nothing if there are none.

    By those that are finished; without any by the costs of the potentials that ship.
    """
    planned = list(campaign.cascades())
    missing = [cascade for cascade in planned if cascade.id not in rows]
    if not missing:
        return ""
    what = f"the {len(missing)} that are missing"
    if len(missing) == len(planned):
        what = f"{len(missing)} cascades" if len(missing) > 1 else "the cascade"
    if seconds := _by_finished(planned, missing, rows):
        return f"about {duration(_rounded(seconds))} for {what}, as the finished ones took"
    name = campaign.protocol.potential_name
    if name not in US_PER_ATOM_STEP:
        return "unknown for this potential: stop `cascade run` after some cascades, which are kept, and ask again"
    box = assemble(campaign.protocol.crystal, constituents(campaign.protocol.crystal))
    lightest_u = float(box.get_masses().min())
    of_energy = {
        energy_eV: foreseen_steps(campaign.protocol, recoil_energy_eV=energy_eV, lightest_u=lightest_u)
        for energy_eV in {cascade.recoil_energy_eV for cascade in missing}
    }
    steps = [of_energy[cascade.recoil_energy_eV] for cascade in missing]
    us = US_PER_ATOM_STEP[name]
    return (
        f"about {duration(_rounded(sum(steps) * len(box) * us * 1e-6))} for {what} ({len(box)} atoms, some "
        f"{_rounded(float(np.mean(steps))):g} steps, {us:g} us per atom and step, as in `cascade guide costs`), "
        "and up to five times that on other machines or where quenches get stuck: ask again when some are done"
    )


def _by_finished(
    planned: list[PlannedCascade], missing: list[PlannedCascade], rows: Mapping[str, Row]
) -> float | None:
    """Return the CPU time (s) of missing cascades by that of finished ones, of the same recoils if any are."""
    took: dict[tuple[str, float], list[float]] = defaultdict(list)
    for cascade in planned:
        if cascade.id in rows and (cpu_s := rows[cascade.id].cpu_s) > 0:
            took[cascade.species, cascade.recoil_energy_eV].append(cpu_s)
    if not took:
        return None
    overall = float(np.mean(np.concatenate([*took.values()])))
    of_recoil = {recoil: float(np.mean(times)) for recoil, times in took.items()}
    return sum(of_recoil.get((cascade.species, cascade.recoil_energy_eV), overall) for cascade in missing)


def _rounded(number: float) -> float:
    """Return two digits of a number: no estimate has more."""
    return float(f"{number:.2g}")


def foresee(wanted: RunInput, campaign: Campaign, run: Path) -> None:
    """Refuse an input whose conclusion could not be drawn, whatever its cascades give.

    Parameters
    ----------
    wanted : RunInput
        The input.
    campaign : Campaign
        The cascades that it plans.
    run : pathlib.Path
        The run directory, which need not be there yet.

    Raises
    ------
    InputError
        With the first thing that stands in the way.
    """
    for name in (*_FOLDERS, *_FILES):
        place = run / name
        if place.exists() and place.is_dir() is not (name in _FOLDERS):
            raise InputError(f"{place}: the conclusion of a run is written there; move it away")
    if (analysis := wanted.analysis) is None:
        return
    reach: dict[str, float] = {}
    for group in campaign.groups:
        if not group.then:
            reach[group.species] = max(reach.get(group.species, 0.0), *group.recoil_energies_eV)
    _foresee_models(analysis, campaign, run, known=sorted(reach))
    for number, request in enumerate(wanted.spectra, start=1):
        try:
            _foresee_spectrum(request, analysis, reach, crystal=crystal_formulas(campaign.protocol.crystal))
        except InputError as error:
            raise InputError(f"`spectra[{number}]`: {error}") from None


def _foresee_models(analysis: AnalysisSpec, campaign: Campaign, run: Path, *, known: list[str]) -> None:
    if analysis.fallback_species is not None and analysis.fallback_species not in known:
        raise InputError(
            f"`analysis.fallback_species`: no recoils of {analysis.fallback_species!r} are simulated, "
            f"only of {', '.join(known)}; name one of these"
        )
    if analysis.direction is not None and campaign.protocol.crystal.is_film:
        raise InputError("`analysis.direction`: responses by direction are for bulk crystals; leave it out")
    for key in ("potential_runs", "protocol_runs"):
        for name in getattr(analysis, key):
            if name not in NAMED_MODELS and not (run / name).exists():
                raise InputError(
                    f"`analysis.{key}`: {name}: no run and no model file, seen from {run}; make it first"
                )


def _foresee_spectrum(
    request: AnySpectrumRequest, analysis: AnalysisSpec, reach: dict[str, float], *, crystal: tuple[str, ...]
) -> None:
    """Make a spectrum in a single bin, which needs all that a source must know."""
    spectrum = requested_spectrum(dataclasses.replace(request, bins=1))
    lender = analysis.fallback_species or next(iter(reach))
    used = {element: element if element in reach else lender for element in spectrum.elements}
    if crystal:
        check_crystal(crystal, target=request.target, used=used, other_crystal=analysis.other_crystal)
    missing = [element for element in spectrum.elements if element not in reach]
    if missing and analysis.fallback_species is None and len(reach) > 1:
        raise InputError(
            f"recoils of {', '.join(missing)} are not simulated, only of {', '.join(sorted(reach))}; add them, or "
            "name one of these as `fallback_species` in [analysis]"
        )
    if not analysis.extrapolate and request.energy_eV[1] > (most := min(reach.values())):
        raise InputError(
            f"recoils up to {request.energy_eV[1]:g} eV are wanted, and simulated up to {most:g} eV: simulate "
            "higher energies, end `energy_eV` there, or set `extrapolate = true` in [analysis]"
        )
