"""The verbs of the command line, each one library call.

`arguments` holds what they share, `parser` puts them together; the others have the verbs on campaigns,
comparison, spectra, capture, relaxation, potentials and training.
"""
