"""What people see in a terminal: tables, and progress bars that tell the time left.

`console` is what all is printed on, `progress` has the bars and the lines of a log, `records` tells of single
cascades, `runs` of whole runs and what is fitted to them, `thresholds`, `potentials` and `spectra` of those.
"""
