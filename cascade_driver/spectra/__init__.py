"""Source spectra, and what a detector makes of them."""
