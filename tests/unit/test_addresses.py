"""The address table: first, last and neighbouring address of every block (attacks C11, C12, C13)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.addresses import (
    BLOCKED_V4,
    BLOCKED_V6,
    EXCEPTABLE,
    AddressClass,
    blocked_networks_v4,
    classify,
    never_exceptable,
    unwrap,
)
from tests.vectors.addresses import BELOW_TOP_V4, BLOCKS_V4, BLOCKS_V6, HIDDEN, METADATA, PUBLIC, TOP_V4


@pytest.mark.parametrize(("network", "kind"), BLOCKS_V4)
def test_first_last_and_just_outside_of_each_v4_block_c12(network: str, kind: str) -> None:
    block = IPv4Network(network)
    first, last = block.network_address, block.broadcast_address
    for inside in (first, last, first + block.num_addresses // 2):
        found = classify(inside)
        assert not found.is_public
        assert found.kind == kind
        assert found.source
    if int(first):
        assert classify(first - 1).is_public
    assert classify(last + 1).is_public


@pytest.mark.parametrize(("address", "kind"), TOP_V4)
def test_multicast_and_class_e_to_the_end_c12(address: str, kind: str) -> None:
    assert classify(IPv4Address(address)).kind == kind
    assert classify(IPv4Address(BELOW_TOP_V4)).is_public


@pytest.mark.parametrize(("network", "kind"), BLOCKS_V6)
def test_first_and_last_of_each_v6_block_c12(network: str, kind: str) -> None:
    block = IPv6Network(network)
    for inside in (block.network_address, block.broadcast_address):
        found = classify(inside)
        assert not found.is_public
        # Where IPv4 hides inside, the kind is that of what hides.
        assert not kind or found.inner is not None or found.kind == kind


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", False),
        ("2001:200::", True),
        ("2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", False),
        ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", True),
        ("2001:db9::", True),
        ("2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", True),
        ("2003::", True),
        ("2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", True),
        ("2620:4f:8001::", True),
        ("3ffd:ffff:ffff:ffff:ffff:ffff:ffff:ffff", True),
        ("3fff:1000::", True),
        ("4000::", False),
        ("7fff::1", False),
        ("8000::", False),
        ("c000::1", False),
        ("::", False),
        ("::1", False),
        ("::2", False),
    ],
)
def test_edges_of_v6_space_c12(address: str, *, public: bool) -> None:
    assert classify(IPv6Address(address)).is_public is public


@given(st.integers(0, 2**128 - 1).filter(lambda value: value >> 125 != 1).map(IPv6Address))
def test_nothing_outside_global_unicast_is_public(address: IPv6Address) -> None:
    assert not classify(address).is_public


@pytest.mark.parametrize("address", METADATA)
def test_metadata_of_every_cloud_c13(address: str) -> None:
    found = classify(ip_address(address))
    assert found.kind is AddressClass.METADATA
    assert AddressClass.METADATA not in EXCEPTABLE


@pytest.mark.parametrize(("address", "inner"), HIDDEN)
def test_v4_inside_v6_c11(address: str, inner: str) -> None:
    found = classify(IPv6Address(address))
    assert found.inner == IPv4Address(inner)
    assert not found.is_public
    hidden = classify(IPv4Address(inner))
    assert found.kind == (AddressClass.TRANSITION if hidden.is_public else hidden.kind)


@pytest.mark.parametrize(
    ("prefix", "address"),
    [  # the examples of RFC 6052 §2.4 with 192.0.2.33
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
    ],
)
def test_operators_nat64_prefix_of_every_length_c11(prefix: str, address: str) -> None:
    found = unwrap(IPv6Address(address), (IPv6Network(prefix),))
    assert found is not None
    assert found[0] == IPv4Address("192.0.2.33")


def test_an_operators_nat64_prefix_in_public_space_is_looked_through_c11() -> None:
    prefix = IPv6Network("2a00:1234:64::/96")
    inside = IPv6Address("2a00:1234:64::a9fe:a9fe")
    assert classify(inside).is_public
    assert classify(inside, (prefix,)).kind is AddressClass.METADATA
    assert not classify(IPv6Address("2a00:1234:64::808:808"), (prefix,)).is_public


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_stay_public(address: str) -> None:
    found = classify(ip_address(address))
    assert found.is_public
    assert found.block == ""


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_flat_lookup_agrees_with_the_table(address: IPv4Address) -> None:
    holding = [block for block in BLOCKED_V4 if address in block.network]
    found = classify(address)
    assert found.is_public == (not holding)
    if holding:
        narrowest = max(holding, key=lambda block: block.network.prefixlen)
        assert (found.kind, found.block) == (narrowest.kind, str(narrowest.network))


@given(st.sampled_from(BLOCKED_V4 + BLOCKED_V6), st.integers(0))
def test_no_address_of_any_block_is_public(block, offset: int) -> None:
    address = block.network[offset % block.network.num_addresses]
    assert not classify(address).is_public


def test_collapsed_networks_are_the_same_set_without_overlap() -> None:
    networks = blocked_networks_v4()
    assert list(networks) == sorted(networks)
    assert all(not a.overlaps(b) for a, b in pairwise(networks))
    for block in BLOCKED_V4:
        assert any(block.network.subnet_of(network) for network in networks)
    assert sum(n.num_addresses for n in networks) == len_of_union()


def len_of_union() -> int:
    edges = sorted({int(b.network[0]) for b in BLOCKED_V4} | {int(b.network[-1]) + 1 for b in BLOCKED_V4})
    return sum(end - start for start, end in pairwise(edges) if not classify(IPv4Address(start)).is_public)


@pytest.mark.parametrize(
    "network",
    [
        "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "127.0.0.1/32", "127.0.0.0/8", "169.254.0.0/16", "169.254.169.254/32",
        "168.63.129.16/32", "192.0.0.192/32", "100.64.0.0/10", "100.100.100.0/24", "8.8.8.8/32", "192.168.0.0/15",
        "224.0.0.0/4", "255.255.255.255/32", "0.0.0.0/32", "11.0.0.0/8", "8.0.0.0/6",
    ],
)  # fmt: skip
def test_what_no_operator_may_except_g3(network: str) -> None:
    assert never_exceptable(IPv4Network(network)) is not None


@pytest.mark.parametrize(
    "network", ["10.0.0.0/8", "10.20.0.5/32", "172.20.0.0/16", "192.168.1.0/24", "100.64.1.0/24"]
)
def test_what_an_operator_may_except(network: str) -> None:
    assert never_exceptable(IPv4Network(network)) is None


def test_no_exceptable_block_holds_loopback_link_local_or_metadata() -> None:
    never = {AddressClass.LOOPBACK, AddressClass.LINK_LOCAL, AddressClass.METADATA, AddressClass.MULTICAST}
    assert not never & EXCEPTABLE
    assert all(ip_network(str(b.network)) == b.network for b in (*BLOCKED_V4, *BLOCKED_V6))
