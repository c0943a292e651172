"""What a run held earlier: told by the plan and the records, each of which is looked at once, or not at all."""

import dataclasses

import numpy as np
from fake_engine import FakeEngine, a_campaign, a_run, work_of

from cascade_driver.campaign.contents import contents_of, earlier_tables
from cascade_driver.campaign.executors import Serial
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.simulation.engine import Look
from cascade_driver.simulation.outcome import Outcome


class Watched(FakeEngine):
    """Hands out the box at two earlier times; of the first of them it comes to no rest."""

    def follow(self, *, look_at_ps, **more):
        flight = super().follow(**more)
        looks = tuple(Look(time_ps=time_ps, positions_A=self.positions) for time_ps in look_at_ps)
        return dataclasses.replace(flight, looks=looks)

    def set_positions(self, positions_A):
        self.later = getattr(self, "later", 0) + 1
        self.stored_eV = 3.0 * self.later

    def minimise(self, **settings):
        found = super().minimise(**settings)
        return dataclasses.replace(found, largest_force_eV_A=1.0) if self.stored_eV == 3.0 else found


def watched(also_quench_at_ps):
    campaign = a_campaign(directions=1)
    follow = dataclasses.replace(campaign.protocol.follow, also_quench_at_ps=also_quench_at_ps)
    return dataclasses.replace(campaign, protocol=dataclasses.replace(campaign.protocol, follow=follow))


def test_the_tables_of_earlier_times_hold_what_was_stored_then(tmp_path):
    run = a_run(tmp_path, watched((1.0, 2.0)))
    Serial().work(work_of(run, engine=Watched), lambda _: None)
    contents = contents_of(run)
    tables = earlier_tables(run, contents)
    assert list(tables) == [1.0, 2.0]
    np.testing.assert_allclose([table.stored_energy_eV for table in tables.values()], [[3.0] * 2, [6.0] * 2])
    assert set(tables[1.0].outcome) == {Outcome.NOT_QUENCHED.key}
    assert set(tables[2.0].outcome) == {Outcome.COMPLETED.key}
    np.testing.assert_array_equal(tables[1.0].id, contents.table().id)


def test_without_earlier_quenches_no_record_is_read(tmp_path, monkeypatch):
    run = a_run(tmp_path, a_campaign(directions=1))
    Serial().work(work_of(run), lambda _: None)
    contents = contents_of(run)
    monkeypatch.delattr(RunDirectory, "record")
    assert earlier_tables(run, contents) == {}
