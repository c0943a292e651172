"""From a knocked-on atom to the spectrum that a cryogenic detector really records.

    >>> import cascade_driver as cd
    >>> recoils = cd.dark_matter(
    ...     "CaWO4", mass_GeV=2, cross_section_cm2=1e-40, energy_eV=(1, 150), bins=149
    ... )
    >>> model = cd.load_model("cawo4-published")
    >>> seen = cd.observe(recoils, model, detector=cd.Detector(resolution_eV=3, threshold_eV=20))
    >>> seen
    <Observed: dark matter, 2 GeV, 1e-40 cm², on CaWO4, by cawo4-published (qualitative), ...>

Campaigns      plan run open_run Run
One cascade    run_cascade crystal load_potential calculator check_potential
Models         load_model fit_stored_energy_model
Spectra        dark_matter reactor solar monoenergetic capture read_spectrum observe Detector fit_spectrum_lines
Thresholds     threshold
Estimates      estimate resolution_limit DamageSpec IonSpec
Relaxation     film tls debris
Behind them    simulation analysis sources spectra training plot
Results        Record Result CascadeTable KickEvents StoredEnergyModel Response Spectrum Observed Potential
Requests       DarkMatterRequest ReactorRequest SolarRequest MonoenergeticRequest CaptureRequest
Errors         CascadeError InputError FitError PotentialError EngineError RecordError

`help(cd.observe)` tells one of them, `help(cd)` all of them with all that they can. All else may change without
notice.
"""

from typing import Any

import lazy_loader

_offered, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the package as a whole costs seconds."""
    if name == "__version__":
        from cascade_driver.version import version

        return version()
    return _offered(name)
