"""What `docker network create -d egress` may ask for (issue 2: unknown option, tenant that does not exist).

And which driver names lead dockerd to us.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from posixpath import normpath
from typing import Any

import pytest

from netns.driver.facts import NetworkFact
from netns.driver.messages import CreateNetwork
from netns.driver.network_request import Surroundings, is_ours, is_plain, may_name, network_of, without_tag
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


def paths(name: str) -> set[str]:
    """Where dockerd looks for a plugin's socket: moby `pkg/plugins/discovery.go`, `pluginPaths`."""
    base = "/run/docker/plugins"
    return {normpath(f"{base}/{name}.sock"), normpath(f"{base}/{name}/{name}.sock")}


ALIASES = [
    "./egress", "../plugins/egress", "x/../egress", "x/y/../../egress", "/egress", "//egress", "././egress",
    "egress:/../egress", "../../../run/docker/plugins/egress", "-/../egress",
]  # fmt: skip
ELSEWHERE = [
    "bridge", "overlay", "weave", "weaveworks/net-plugin:latest_release", "vendor/egress:latest",
    "registry.example:5000/vendor/egress", "vendor/egress", "egress2", "my.egress", "my-egress", "egress.sock",
]  # fmt: skip


@pytest.mark.parametrize("name", ALIASES)
def test_a_path_to_our_socket_is_no_plain_name_and_may_be_ours(name: str) -> None:
    assert "/run/docker/plugins/egress.sock" in paths(name), "the control: dockerd finds us by it"
    assert not is_plain(name)
    assert may_name(name, "egress")


@pytest.mark.parametrize(
    "name", ["egress", "egress:latest", "EGRESS", "../../../var/run/docker/plugins/egress"]
)
def test_what_reads_as_ours_may_be_ours(name: str) -> None:
    """The last by a link that every host has: /var/run."""
    assert may_name(name, "egress")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_plain_name_leads_to_its_own_plugin(name: str) -> None:
    """Also that of a managed plugin, whatever its vendor calls it."""
    assert "/run/docker/plugins/egress.sock" not in paths(name), "the control"
    assert is_plain(name)
    assert not may_name(name, "egress")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/", "x/", "x//y", "x/./y", "../../../tmp/x", "../../proc/1/root/tmp/x", "x/..", "x y", "x\n",
     "x%2fy", "x?", "x#", "x\\y", "egr\u0435ss", "x\0", "~"],
)  # fmt: skip
def test_names_that_are_not_plain(name: str) -> None:
    """A path may lead to a specification that anybody wrote, which gives our socket any name."""
    assert not is_plain(name)


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("egress:latest", "egress"),
        ("a:5000/b", "a:5000/b"),
        ("a:5000/b:1", "a:5000/b"),
        ("x:/../y", "x:/../y"),
    ],
)
def test_a_tag_is_what_follows_the_last_name(name: str, without: str) -> None:
    assert without_tag(name) == without


def test_a_network_is_ours_by_its_id_or_by_its_drivers_name() -> None:
    def fact(driver: str) -> NetworkFact:
        return NetworkFact(ID, "n", driver)

    assert is_ours(fact("linked"), "egress", {ID})
    assert is_ours(fact("./egress"), "egress", ())
    assert is_ours(fact("egress"), "egress", ())
    assert not is_ours(fact("bridge"), "egress", {"c" * 64})
