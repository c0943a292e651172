"""Is a potential fit for cascades.

In reading order: `zbl` (the universal repulsion, closed form), `switch_choice` (where it ends), `calculator`
(ASE on a potential), `contract` (the checks, each with its remedy), `builds` (tried in each LAMMPS by itself),
`checked` (what is remembered of crystals).
"""
