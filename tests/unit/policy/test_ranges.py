from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.ranges import Ranges

ADDRESSES = st.integers(0, 2**32 - 1) | st.integers(0x5DB8D800, 0x5DB8DFFF)
NETWORKS = st.builds(lambda a, width: IPv4Network((a, width), strict=False), ADDRESSES, st.integers(20, 32))


@given(networks=st.lists(NETWORKS, max_size=8), address=ADDRESSES.map(IPv4Address))
def test_an_address_is_covered_when_one_of_the_networks_holds_it(
    networks: list[IPv4Network], address: IPv4Address
) -> None:
    found = Ranges(networks).covering(address)
    assert (found is not None) == any(address in network for network in networks)
    assert found is None or address in found


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
