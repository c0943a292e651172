"""Loops over pairs and triples of atoms, compiled by numba: what cubic splines of distances say of a box.

Each loop adds, for every coefficient c of an energy that is linear in c, the derivatives of the energy, of the
forces and of the virial with respect to c. Splines stand on clamped knots, each knot at an end four times, as in
LAMMPS' `pair_style uf3`. Importing this module needs numba.
"""

# numba annotates nothing:
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
# Compiled loops take arrays one by one:
# ruff: noqa: PLR0912, PLR0917
from __future__ import annotations

import numba
import numpy as np

from cascade_driver.kinds import Array, Ints


@numba.njit(cache=True)
def cubic(x: float, knots: Array, n_knots: int, value: Array, slope: Array) -> int:
    """Write the four cubic B-splines that are not zero at `x`, and their slopes; return the number of the first.

    De Boor's recursion; `x` outside the knots is taken into the first or last interval, which goes on as a cubic.
    """
    last = n_knots - 5
    span = 3 + int((x - knots[3]) / (knots[4] - knots[3]))
    span = min(max(span, 3), last)
    # Rounding may have put x one interval off.
    if x < knots[span] and span > 3:
        span -= 1
    elif x >= knots[span + 1] and span < last:
        span += 1
    t0, t1 = knots[span], knots[span + 1]
    tm1, t2 = knots[span - 1], knots[span + 2]
    tm2, t3 = knots[span - 2], knots[span + 3]
    u = (x - t0) / (t1 - t0)
    # Linear, then quadratic: three functions q.
    a = (1.0 - u) / (t1 - tm1)
    b = u / (t2 - t0)
    q0 = (t1 - x) * a
    q1 = (x - tm1) * a + (t2 - x) * b
    q2 = (x - t0) * b
    w0 = q0 / (t1 - tm2)
    w1 = q1 / (t2 - tm1)
    w2 = q2 / (t3 - t0)
    value[0] = (t1 - x) * w0
    value[1] = (x - tm2) * w0 + (t2 - x) * w1
    value[2] = (x - tm1) * w1 + (t3 - x) * w2
    value[3] = (x - t0) * w2
    slope[0] = -3.0 * w0
    slope[1] = 3.0 * (w0 - w1)
    slope[2] = 3.0 * (w1 - w2)
    slope[3] = 3.0 * w2
    return span - 3


@numba.njit(cache=True)
def neighbours(positions: Array, cell: Array, images: Ints, cutoff: float) -> tuple[Ints, Ints, Array, Array]:
    """Return where each atom's neighbours begin, who they are, and the vectors and distances to them.

    Every image is looked at: `positions` lie in the cell and `images` says how many cells to go along each edge.
    """
    n = len(positions)
    first = np.zeros(n + 1, dtype=np.int64)
    size = 64 * n
    found = np.empty(size, dtype=np.int64)
    vectors, distances = np.empty((size, 3)), np.empty(size)
    count = 0
    shift, v = np.empty(3), np.empty(3)
    for i in range(n):
        for a in range(-images[0], images[0] + 1):
            for b in range(-images[1], images[1] + 1):
                for c in range(-images[2], images[2] + 1):
                    for x in range(3):
                        shift[x] = a * cell[0, x] + b * cell[1, x] + c * cell[2, x] - positions[i, x]
                    for j in range(n):
                        square = 0.0
                        for x in range(3):
                            v[x] = positions[j, x] + shift[x]
                            square += v[x] * v[x]
                        if square >= cutoff * cutoff or (i == j and a == 0 and b == 0 and c == 0):
                            continue
                        if count == size:
                            size *= 2
                            found = np.append(found, np.empty(count, dtype=np.int64))
                            distances = np.append(distances, np.empty(count))
                            vectors = np.concatenate((vectors, np.empty((count, 3))))
                        found[count] = j
                        distances[count] = np.sqrt(square)
                        for x in range(3):
                            vectors[count, x] = v[x]
                        count += 1
        first[i + 1] = count
    return first, found[:count], vectors[:count], distances[:count]


