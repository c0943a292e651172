"""Figures. Every function returns a `matplotlib.figure.Figure`; nothing else in the package knows matplotlib."""

# First, before any other room imports matplotlib.
from cascade_driver.plot import backend as backend
from cascade_driver.plot.kicks import second_kick_figure
from cascade_driver.plot.relaxation import (
    debris_figure,
    film_motion_figure,
    film_overlay_figure,
    film_phonons_figure,
    film_release_figure,
    film_spectra_figure,
    glass_properties_figure,
    tls_damping_figure,
    tls_density_figure,
)
from cascade_driver.plot.spectra import calibration_figure, draw_observed, draw_spectrum, spectra_figure
from cascade_driver.plot.stored_energy import (
    defect_probability_figure,
    direction_figure,
    stored_energy_figure,
    stored_energy_trend_figure,
)
from cascade_driver.plot.style import CaptionedFigure, png_bytes, save_figure, value_with_error

__all__ = [
    "CaptionedFigure",
    "calibration_figure",
    "debris_figure",
    "defect_probability_figure",
    "direction_figure",
    "draw_observed",
    "draw_spectrum",
    "film_motion_figure",
    "film_overlay_figure",
    "film_phonons_figure",
    "film_release_figure",
    "film_spectra_figure",
    "glass_properties_figure",
    "png_bytes",
    "save_figure",
    "second_kick_figure",
    "spectra_figure",
    "stored_energy_figure",
    "stored_energy_trend_figure",
    "tls_damping_figure",
    "tls_density_figure",
    "value_with_error",
]
