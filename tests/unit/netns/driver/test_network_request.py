"""What `docker network create -d egress` may ask for (issue 2: unknown option, tenant that does not exist)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from netns.driver.messages import CreateNetwork
from netns.driver.network_request import Surroundings, network_of
from netns.driver.refusal import DriverRefused
from netns.plumbing import Network

ID = "a" * 64
AROUND = Surroundings(
    driver="egress",
    tenants={"acme"},
    tenants_dir="/etc/egress/tenants",
    taken=(),
    uplink=IPv4Network("10.200.0.0/30"),
    servers=(IPv4Address("192.168.9.53"),),
)


def message(**changes: Any) -> CreateNetwork:
    body: dict[str, Any] = {
        "NetworkID": ID,
        "Options": {"com.docker.network.generic": {"tenant": "acme"}},
        "IPv4Data": [{"AddressSpace": "LocalDefault", "Pool": "172.20.0.0/16", "Gateway": "172.20.0.1/16"}],
        "IPv6Data": [],
    }
    return CreateNetwork.model_validate(body | changes)


def options(**values: Any) -> dict[str, Any]:
    return {"com.docker.network.generic": values}


def pool(text: str, gateway: str = "") -> list[dict[str, str]]:
    first = str(next(IPv4Network(text).hosts()))
    return [{"Pool": text, "Gateway": f"{gateway or first}/{text.partition('/')[2]}"}]


def test_the_network_that_docker_asks_for() -> None:
    expected = Network(ID, "acme", IPv4Network("172.20.0.0/16"), IPv4Address("172.20.0.1"))
    assert network_of(message(), AROUND) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Options": {}}, "add --opt tenant=NAME"),
        ({"Options": {"com.docker.network.generic": None}}, "add --opt tenant=NAME"),
        ({"Options": {"com.docker.network.generic": "x"}}, "--opt tenant=NAME"),
        ({"Options": options(tenant="")}, "add --opt tenant=NAME"),
        ({"Options": options(tenant="Acme")}, "'Acme' is no tenant name"),
        ({"Options": options(tenant="../x")}, "is no tenant name"),
        ({"Options": options(tenant="a" * 33)}, "is no tenant name"),
        ({"Options": options(tenant="acme\n")}, "is no tenant name"),
        ({"Options": options(tenant="zeta")}, "egress tenant add zeta"),
        ({"Options": options(tenant="acme", mtu="9000")}, "unknown network option 'mtu'"),
        ({"Options": options(tenant="acme") | {"com.docker.network.enable_ipv6": True}}, "without --ipv6"),
        ({"IPv6Data": [{"Pool": "fd00::/64"}]}, "without --ipv6"),
        ({"Options": options(tenant="acme") | {"com.docker.network.internal": True}}, "--internal"),
        ({"IPv4Data": []}, "exactly one IPv4 pool"),
        ({"IPv4Data": None}, "exactly one IPv4 pool"),
        ({"IPv4Data": pool("10.1.0.0/16") + pool("10.2.0.0/16")}, "exactly one IPv4 pool"),
        ({"IPv4Data": [{"Pool": "0.0.0.0/0", "Gateway": ""}]}, "leave out --gateway and --ipam-driver"),
        ({"IPv4Data": pool("8.8.8.0/24")}, "not private"),
        ({"IPv4Data": pool("169.254.0.0/16")}, "not private"),
        ({"IPv4Data": pool("127.5.0.0/16")}, "not private"),
        ({"IPv4Data": pool("172.0.0.0/8")}, "not private"),
        ({"IPv4Data": pool("10.200.0.0/24")}, "overlaps the gateway's uplink"),
        (
            {"IPv4Data": pool("192.168.9.0/24")},
            "contains 192.168.9.53, which the gateway itself has to reach",
        ),
        ({"IPv4Data": pool("10.1.0.0/16", "10.2.0.1")}, "is no host address"),
        ({"IPv4Data": pool("10.1.0.0/16", "10.1.0.0")}, "is no host address"),
    ],
)
def test_refused_with_what_to_write(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DriverRefused) as refused:
        network_of(message(**changes), AROUND)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_pool_that_another_tenant_has_is_refused() -> None:
    other = Network("c" * 64, "zeta", IPv4Network("172.20.128.0/24"), IPv4Address("172.20.128.1"))
    with pytest.raises(DriverRefused, match=r"overlaps 172\.20\.128\.0/24 of tenant zeta"):
        network_of(message(), replace(AROUND, taken=(other,)))


def test_the_same_network_again_is_no_collision() -> None:
    same = network_of(message(), AROUND)
    assert network_of(message(), replace(AROUND, taken=(same,))) == same
