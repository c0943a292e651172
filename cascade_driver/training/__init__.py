"""Potentials in the making: structures, labels from first principles, linear fits, validation.

In reading order: `outputs`, `frames`, `extended_xyz` and `importing` (labels of others), `labelling` and
`label_queue` (labels of one's own), `replay` and `relax` (a cascade followed, its ends brought to rest, by first
principles), `propose` (structures
that are worth a label), `validate`; linear forms: `descriptors`, `splines` (`spline_kernels` compiled), `snap`,
`pod`, on a `zbl_core`; `linear` (the solver), `cross_validation`, `export` (a folder that LAMMPS evaluates),
`ensemble` (draws), `fit` and `fit_input`, `learning` (curves), `selection` (of candidates by what they would
teach).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
