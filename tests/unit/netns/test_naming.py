"""Names and the kernel's memory of ours: what is written can be read back, and nothing else is taken for it."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from netns.naming import (
    MAX_ALIAS,
    MAX_COMMENT,
    MAX_INTERFACE,
    alias,
    attachment_of,
    comment,
    container_interface,
    is_mac,
    network_of,
    tenant_interface,
    uplink_peer,
)
from netns.plumbing import Attachment, Network, PlumbingError

ENDPOINT, NETWORK = "0123456789abcdef" * 4, "f" * 64
MAC = "02:42:ac:1f:00:02"
ATTACHMENT = Attachment(ENDPOINT, NETWORK, "acme", IPv4Address("172.31.0.2"), MAC)
POOL = IPv4Network("172.31.0.0/24")


def test_both_ends_fit_the_kernels_limit_and_belong_together():
    name = tenant_interface(ENDPOINT)
    assert name == "t-0123456789ab"
    assert container_interface(name) == "c-0123456789ab"
    assert len(name) <= MAX_INTERFACE


def test_a_taken_name_gives_way_to_another_stretch_of_the_id():
    first = tenant_interface(ENDPOINT)
    second = tenant_interface(ENDPOINT, {first})
    assert second not in {first, ""}
    everything = {"t-" + ENDPOINT[i : i + 12] for i in range(64)}
    with pytest.raises(PlumbingError, match="no free link name"):
        tenant_interface(ENDPOINT, everything)


@pytest.mark.parametrize("instance", ["egress", "egresslab", "a" * 15, "abcdefgh-ijklmn"])
def test_the_uplinks_peer_fits_and_differs_between_instances(instance):
    assert len(uplink_peer(instance)) <= MAX_INTERFACE
    assert uplink_peer(instance) != uplink_peer(instance[:-1] + "z")


def test_an_alias_is_read_back_with_the_neighbours_mac():
    assert attachment_of(alias(ATTACHMENT), MAC) == ATTACHMENT
    longest = replace(ATTACHMENT, tenant="a" * 32, address=IPv4Address("172.131.100.200"))
    assert len(alias(longest)) <= MAX_ALIAS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "egress1",
        "egress1 uplink instance=egress",
        alias(ATTACHMENT) + " more",
        alias(ATTACHMENT)[:-1] + "999.9",
    ],
)
def test_another_alias_is_nobodys(text):
    assert attachment_of(text, MAC) is None


@pytest.mark.parametrize(
    "change", [{"endpoint": "x" * 64}, {"endpoint": "a"}, {"network": ""}, {"tenant": "a b"}, {"tenant": "A"}]
)
def test_what_cannot_be_written_as_an_alias_is_refused(change):
    with pytest.raises(PlumbingError, match="64 hex digits"):
        alias(replace(ATTACHMENT, **change))


def test_a_networks_comment_is_read_back():
    network = Network(NETWORK, "a" * 32, POOL, IPv4Address("172.131.100.200"))
    assert len(comment(network)) <= MAX_COMMENT
    assert network_of(POOL, comment(network)) == network
    assert network_of(POOL, comment(network) + "1 ") is None
    assert network_of(POOL, f"{NETWORK} acme 999.1.1.1") is None


@pytest.mark.parametrize("tenant", ["a" * 33, "acme-", "1acme", ""])
def test_what_is_no_tenants_name_is_refused_with_the_grammar(tenant):
    with pytest.raises(PlumbingError, match="use up to 32 of a-z, 0-9 and '-', a letter first"):
        comment(Network(NETWORK, tenant, POOL, IPv4Address("172.31.0.1")))
    with pytest.raises(PlumbingError, match="use up to 32 of a-z, 0-9 and '-', a letter first"):
        alias(replace(ATTACHMENT, tenant=tenant))


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (MAC, True),
        ("03:42:ac:1f:00:02", False),
        ("02:42:AC:1f:00:02", False),
        ("02:42:ac:1f:00", False),
        ("", False),
    ],
)
def test_macs_are_lower_case_and_unicast(text, good):
    assert is_mac(text) is good
