"""Docker's answers in our types."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from netns.driver.docker_facts import network_fact
from netns.driver.facts import NetworkFact


def test_a_network() -> None:
    document = {
        "Id": "a", "Name": "acme", "Driver": "egress:latest", "Options": {"tenant": "acme"},
        "IPAM": {"Config": [{"Subnet": "172.20.0.0/16", "Gateway": "172.20.0.1"}]},
    }  # fmt: skip
    assert network_fact(document) == NetworkFact(
        "a", "acme", "egress", "acme", IPv4Network("172.20.0.0/16"), IPv4Address("172.20.0.1")
    )


@pytest.mark.parametrize(
    "ipam", [None, {}, {"Config": None}, {"Config": []}, {"Config": [{"Subnet": "fd00::/64"}]}]
)
def test_a_network_without_ipv4(ipam: object) -> None:
    fact = network_fact({"Id": "a", "Name": "none", "Driver": "null", "Options": None, "IPAM": ipam})
    assert (fact.pool, fact.gateway, fact.tenant) == (None, None, "")
