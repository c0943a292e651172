"""What relaxes later, without a cascade: aluminium films and tunnelling two-level systems."""
