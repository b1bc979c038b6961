"""Cost and right-sizing: packing, break-even, and proposals from measured use."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from infra.insight.cost import PRICES, MachineType, Need, Prices, cost, pack, price_table, staleness
from infra.insight.usage import Samples, UsageError, p95, proposals, read_export
from infra.placement import place
from infra.spec import load_spec

ROOT = Path(__file__).parents[2]
GIB = 2**30


@pytest.fixture
def plan():
    return place(load_spec(ROOT / "platform.yaml"))


@pytest.fixture
def prices():
    return price_table().model_copy(
        update={
            "machines": {
                "small": MachineType(cpu=2, gib=4, price=0.05, source="memory"),
                "large": MachineType(cpu=8, gib=32, price=0.4, source="memory"),
            },
            "hours_a_month": 100,
        }
    )


def test_pods_are_packed_beside_the_nodes_own_reserve(prices):
    # A small node has 1.7 CPUs and 3 GiB for pods.
    assert pack([Need("x", 0.8, GIB)] * 2, prices).count == 1
    assert pack([Need("x", 0.9, GIB)] * 2, prices).count == 2
    assert pack([Need("x", 0.1, 2 * GIB)] * 2, prices).count == 2


def test_the_cheapest_nodes_win_and_what_fits_on_none_is_none(prices):
    assert pack([Need("x", 0.5, GIB // 2)] * 3, prices).machine == "small"
    assert pack([Need("x", 4, GIB)], prices).machine == "large"
    assert pack([Need("x", 9, GIB)], prices) is None


def test_a_cluster_pays_for_its_control_plane(prices):
    assert pack([Need("x", 0.5, GIB)], prices).month == pytest.approx(100 * 0.05 + 100 * 0.10)


def test_a_sandbox_costs_what_it_takes(prices, plan):
    sandbox = prices.reserve.sandbox.model_copy(update={"cpu": 1.2})
    heavy = prices.model_copy(
        update={
            "machines": {"small": prices.machines["small"]},
            "reserve": prices.reserve.model_copy(update={"sandbox": sandbox}),
        }
    )
    assert (cost(plan, prices).nodes.count, cost(plan, heavy).nodes.count) == (1, 2)


def test_the_break_even_is_where_the_cluster_becomes_cheaper(plan):
    prices = price_table()
    found = cost(plan, prices).break_even
    elastic = [Need("x", 0.25, 107 * 2**20)]
    vm = prices.month("t3.micro")
    assert pack(elastic * found, prices).month < found * vm
    assert pack(elastic * (found - 1), prices).month >= (found - 1) * vm


def test_totals_add_up(plan):
    priced = cost(plan, price_table())
    assert [name for name, *_ in priced.vms] == ["ledger", "tariffs"]
    assert priced.month == pytest.approx(sum(row[3] for row in priced.vms) + priced.nodes.month + priced.disks_month)
    assert priced.nodes.pods == 3
    assert priced.too_large == ()


def test_what_is_stale_is_told_in_plain_words():
    one = staleness({"disks": "2026-01-01"})
    assert one == "the price of disks is stale, of 2026-01-01: compare with it, do not budget with it"
    two = staleness({"disks": "2026-01-01", "the control plane": "2025-06-13"})
    assert two == "2 prices are stale, the oldest of 2025-06-13: compare with them, do not budget with them"


def test_an_old_price_is_stale_and_a_new_one_beside_it_is_not():
    prices = price_table()
    oldest = min(source.day for source in prices.sources.values())
    last_good_day = oldest + timedelta(days=prices.stale_after_days)
    assert prices.stale(last_good_day) == {}
    assert list(prices.stale(last_good_day + timedelta(days=1))) == ["disks"]
    everything = set(prices.machines) | {"disks", "the control plane"}
    assert set(prices.stale(date(2030, 1, 1))) == everything


def test_every_price_names_where_and_of_which_day_it_was_read():
    prices = price_table()
    assert all(source.where and source.day <= date.today() for source in prices.sources.values())
    nowhere = yaml.safe_load(PRICES.read_text()) | {"disk": {"price": 1, "source": "hearsay"}}
    with pytest.raises(ValidationError, match="no source is known for the price of disk"):
        Prices.model_validate(nowhere)


def test_p95_is_a_value_that_was_measured():
    assert p95(range(1, 101)) == 95
    assert p95([7.0]) == 7.0


def test_waste_is_named_for_all_copies_and_a_lack_is_negative(plan):
    usage = {
        "web": Samples((0.02,) * 30, (10 * 2**20,) * 30),
        "worker": Samples((0.5,) * 3, (200 * 2**20,) * 3),
    }
    web, worker = proposals(plan, usage)
    assert (web.proposed_cpu, web.proposed_memory, web.is_certain) == (0.03, 16 * 2**20, True)
    assert web.wasted_memory == 2 * 48 * 2**20, "web runs twice"
    assert web.wasted_cpu == pytest.approx(2 * 0.22)
    assert worker.wasted_memory < 0 and not worker.is_certain


@pytest.mark.parametrize("text", ["{", "[1]", '{"web": {"cpu": []}}', '{"web": {"cpu": ["x"], "memory": [1]}}'])
def test_an_export_that_is_none_is_refused_in_one_line(tmp_path, text):
    file = tmp_path / "usage.json"
    file.write_text(text)
    with pytest.raises(UsageError, match="is not a mapping of workloads"):
        read_export(file)


def test_an_export_is_read(tmp_path):
    file = tmp_path / "usage.json"
    file.write_text(json.dumps({"web": {"cpu": [0.1], "memory": [1024]}}))
    assert read_export(file) == {"web": Samples((0.1,), (1024,))}
