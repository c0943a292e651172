"""The search on a real engine, in a small box: resumed to the same attempts, refused where it is another."""

import dataclasses
import json

import pytest
from searches import SMALL_SEARCH

from cascade_driver.errors import InputError, RecordError
from cascade_driver.schema import plain
from cascade_driver.threshold_run import open_search, plan_search, said_of_plan, work_on_search
from cascade_driver.thresholds.search import name_of, read_direction, stage_of


def written(folder, *, count=2, most=4, more=""):
    path = folder / "small.toml"
    directions = f'scheme = "symmetry", count = {count}'
    path.write_text(SMALL_SEARCH.format(directions=directions, most=most) + more)
    return path


def done(planned):
    work_on_search(planned, observe=lambda _: None, executor="serial")
    places = [(0, k) for k in range(len(planned.plan.groups[0].vectors))]
    return [planned.tasks.direction(*place) for place in places]


def answers(direction):
    return [dataclasses.replace(a, cpu_s=0.0) for a in direction.attempts]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    planned = plan_search(written(folder), out=folder / "out")
    return planned, done(planned)


def test_a_search_that_died_goes_on_to_the_same_attempts(searched, tmp_path):
    _, before = searched
    again = plan_search(written(tmp_path), out=tmp_path / "out")
    # What a worker leaves that died at its second attempt.
    begun = dataclasses.replace(before[0], attempts=before[0].attempts[:1])
    again.tasks.partial(0, 0).write_text(json.dumps(plain(begun)))
    after = done(again)
    assert [answers(one) for one in after] == [answers(one) for one in before]
    assert not list((tmp_path / "out" / "directions").glob("*.partial.json"))
    assert after[0].attempts[0].cpu_s == before[0].attempts[0].cpu_s


def test_what_is_finished_is_not_done_again(searched):
    planned, _ = searched
    progress = work_on_search(open_search(planned.directory.path), observe=lambda _: None, executor="serial")
    assert (progress.done_here, progress.done) == (0, 2)


def test_more_directions_may_be_added_and_nothing_else_changed(searched, tmp_path):
    planned, _ = searched
    with pytest.raises(InputError, match="holds another search"):
        plan_search(written(tmp_path, most=5), out=planned.directory.path)
    more = plan_search(written(tmp_path, count=3), out=planned.directory.path)
    assert more.plan.size == 3
    assert more.tasks.done() == 2
    plan_search(written(tmp_path, count=3), out=planned.directory.path)
    with pytest.raises(InputError, match="holds another search"):
        plan_search(written(tmp_path, count=2), out=planned.directory.path)


def test_a_damaged_direction_is_named(searched, tmp_path):
    path = tmp_path / "0-00000.json"
    path.write_text('{"schema_version": 1, "group": 0')
    with pytest.raises(RecordError, match=r"0-00000\.json"):
        read_direction(path)


def test_stages_double():
    assert [name_of(1, 12), stage_of(63), stage_of(64)] == ["1-00012", 3, 4]


def test_a_site_that_the_crystal_has_not_is_refused(tmp_path):
    path = written(tmp_path)
    path.write_text(path.read_text().replace('species = "Si"', 'species = "Si"\nsite = 2'))
    with pytest.raises(InputError, match="site 2, but there are 1"):
        plan_search(path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_plan_of_a_campaign_is_no_search_and_vice_versa(tmp_path):
    (tmp_path / "campaign.json").write_text("{}")
    with pytest.raises(InputError, match="holds a campaign"):
        plan_search(written(tmp_path), out=tmp_path)
    with pytest.raises(InputError, match=r"no threshold\.json"):
        open_search(tmp_path)


def test_a_rule_of_the_temperature_is_that_of_campaigns(tmp_path):
    # 3/8 of 645 K, the Debye temperature of silicon (Kittel, Introduction to Solid State Physics, ch. 5, table 1),
    # in whole kelvin, as the published 133 K of CaWO4.
    path = written(tmp_path)
    path.write_text(path.read_text().replace("temperature_K = 30", 'temperature = "zero-point-energy"'))
    planned = plan_search(path, out=tmp_path / "out")
    assert planned.plan.protocol.thermal.temperature_K == pytest.approx(3 / 8 * 645, abs=0.5)


def test_a_shipped_potential_is_known_in_its_crystal(tmp_path):
    planned = plan_search(written(tmp_path), out=tmp_path / "out")
    assert not any("never checked" in line for line in said_of_plan(planned))