@numba.njit(cache=True)
def two_body(
    kinds: Ints,
    first: Ints,
    neighbour: Ints,
    vector: Array,
    distance: Array,
    pair: Ints,
    knots: Array,
    n_knots: Ints,
    column: Ints,
    energy: Array,
    force: Array,
    virial: Array,
) -> None:
    """Add the rows of pair splines: E = sum over pairs of B_c(r).

    `first[i]` to `first[i + 1]` are the neighbours of atom i, each pair stands twice. `pair` (s, s) numbers pairs
    of species, `knots` (pairs, k) has `n_knots` of each filled, `column` (pairs, k) is the coefficient or -1.
    """
    value, slope = np.empty(4), np.empty(4)
    for i in range(len(kinds)):
        for at in range(first[i], first[i + 1]):
            p = pair[kinds[i], kinds[neighbour[at]]]
            r = distance[at]
            if r < knots[p, 0] or r >= knots[p, n_knots[p] - 1]:
                continue
            begin = cubic(r, knots[p], n_knots[p], value, slope)
            for k in range(4):
                c = column[p, begin + k]
                if c < 0:
                    continue
                energy[c] += 0.5 * value[k]
                push = slope[k] / r
                for x in range(3):
                    force[c, i, x] += push * vector[at, x]
                _add_virial(virial[c], 0.5 * push, vector[at], vector[at])


@numba.njit(cache=True)
def _add_virial(virial: Array, scale: float, a: Array, b: Array) -> None:
    """Add scale a b to a virial in the order xx, yy, zz, yz, xz, xy."""
    virial[0] += scale * a[0] * b[0]
    virial[1] += scale * a[1] * b[1]
    virial[2] += scale * a[2] * b[2]
    virial[3] += scale * a[1] * b[2]
    virial[4] += scale * a[0] * b[2]
    virial[5] += scale * a[0] * b[1]


@numba.njit(cache=True)
def densities(
    kinds: Ints, first: Ints, neighbour: Ints, distance: Array, shape: Array, rho: Array, slope: Array
) -> None:
    """Write the density at each atom, `rho` (n,), and d(phi)/dr of each neighbour, `slope`.

    `shape` (s, s, 3): weight, inner and outer radius of what a species (second) gives to another (first).
    """
    for i in range(len(kinds)):
        for at in range(first[i], first[i + 1]):
            weight = shape[kinds[i], kinds[neighbour[at]], 0]
            inner = shape[kinds[i], kinds[neighbour[at]], 1]
            outer = shape[kinds[i], kinds[neighbour[at]], 2]
            r = distance[at]
            slope[at] = 0.0
            if weight == 0.0 or r >= outer:
                continue
            if r <= inner:
                rho[i] += weight
                continue
            t = (r - inner) / (outer - inner)
            rho[i] += weight * (1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t * t))
            slope[at] = -30.0 * weight * (t * (1.0 - t)) ** 2 / (outer - inner)


@numba.njit(cache=True)
def embedding(
    kinds: Ints,
    first: Ints,
    neighbour: Ints,
    vector: Array,
    distance: Array,
    rho: Array,
    density_slope: Array,
    knots: Array,
    n_knots: Ints,
    column: Ints,
    energy: Array,
    force: Array,
    virial: Array,
) -> None:
    """Add the rows of embedding splines: E = sum over atoms of B_c(rho_i), straight on beyond the last knot.

    `knots` and `column` are per species of the embedded atom.
    """
    value, slope = np.empty(4), np.empty(4)
    for i in range(len(kinds)):
        s = kinds[i]
        if n_knots[s] == 0:
            continue
        largest = knots[s, n_knots[s] - 1]
        beyond = max(rho[i] - largest, 0.0)
        begin = cubic(min(rho[i], largest), knots[s], n_knots[s], value, slope)
        for k in range(4):
            c = column[s, begin + k]
            if c < 0:
                continue
            energy[c] += value[k] + slope[k] * beyond
            if slope[k] == 0.0:
                continue
            for at in range(first[i], first[i + 1]):
                if density_slope[at] == 0.0:
                    continue
                push = slope[k] * density_slope[at] / distance[at]
                j = neighbour[at]
                for x in range(3):
                    force[c, i, x] += push * vector[at, x]
                    force[c, j, x] -= push * vector[at, x]
                _add_virial(virial[c], push, vector[at], vector[at])


