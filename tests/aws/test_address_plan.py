"""The address plan: nothing overlaps, and nothing moves."""

from ipaddress import IPv4Network
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from infra.targets.aws.cidr import Tier, subnet_cidr

letters = st.sets(st.sampled_from("abcdefgh"), min_size=1, max_size=8)
vpcs = st.builds(
    lambda prefix, bits: str(IPv4Network((0x0A000000 | bits & 0xFFFFFF, prefix), strict=False)),
    st.integers(16, 20),
    st.integers(0, 2**24 - 1),
)


def subnets(vpc: str, zones: set[str]) -> dict[tuple[Tier, str], IPv4Network]:
    return {(tier, z): IPv4Network(subnet_cidr(vpc, tier, f"eu-central-1{z}")) for tier in Tier for z in zones}


@given(vpcs, letters)
def test_subnets_lie_in_the_vpc_and_do_not_overlap(vpc, zones):
    ranges = list(subnets(vpc, zones).values())
    assert all(IPv4Network(vpc).supernet_of(subnet) for subnet in ranges)
    assert not any(a.overlaps(b) for a, b in combinations(ranges, 2))


@given(vpcs, letters, letters)
def test_adding_zones_moves_no_subnet(vpc, zones, more):
    before, after = subnets(vpc, zones), subnets(vpc, zones | more)
    assert before.items() <= after.items()


def test_the_plan_is_the_one_that_is_deployed():
    """Whatever is added comes behind: these ranges are in use."""
    found = {tier: subnet_cidr("10.64.0.0/16", tier, "eu-central-1b") for tier in Tier}
    assert found == {Tier.PUBLIC: "10.64.8.0/21", Tier.PRIVATE: "10.64.72.0/21", Tier.ISOLATED: "10.64.136.0/21"}


@given(vpcs, letters)
def test_each_subnet_has_room(vpc, zones):
    """AWS takes nothing smaller than /28; a node takes an address for each pod."""
    assert all(subnet.prefixlen <= 25 for subnet in subnets(vpc, zones).values())


@given(vpcs, letters)
def test_a_spare_tier_is_left(vpc, zones):
    used = sum(network.num_addresses for network in subnets(vpc, set("abcdefgh")).values())
    assert used <= IPv4Network(vpc).num_addresses * 3 // 4
