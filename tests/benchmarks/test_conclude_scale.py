"""What it costs to conclude a run: plan and index are read once, and all that follows grows with the cascades.

Measured in a process of its own, CPU seconds and memory beyond that of the program with its libraries (185 MiB):

========== ====================== ======== ======= =======
cascades   plan, index and table  conclude memory  writing
========== ====================== ======== ======= =======
2 000      0.19 s                 19 s     66 MiB
20 000     1.3 s                  26 s     189 MiB 4 s
100 000    7.7 s                  76 s     904 MiB 14 s
========== ====================== ======== ======= =======

Bands of one spectrum, figures and page are most of it for small runs; each further cascade costs 0.6 ms and 9 kB.
At 100 000 half is likelihoods of the law of stored energies and its bootstrap; nothing grows faster than the
cascades. The last column is what making the run costs: its records are hard links of one. 2.3 minutes in all.

Stored energies that refuse every shape stand for themselves. Of 20 000 of a gamma law fit and alternatives take
30 s, as they try the shapes that are refused; response and bands 7 s (40 s before kernels were tabulated).
"""

import dataclasses
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from campaigns import FERMI, LAW, simulate
from fake_engine import a_campaign, a_run, work_of
from scipy import stats

from cascade_driver.analysis.empirical_law import EmpiricalDistribution
from cascade_driver.analysis.model import fit_stored_energy_model
from cascade_driver.campaign.executors import Serial
from cascade_driver.campaign.index import row_of
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.simulation.record import NUMBERS, RECORD_FILE
from cascade_driver.spectra.ensemble import campaign_ensemble, correction_bands
from cascade_driver.spectrum import Spectrum

pytestmark = pytest.mark.benchmark

INPUT = """
[crystal]
name = "Si"
repeats = [1, 1, 1]
[potential]
name = "si-tersoff-zbl"
[[recoils]]
species = "Si"
recoil_energies_eV = [20, 60]
directions = { scheme = "symmetry", count = 1 }
snapshots = 1
[analysis]
extrapolate = true
[[spectra]]
kind = "dm"
target = "Si"
mass_GeV = 1
cross_section_cm2 = 1e-40
energy_eV = [20, 140]
bins = 60
"""


def a_finished_run(folder, size: int) -> RunDirectory:
    """Return a run of `size` cascades whose rows hold stored energies of a known law.

    One record is real; the files of the others are the same file, and the index knows their numbers.
    """
    campaign = a_campaign(energies=np.linspace(20, 160, 10), directions=size // 100, snapshots=10)
    run = a_run(folder, campaign)
    (run.path / "input.toml").write_text(INPUT)
    one = dataclasses.replace(campaign, groups=a_campaign(energies=[20.0], directions=1, snapshots=1).groups)
    Serial().work(work_of(run, one), lambda _: None)
    planned = list(campaign.cascades())
    (done,) = run.finished()
    row = row_of(run.record(done), run.cascades / done)
    rng = np.random.default_rng(1)
    energy = np.array([p.recoil_energy_eV for p in planned])
    stored = np.where(rng.random(size) < FERMI(energy), LAW.quantile(rng.random(size), energy), 0.0)
    index, place = run.index, NUMBERS.index("stored_energy_eV")
    source = run.cascades / done / RECORD_FILE
    for number, (p, value) in enumerate(zip(planned, stored.tolist(), strict=True)):
        folder = run.cascades / p.id
        if number % 30_000 == 29_999:  # file systems allow 65 000 names of a file
            source = Path(shutil.copy2(source, run.path / f"record-{number}"))
        if p.id != done:
            folder.mkdir()
            os.link(source, folder / RECORD_FILE)
        numbers = (*row.numbers[:place], value, *row.numbers[place + 1 :])
        index.add(row._replace(id=p.id, numbers=numbers, outcome="completed"))
    index.close()
    return run


MEASURED = """
import resource, sys, time
from pathlib import Path
from cascade_driver.campaign.contents import contents_of
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.conclusion import conclude
run = RunDirectory(Path(sys.argv[1]))
conclude  # imported
def used():
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_utime + now.ru_stime, now.ru_maxrss / 1024
began, before = used()
contents_of(run).table()
read, _ = used()
found = conclude(run)
end, peak = used()
assert not found.failure, found.failure
print(f"{read - began} {end - read} {before} {peak}")
"""


def measured(run: RunDirectory) -> tuple[float, float, float]:
    """Return CPU seconds to read a run and to conclude it, and MiB beyond the program itself, of a new process."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(run.path)], capture_output=True, text=True, check=True
    )
    read_s, conclude_s, before_MiB, peak_MiB = map(float, done.stdout.split())
    return read_s, conclude_s, peak_MiB - before_MiB


def test_concluding_grows_no_faster_than_the_number_of_cascades(tmp_path, capsys):
    sizes = (20_000, 100_000)
    found = {}
    for size in sizes:
        found[size] = measured(a_finished_run(tmp_path / str(size), size))
        with capsys.disabled():
            read_s, conclude_s, memory_MiB = found[size]
            print(f"\n{size} cascades: read {read_s:.2f} s, conclude {conclude_s:.2f} s CPU, {memory_MiB:.0f} MiB")
    for small, large in itertools.pairwise(sizes):
        ratio = large / small
        assert found[large][1] < ratio * found[small][1]
        assert found[large][2] < ratio * found[small][2]


class GammaLaw:
    """Stored energies that no Gaussian describes, whole or split."""

    def quantile(self, probability, recoil_energy_eV):
        stored = stats.gamma(2.0, scale=0.06 * recoil_energy_eV).ppf(probability)
        return np.minimum(stored, 0.95 * recoil_energy_eV)


def cpu_s_of_a_gamma_law(size: int) -> dict[str, float]:
    """Return CPU seconds of each step from a table of `size` cascades to the bands of a spectrum."""
    rng, energies = np.random.default_rng(1), np.linspace(20, 160, 10)
    table = simulate(
        rng, energies=energies, n_directions=size // 100, n_snapshots=10, law=GammaLaw(), species="Si"
    )
    edges = np.linspace(20, 140, 61)
    falling = -np.diff(np.exp(-edges / 20))
    spectrum = Spectrum.from_counts(energy_edges_eV=edges, counts_per_kg_day={"Si": falling})
    times = [time.process_time()]
    model = fit_stored_energy_model(table)
    assert isinstance(model["Si"].distribution, EmpiricalDistribution)
    times.append(time.process_time())
    ensemble = campaign_ensemble(table, model, rng=rng)
    times.append(time.process_time())
    model.response("Si", edges)
    correction_bands(spectrum, ensemble)
    times.append(time.process_time())
    return dict(zip(("fit", "ensemble", "bands"), np.diff(times).tolist(), strict=True))


def test_data_that_refuse_every_shape_cost_no_more_than_in_proportion(capsys):
    few, many = cpu_s_of_a_gamma_law(4_000), cpu_s_of_a_gamma_law(20_000)
    with capsys.disabled():
        print(f"\n4 000 and 20 000 cascades of a gamma law, CPU s: {few} and {many}")
    assert sum(many.values()) < 5 * sum(few.values())
    # folding is the small part of it: before kernels were tabulated it was more than all fits
    assert many["bands"] < many["fit"] + many["ensemble"]
