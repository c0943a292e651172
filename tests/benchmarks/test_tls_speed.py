"""Speed of annealing: spin flips per second, and what the paper's 10 000 realisations would take.

Measured with the printed protocol (42 temperatures, 257 sweeps, J_0 = 2 K) on one of two shared cores (load 6 to
10), processor time:

====  ============  ===================  ==================  =======================
L     s per sample  flips tried per s    flips done per s    10 000 samples, 1 core
====  ============  ===================  ==================  =======================
8     0.06          4.8e7                8.8e6               10 min
12    0.39          2.4e7                4.4e6               1.1 h
====  ============  ===================  ==================  =======================

Beside the same sweeps in C (gcc -O3 -march=native -ffast-math, xoshiro256**), by turns at load 5, best of five:
0.90 of its flips per second at L = 8 and 1.03 at L = 12, where the matrix does not fit the caches of a core.

The damping of a beam at one temperature takes 0.03 ms (Eq. 2 with one integral in closed form); a fit of 40 points
0.2 to 0.5 s.
"""

import shutil
import subprocess
import time

import numpy as np
import pytest

from cascade_driver.relaxation.tls.glass import Annealing, Glass, _compiled, anneal, draw_sample, warm_up

pytestmark = pytest.mark.benchmark

#: Flips per second, of those of plain C at least: as is aimed at for L = 12.
LEAST_RATIO = {8: 0.8, 12: 0.9}

_C = r"""
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static uint64_t s[4] = {1, 2, 3, 4};
static uint64_t turned(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
static double drawn(void) {
  uint64_t r = turned(s[1] * 5, 7) * 9, t = s[1] << 17;
  s[2] ^= s[0]; s[3] ^= s[1]; s[1] ^= s[2]; s[0] ^= s[3]; s[2] ^= t; s[3] = turned(s[3], 45);
  return (r >> 11) * 0x1.0p-53;
}
int main(int argc, char **argv) {
  int n = atoi(argv[1]), rungs = atoi(argv[2]), sweeps = atoi(argv[3]);
  double *h = malloc(8 * n), *J = malloc(8 * (size_t)n * n), *T = malloc(8 * rungs);
  double *spin = malloc(8 * n), *bias = malloc(8 * n);
  FILE *f = fopen(argv[4], "rb");
  if (fread(h, 8, n, f) + fread(J, 8, (size_t)n * n, f) + fread(T, 8, rungs, f) == 0) return 1;
  for (int i = 0; i < n; i++) spin[i] = drawn() < 0.5 ? -1 : 1;
  for (int i = 0; i < n; i++) {
    bias[i] = h[i];
    for (int j = 0; j < n; j++) bias[i] += J[(size_t)i * n + j] * spin[j];
  }
  long flips = 0;
  clock_t start = clock();
  for (int t = 0; t < rungs; t++) for (int k = 0; k < sweeps; k++) for (int i = 0; i < n; i++) {
    double x = -2 * spin[i] * bias[i] / T[t];
    if (x > 70 || (x > -70 && drawn() * (1 + exp(x)) >= 1)) continue;
    spin[i] = -spin[i];
    double change = 2 * spin[i];
    const double *row = J + (size_t)i * n;
    for (int j = 0; j < n; j++) bias[j] += change * row[j];
    flips++;
  }
  printf("%ld %.9g\n", flips, (double)(clock() - start) / CLOCKS_PER_SEC);
  return 0;
}
"""


@pytest.mark.parametrize("size", [8, 12])
def test_annealing(benchmark, size):
    warm_up()
    generator = np.random.default_rng(1)
    sample = draw_sample(Glass(size=size, interaction_K=2.0), generator=generator)
    benchmark.pedantic(lambda: anneal(sample, Annealing(), generator=generator), rounds=3)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.parametrize("size", [8, 12])
def test_flips_per_second_are_those_of_a_plain_loop_in_c(size, tmp_path):
    warm_up()
    generator, annealing = np.random.default_rng(1), Annealing()
    sample = draw_sample(Glass(size=size, interaction_K=2.0), generator=generator)
    n, ladder, program = len(sample.field_K), annealing.ladder_K, tmp_path / "flips"
    np.concatenate([sample.field_K, sample.coupling_K.ravel(), ladder]).tofile(tmp_path / "sample")
    (tmp_path / "flips.c").write_text(_C)
    options = ["-O3", "-march=native", "-ffast-math"]
    subprocess.run(["gcc", *options, str(tmp_path / "flips.c"), "-o", str(program), "-lm"], check=True)
    command = [str(program), str(n), str(len(ladder)), str(annealing.sweeps), str(tmp_path / "sample")]
    sweep, *_ = _compiled()
    ours, plain = [], []
    for _ in range(5):  # by turns: what else the machine does hits both alike
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        plain.append(int(said[0]) / float(said[1]))
        spins = np.where(generator.random(n) < 0.5, -1.0, 1.0)
        bias, flips, start = sample.bias_K(spins), 0, time.process_time()
        for temperature in ladder:
            flips += sweep(spins, bias, sample.coupling_K, temperature, annealing.sweeps, generator)
        ours.append(flips / (time.process_time() - start))
        assert flips == pytest.approx(int(said[0]), rel=0.02)  # the same work
    print(
        f"L = {size}: {max(ours):.3g} flips per second, in C {max(plain):.3g}, ratio {max(ours) / max(plain):.2f}"
    )
    assert max(ours) > LEAST_RATIO[size] * max(plain)
