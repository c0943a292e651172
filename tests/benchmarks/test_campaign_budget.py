"""What a cascade needs: peak memory of its process, and bytes that are kept of it, by size of box.

Measured with CaWO4, the record with a short track (5 kB; a long flight brings it to 12 kB):

======  ===================  ==================  ========================
atoms   peak of a process    kept per cascade    box and one snapshot
======  ===================  ==================  ========================
1 536   135 MiB              37 kB               0.24 MB
6 144   141 MiB              133 kB              0.96 MB
49 152  241 MiB              1.1 MB              about 8 MB
======  ===================  ==================  ========================

So the final structure decides: 22 bytes per atom. 49 152 atoms were measured in the same steps without a full
quench (read, 21 steps, three iterations, census, structure), and its last column is scaled from the smaller boxes;
a quench to the end of a box that large takes minutes.
"""

import pytest

from cascade_driver.workflow import plan_run, work_on

pytestmark = pytest.mark.benchmark

INPUT = """
[crystal]
name = "CaWO4"
repeats = {repeats}
[potential]
name = "cawo4-pbe-spline"
[thermal]
equilibration_ps = 0.02
snapshot_interval_ps = 0.01
[follow]
duration_ps = 0.02
max_displacement_A = 0.05
max_timestep_fs = 2
border = {{ width_A = 4, damping_ps = 0.1 }}
[[recoils]]
species = "W"
recoil_energies_eV = [40]
directions = {{ scheme = "symmetry", count = 1 }}
snapshots = 1
"""


@pytest.mark.parametrize(
    ("atoms", "repeats"),
    [(1536, [4, 4, 4]), (6144, [8, 8, 4])],
    ids=["1536", "6144"],
)
def test_memory_and_disk_of_a_cascade(tmp_path, capsys, atoms, repeats):
    path = tmp_path / "x.toml"
    path.write_text(INPUT.format(repeats=repeats))
    planned = plan_run(path, out=tmp_path / "run")
    work_on(planned, workers=1, observe=lambda _: None)
    rows, _ = planned.directory.index.read()
    (row,) = rows.values()
    starts = sum(f.stat().st_size for f in planned.directory.starts(planned.campaign).iterdir())
    with capsys.disabled():
        print(
            f"\n{atoms} atoms: peak {row.peak_memory_MiB:.0f} MiB, kept {row.kept_bytes / 1e3:.0f} kB, of them "
            f" {row.size / 1e3:.0f} kB record; box and one snapshot {starts / 1e6:.2f} MB; {row.outcome}"
        )
    assert row.peak_memory_MiB < 1000
