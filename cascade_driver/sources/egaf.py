"""Makes the capture table of the package out of the Evaluated Gamma-ray Activation File (EGAF)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import periodictable

from cascade_driver.errors import InputError
from cascade_driver.files import text_of, write_file
from cascade_driver.sources.capture_table import ISOTOPES, LARGEST_SUM, LEVEL_COLUMNS, LEVELS, LINE_COLUMNS, LINES
from cascade_driver.target import abundances
from cascade_driver.units import FS_PER_S, AMU_MeV

#: Lines of fewer per capture, and decays of a smaller share of their level, are left out.
LEAST_PER_CAPTURE, LEAST_SHARE = 1e-3, 0.05

#: An isotopic abundance that differs by more from today's was a slip of the evaluation: 49Ti and 50Ti are swapped.
_ABUNDANCE_TOLERANCE = 0.03

#: Cross-sections of EGAF that are off by a power of ten, or belong to one final state alone: those of NIST stand.
_WRONG_CROSS_SECTIONS = ("Dy160", "Eu151", "Hg196", "Tl205", "Xe130")

#: Gammas that, with the level they lead to, miss the separation energy by more belong to something else.
_LARGEST_MISS_keV = 20.0

#: Relative error of cross-sections that are given without one: an assumption.
_UNKNOWN_ERROR = 0.1

#: Absorption by nuclei up to this charge number that exceeds capture gives charged particles.
_LARGEST_CHARGED = 17

_NEUTRON_U = 1.00866491590

_SOURCES = {
    "egaf2003": "Evaluated Gamma-ray Activation File (EGAF), evaluated by R. B. Firestone, LBNL, December 2003; "
    "https://www-nds.iaea.org/pgaa/egaf.html; as distributed by A. M. Hurst, github.com/AaronMHurst/python_egaf",
    "pgaa2007": "Database of Prompt Gamma Rays from Slow Neutron Capture for Elemental Analysis, "
    "IAEA STI/PUB/1263 (2007)",
    "nist1992": "absorption cross-sections of V. F. Sears, Neutron News 3, 26 (1992), as kept by NIST and by "
    "periodictable; an error of 10 % is assumed",
    "ame2020": "AME2020 atomic masses, M. Wang et al., Chinese Phys. C 45 030003 (2021); "
    "doi:10.1088/1674-1137/abddaf",
}

#: Natural isotopes that EGAF lacks, with a cross-section and its error in barn: IAEA STI/PUB/1263.
_PGAA2007 = {"O18": (0.00016, 1e-5)}


def write_capture_table(egaf: Path, out: Path) -> int:
    """Write the three files of a capture table, and return the number of isotopes.

    Isotopes that occur in nature and that EGAF lacks get the absorption cross-section of NIST, without gammas.

    Parameters
    ----------
    egaf : pathlib.Path
        Folder of the JSON files of EGAF, one per target: `pyEGAF/EGAF_JSON` of github.com/AaronMHurst/python_egaf.
    out : pathlib.Path
        Folder of the table, as `capture_table.capture_table` reads it.

    Raises
    ------
    InputError
        If there is no file of EGAF.
    """
    files = sorted(egaf.glob("*.json"))
    if not files:
        raise InputError(f"{egaf}: no JSON file in it; expected pyEGAF/EGAF_JSON of python_egaf")
    isotopes, lines, levels = {}, [], []
    for file in files:
        content = _content(file)
        target = content["nucleusTargetID"]
        if not _abundance(target):
            continue
        isotopes[target] = _isotope(target, content)
        found, note = _lines(target, content, cross_section_b=isotopes[target]["cross_section_b"])
        isotopes[target]["note"] = "; ".join(filter(None, [note, _charged(isotopes[target])]))
        lines += found
        levels += _levels(target, content)
    elements = {_split(target)[0] for target in isotopes}
    for symbol in elements:
        for number, share in abundances(symbol).items():
            target = f"{symbol}{number}"
            if target not in isotopes and (isotope := _isotope_without_gammas(target)):
                isotopes[target] = isotope | {"abundance_percent": f"{100 * share:.6g}"}
    ordered = sorted(isotopes, key=lambda t: (getattr(periodictable, _split(t)[0]).number, _split(t)[1]))
    made = f"made by `cascade capture table EGAF_JSON --out FOLDER` from {len(files)} files of EGAF"
    out.mkdir(parents=True, exist_ok=True)
    write_file(
        out / ISOTOPES,
        f"# Thermal-neutron capture: cross-sections at 25.3 meV and neutron separation energies,\n# {made}.\n"
        "# Abundances (%) are those with which EGAF made isotopic of elemental cross-sections: for the record.\n\n"
        "[sources]\n"
        + "".join(f"{key} = {json.dumps(text)}\n" for key, text in _SOURCES.items())
        + "".join(f"\n[[isotopes]]\n{_toml(isotopes[target])}" for target in ordered),
    )
    write_file(
        out / LINES,
        f"# Primary gammas of thermal-neutron capture, {made}.\n"
        "# per_capture: isotopic partial cross-section over the thermal one; its error is of the partial one,\n"
        f"# empty where none is given. Left out: less than {LEAST_PER_CAPTURE:g} per capture.\n"
        + _csv(LINE_COLUMNS, lines),
    )
    write_file(
        out / LEVELS,
        f"# Decays of levels, {made}.\n"
        "# share: of the gammas of the level, without internal conversion; shares below "
        f"{LEAST_SHARE:.0%} are left out.\n# half_life_fs is empty where none is known.\n"
        + _csv(LEVEL_COLUMNS, levels),
    )
    return len(isotopes)


def _content(file: Path) -> Mapping[str, Any]:
    try:
        content: Mapping[str, Any] = json.loads(text_of(file, what="a file of EGAF"))
        content["nucleusTargetID"], content["neutronCaptureNormalization"], content["levelScheme"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: no file of EGAF ({error}); expected pyEGAF/EGAF_JSON of python_egaf") from None
    return content


def _csv(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join([",".join(columns), *(",".join(row) for row in rows)]) + "\n"


def _toml(entry: Mapping[str, Any]) -> str:
    return "".join(
        f"{key} = {value if key.endswith(('_b', '_keV', '_percent')) else json.dumps(value)}\n"
        for key, value in entry.items()
        if value != ""
    )


def _split(target: str) -> tuple[str, int]:
    symbol = target.rstrip("0123456789")
    return symbol, int(target[len(symbol) :])


def _abundance(target: str) -> float:
    """Return today's share of the atoms of the element; 0 if it does not occur in nature."""
    symbol, number = _split(target)
    return abundances(symbol).get(number, 0.0)


