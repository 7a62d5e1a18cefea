from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.ranges import Ranges
from appliance.stepwise import finish

ADDRESSES = st.integers(0, 2**32 - 1) | st.integers(0x5DB8D800, 0x5DB8DFFF)
HALVES = [
    *IPv4Network("0.0.0.0/0").subnets(2),
    IPv4Network("0.0.0.0/1"),
    *IPv4Network("192.0.2.0/28").subnets(2),
]
NETWORKS = st.builds(lambda a, width: IPv4Network((a, width), strict=False), ADDRESSES, st.integers(20, 32))


@given(networks=st.lists(NETWORKS, max_size=8), address=ADDRESSES.map(IPv4Address))
def test_an_address_is_covered_when_one_of_the_networks_holds_it(
    networks: list[IPv4Network], address: IPv4Address
) -> None:
    found = Ranges(networks).covering(address)
    assert (found is not None) == any(address in network for network in networks)
    assert found is None or address in found


@given(networks=st.lists(NETWORKS, max_size=20) | st.lists(st.sampled_from(HALVES), max_size=20))
def test_none_is_within_another_and_halves_are_joined(networks: list[IPv4Network]) -> None:
    assert Ranges(networks).networks == tuple(collapse_addresses(networks))


def test_many_are_taken_in_steps() -> None:
    many = [IPv4Network(f"10.{number // 256}.{number % 256}.0/25") for number in range(2000)]
    assert len(list(Ranges.making(many))) == 4
    assert finish(Ranges.making(reversed(many))) == Ranges(many)


def test_first_and_last_address_and_the_neighbours() -> None:
    ranges = Ranges([IPv4Network("198.51.100.64/26"), IPv4Network("0.0.0.0/32")])
    for last, covered in ((63, False), (64, True), (127, True), (128, False)):
        assert (ranges.covering(IPv4Address(f"198.51.100.{last}")) is not None) is covered
    assert ranges.covering(IPv4Address(0)) == IPv4Network("0.0.0.0/32")
    assert ranges.covering(IPv4Address(1)) is None
    assert Ranges().covering(IPv4Address(0)) is None


def test_the_same_networks_are_the_same_ranges() -> None:
    halves = [IPv4Network("10.0.0.0/9"), IPv4Network("10.128.0.0/9")]
    assert Ranges(halves) == Ranges([IPv4Network("10.0.0.0/8")])
    assert len({Ranges(halves), Ranges([IPv4Network("10.0.0.0/8")]), Ranges()}) == 2
