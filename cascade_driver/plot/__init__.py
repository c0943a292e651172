"""Figures; nothing else in the package knows matplotlib.

A function `*_figure` returns a whole `matplotlib.figure.Figure`, fit for one column of a journal. A function
`draw_*` draws one panel into the axes that it gets as `ax`, or into new ones, and returns them.
"""

# First, before any other room imports matplotlib.
from cascade_driver.plot import backend as backend
from cascade_driver.plot.comparison import (
    comparison_figure,
    draw_change,
    draw_compared,
    draw_compared_distribution,
)
from cascade_driver.plot.kicks import second_kick_figure
from cascade_driver.plot.maps import (
    direction_figure,
    draw_direction_map,
    draw_surroundings,
    mollweide,
    surroundings_figure,
)
from cascade_driver.plot.relaxation import (
    debris_figure,
    debris_glass_figure,
    draw_film_decay,
    draw_film_overlay,
    draw_film_phonons,
    draw_frequency_shift,
    draw_loss_fit,
    draw_property_fit,
    draw_tls_damping,
    film_decay_figure,
    film_dynamics_figures,
    film_fit_figure,
    film_map_figure,
    film_motion_figure,
    film_overlay_figure,
    film_phonons_figure,
    film_release_figure,
    film_spectra_figure,
    frequency_noise_figure,
    frequency_shift_figure,
    glass_properties_figure,
    loss_fit_figure,
    property_fit_figure,
    tls_damping_figure,
    tls_density_figure,
)
from cascade_driver.plot.scenes import cascade_figure, defects_figure, draw_cascade
from cascade_driver.plot.spectra import (
    calibration_figure,
    draw_line_fit,
    draw_observed,
    draw_ratio,
    draw_spectrum,
    line_fit_figure,
    spectra_figure,
)
from cascade_driver.plot.stored_energy import (
    defect_probability_figure,
    draw_defect_probability,
    draw_stored_energies,
    stored_energy_figure,
    stored_energy_trend_figure,
)
from cascade_driver.plot.style import CaptionedFigure, png_bytes, save_figure
from cascade_driver.text import value_with_error

__all__ = [
    "CaptionedFigure",
    "calibration_figure",
    "cascade_figure",
    "comparison_figure",
    "debris_figure",
    "debris_glass_figure",
    "defect_probability_figure",
    "defects_figure",
    "direction_figure",
    "draw_cascade",
    "draw_change",
    "draw_compared",
    "draw_compared_distribution",
    "draw_defect_probability",
    "draw_direction_map",
    "draw_film_decay",
    "draw_film_overlay",
    "draw_film_phonons",
    "draw_frequency_shift",
    "draw_line_fit",
    "draw_loss_fit",
    "draw_observed",
    "draw_property_fit",
    "draw_ratio",
    "draw_spectrum",
    "draw_stored_energies",
    "draw_surroundings",
    "draw_tls_damping",
    "film_decay_figure",
    "film_dynamics_figures",
    "film_fit_figure",
    "film_map_figure",
    "film_motion_figure",
    "film_overlay_figure",
    "film_phonons_figure",
    "film_release_figure",
    "film_spectra_figure",
    "frequency_noise_figure",
    "frequency_shift_figure",
    "glass_properties_figure",
    "line_fit_figure",
    "loss_fit_figure",
    "mollweide",
    "png_bytes",
    "property_fit_figure",
    "save_figure",
    "second_kick_figure",
    "spectra_figure",
    "stored_energy_figure",
    "stored_energy_trend_figure",
    "surroundings_figure",
    "tls_damping_figure",
    "tls_density_figure",
    "value_with_error",
]