def _nist_b(target: str) -> float:
    symbol, number = _split(target)
    return float(getattr(periodictable, symbol)[number].neutron.absorption or 0.0)


def _isotope(target: str, content: Mapping[str, Any]) -> dict[str, str]:
    (record,) = content["neutronCaptureNormalization"][0]["normalizationRecord"]
    energies = content["recordQ"][0]
    cross_section, error = (
        record["adoptedTotalThermalCaptureCrossSection"],
        record["dAdoptedTotalThermalCaptureCrossSection"],
    )
    wrong = target in _WRONG_CROSS_SECTIONS
    if wrong:
        cross_section, error = _nist_b(target), _UNKNOWN_ERROR * _nist_b(target)
    return {
        "target": target,
        "cross_section_b": f"{cross_section:.6g}",
        "cross_section_error_b": f"{error or _UNKNOWN_ERROR * cross_section:.4g}",
        "cross_section_source": "nist1992" if wrong else "egaf2003",
        "neutron_separation_keV": f"{energies['energyNeutronSeparationAME2020']:.9g}",
        "neutron_separation_error_keV": f"{energies['dEnergyNeutronSeparationAME2020']:.4g}",
        "neutron_separation_source": "ame2020",
        "gammas_source": "egaf2003",
        "abundance_percent": f"{record['naturalIsotopicAbundance']:.6g}",
    }


def _isotope_without_gammas(target: str) -> dict[str, str] | None:
    symbol, number = _split(target)
    element = getattr(periodictable, symbol)
    cross_section, error = _PGAA2007.get(target, (_nist_b(target), _UNKNOWN_ERROR * _nist_b(target)))
    if not cross_section or number + 1 not in element.isotopes:
        return None
    separation_MeV = (element[number].mass + _NEUTRON_U - element[number + 1].mass) * AMU_MeV
    return {
        "target": target,
        "cross_section_b": f"{cross_section:.6g}",
        "cross_section_error_b": f"{error:.4g}",
        "cross_section_source": "pgaa2007" if target in _PGAA2007 else "nist1992",
        "neutron_separation_keV": f"{separation_MeV * 1e3:.8g}",
        "neutron_separation_error_keV": "1",
        "neutron_separation_source": "ame2020",
        "gammas_source": "egaf2003",
        "note": "not in EGAF",
    }


