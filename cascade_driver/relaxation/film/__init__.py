"""Aluminium films: a pinned `dislocation`, its way into the interface (`dynamics`), the `spectrum` of all."""