@numba.njit(cache=True)
def three_body(
    kinds: Ints,
    first: Ints,
    neighbour: Ints,
    vector: Array,
    distance: Array,
    pair: Ints,
    leg_knots: Array,
    n_leg_knots: Ints,
    far_knots: Array,
    n_far_knots: Ints,
    offset: Ints,
    column: Ints,
    energy: Array,
    force: Array,
    virial: Array,
) -> None:
    """Add the rows of triples: E = sum over i, pairs of neighbours j, k of B_a(r_ij) B_b(r_ik) B_c(r_jk).

    `leg_knots`, of the distances ij and ik, are per pair of species; `far_knots`, of jk, per triple
    t = (s_i S + s_j) S + s_k for S species. The coefficient of (a, b, c) is
    `column[offset[t] + (a n_ik + b) n_jk + c]`, -1 for none.
    """
    most = 0
    for i in range(len(kinds)):
        most = max(most, first[i + 1] - first[i])
    leg = np.empty((most, 4))
    leg_slope = np.empty((most, 4))
    begin = np.empty(most, dtype=np.int64)
    far, far_slope, across = np.empty(4), np.empty(4), np.empty(3)
    for i in range(len(kinds)):
        start, n = first[i], first[i + 1] - first[i]
        for j in range(n):
            p = pair[kinds[i], kinds[neighbour[start + j]]]
            r = distance[start + j]
            begin[j] = -1
            if leg_knots[p, 0] <= r < leg_knots[p, n_leg_knots[p] - 1]:
                begin[j] = cubic(r, leg_knots[p], n_leg_knots[p], leg[j], leg_slope[j])
        for j in range(n - 1):
            if begin[j] < 0:
                continue
            atom_j, kind_j = neighbour[start + j], kinds[neighbour[start + j]]
            for k in range(j + 1, n):
                if begin[k] < 0:
                    continue
                atom_k, kind_k = neighbour[start + k], kinds[neighbour[start + k]]
                for x in range(3):
                    across[x] = vector[start + k, x] - vector[start + j, x]
                r_jk = np.sqrt(across[0] ** 2 + across[1] ** 2 + across[2] ** 2)
                t = (kinds[i] * len(pair) + kind_j) * len(pair) + kind_k
                if r_jk < far_knots[t, 0] or r_jk >= far_knots[t, n_far_knots[t] - 1]:
                    continue
                begin_far = cubic(r_jk, far_knots[t], n_far_knots[t], far, far_slope)
                n_far = n_far_knots[t] - 4
                n_ik = n_leg_knots[pair[kinds[i], kind_k]] - 4
                base = offset[t]
                r_ij, r_ik = distance[start + j], distance[start + k]
                for a in range(4):
                    for b in range(4):
                        row = base + ((begin[j] + a) * n_ik + begin[k] + b) * n_far + begin_far
                        ab = leg[j, a] * leg[k, b]
                        d_ij = leg_slope[j, a] * leg[k, b] / r_ij
                        d_ik = leg[j, a] * leg_slope[k, b] / r_ik
                        for g in range(4):
                            c = column[row + g]
                            if c < 0:
                                continue
                            energy[c] += ab * far[g]
                            push_ij, push_ik = d_ij * far[g], d_ik * far[g]
                            push_jk = ab * far_slope[g] / r_jk
                            for x in range(3):
                                f_ij = push_ij * vector[start + j, x]
                                f_ik = push_ik * vector[start + k, x]
                                f_jk = push_jk * across[x]
                                force[c, i, x] += f_ij + f_ik
                                force[c, atom_j, x] += f_jk - f_ij
                                force[c, atom_k, x] -= f_jk + f_ik
                            _add_virial(virial[c], push_ij, vector[start + j], vector[start + j])
                            _add_virial(virial[c], push_ik, vector[start + k], vector[start + k])
                            _add_virial(virial[c], push_jk, across, across)