def _charged(isotope: Mapping[str, Any]) -> str:
    """Return a note on absorption that is no capture, as by 6Li, 10B and 14N."""
    symbol, _ = _split(isotope["target"])
    absorbed, captured = _nist_b(isotope["target"]), float(isotope["cross_section_b"])
    if getattr(periodictable, symbol).number > _LARGEST_CHARGED or absorbed < 1.43 * captured or absorbed < 1e-3:
        return ""
    return f"{absorbed - captured:.3g} b of neutron absorption give charged particles, which are not here"


def _lines(target: str, content: Mapping[str, Any], *, cross_section_b: str) -> tuple[list[tuple[str, ...]], str]:
    """Return the rows of the primary gammas, and why there are none if so."""
    (record,) = content["neutronCaptureNormalization"][0]["normalizationRecord"]
    today, then = 100 * _abundance(target), record["naturalIsotopicAbundance"]
    scale = 1.0 if abs(then / today - 1) < _ABUNDANCE_TOLERANCE else then / today
    scale /= float(cross_section_b)
    rows: list[tuple[str, ...]] = []
    whole, astray = 0.0, 0
    separation_keV = content["recordQ"][0]["energyNeutronSeparationAME2020"]
    for _, gamma in _gammas(content, primary=True):
        recoil_keV = gamma["gammaEnergy"] ** 2 / (2e3 * (_split(target)[1] + 1) * AMU_MeV)
        miss_keV = separation_keV - gamma["gammaEnergy"] - recoil_keV - gamma["levelEnergyFinal"]
        if abs(miss_keV) > _LARGEST_MISS_keV:
            astray += 1
            continue
        cell = gamma["gammaAbsoluteIntensities"][0]
        per_capture = scale * (cell["partialIsotopicCrossSection"] or 0.0)
        whole += per_capture
        if per_capture >= LEAST_PER_CAPTURE:
            rows.append(
                (
                    target,
                    f"{gamma['gammaEnergy']:.8g}",
                    _given(gamma["dGammaEnergy"]),
                    f"{gamma['levelEnergyFinal']:.8g}",
                    f"{per_capture:.4g}",
                    _given(scale * (cell["dPartialIsotopicCrossSection"] or 0.0)),
                )
            )
    if whole > LARGEST_SUM:
        return [], f"primary gammas left out: in EGAF they add up to {whole:.2g} captures"
    if astray:
        return rows, f"{astray} primary gammas left out: in EGAF they miss the separation energy"
    return rows, "" if rows else "no primary gammas in EGAF"


def _levels(target: str, content: Mapping[str, Any]) -> list[tuple[str, ...]]:
    lives = {
        level["levelEnergy"]: level["isomerDecay"][0]["halfLifeConverted"]
        for level in content["levelScheme"]
        if level["isomerDecay"]
    }
    by_level: dict[float, list[tuple[float, float]]] = {}
    for level, gamma in _gammas(content, primary=False):
        intensity = gamma["gammaAbsoluteIntensities"][0]["populationPerNeutronCapture"] or 0.0
        by_level.setdefault(level, []).append((gamma["levelEnergyFinal"], intensity))
    rows: list[tuple[str, ...]] = []
    for level, decays in by_level.items():
        whole = sum(intensity for _, intensity in decays)
        half_life_s = lives.get(level)
        for final, intensity in decays:
            if whole > 0 and intensity >= LEAST_SHARE * whole and final < level:
                life = "" if not half_life_s or not math.isfinite(half_life_s) else f"{half_life_s * FS_PER_S:.4g}"
                rows.append((target, f"{level:.8g}", life, f"{final:.8g}", f"{intensity / whole:.3g}"))
    return rows


def _gammas(content: Mapping[str, Any], *, primary: bool) -> Iterator[tuple[float, Mapping[str, Any]]]:
    for level in content["levelScheme"]:
        for gamma in level["gammaDecay"]:
            if (gamma["gammaTransitionType"] == "primary") == primary:
                yield level["levelEnergy"], gamma


def _given(error: float | None) -> str:
    return f"{error:.3g}" if error else ""
