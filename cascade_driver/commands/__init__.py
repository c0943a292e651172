"""The verbs of the command line, each one library call.

`arguments` holds what they share, `options` makes options of the types that inputs are made of, `fits` says
what a fit came to, `parser` puts the verbs together, and `front` has its first page of help. `new` writes an
input, `guide` shows the texts for users, `completion` serves shells; the others have the verbs on campaigns,
thresholds, comparison, estimates, capture, spectra, the background that relaxes, tls and their debris,
potentials, training and schemas.
"""
