"""Addresses that somebody has already are told by name; the appliance's own are passed over."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address
from typing import Any

import pytest
from plugin import load

MODULE = load("modules/address_ranges.py")
UPLINK = MODULE.wanted_ranges(["198.18.83.2/30"])


def route(link: str, address: str, mask: str) -> str:
    words = [f"{int.from_bytes(IPv4Address(a).packed, sys.byteorder):08X}" for a in (address, mask)]
    return f"{link}\t{words[0]}\t00000000\t0001\t0\t0\t0\t{words[1]}\t0\t0\t0\n"


def table(*routes: str) -> str:
    return "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n" + "".join(
        routes
    )


def network(name: str, driver: str, *subnets: str) -> dict[str, Any]:
    return {"Name": name, "Driver": driver, "IPAM": {"Config": [{"Subnet": subnet} for subnet in subnets]}}


def test_a_route_takes_its_range() -> None:
    found = MODULE.routes(table(route("eth1", "198.18.0.0", "255.254.0.0")), set())
    assert MODULE.taken(UPLINK, found) == [
        "198.18.83.0/30 overlaps the host's route over eth1 (198.18.0.0/15)"
    ]


def test_the_default_route_its_halves_and_our_own_uplink_take_none() -> None:
    routes = table(
        route("eth0", "0.0.0.0", "0.0.0.0"),
        route("tun0", "128.0.0.0", "128.0.0.0"),
        route("up-egress", "198.18.83.0", "255.255.255.252"),
    )
    assert MODULE.taken(UPLINK, MODULE.routes(routes, {"up-egress"})) == []
    assert MODULE.taken(UPLINK, MODULE.routes(routes, set())) != []


def test_a_network_of_dockers_takes_its_range_unless_it_is_ours() -> None:
    listed = [network("corp", "bridge", "198.18.80.0/22"), network("acme", "egress", "198.18.83.0/24")]
    found = MODULE.of_engine([*listed, network("host", "host"), {"Name": "x", "IPAM": None}], "egress")
    assert MODULE.taken(UPLINK, found) == ["198.18.83.0/30 overlaps Docker's network corp (198.18.80.0/22)"]


def test_ipv6_networks_are_none_of_ours() -> None:
    assert MODULE.of_engine([network("six", "bridge", "fd00::/64", "10.1.0.0/16")], "egress") == [
        ("Docker's network six (10.1.0.0/16)", MODULE.IPv4Network("10.1.0.0/16"))
    ]


def test_an_address_pool_takes_its_range() -> None:
    text = '{"default-address-pools": [{"base": "198.18.0.0/16", "size": 24}], "bip": "10.9.0.1/24"}'
    found = MODULE.of_configuration(text, "daemon.json")
    assert MODULE.taken(UPLINK, found) == [
        "198.18.83.0/30 overlaps an address pool in daemon.json (198.18.0.0/16)"
    ]
    assert [str(used) for _, used in found] == ["198.18.0.0/16", "10.9.0.0/24"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"default-address-pools": 1}', '{"bip": "x"}'])
def test_another_module_refuses_a_broken_configuration(text: str) -> None:
    assert MODULE.of_configuration(text, "daemon.json") == []


@pytest.mark.parametrize("text", ["x", "10.0.0.0/33", "fd00::/64"])
def test_a_wrong_range_is_told_with_its_form(text: str) -> None:
    with pytest.raises(MODULE.Refused, match=r"such as 198\.18\.83\.2/30"):
        MODULE.wanted_ranges([text])


def test_without_an_engine_the_rest_is_looked_at(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = tmp_path / "route"
    routes.write_text(table(route("eth1", "198.18.83.0", "255.255.255.0")))
    monkeypatch.setattr(MODULE, "ROUTES", routes)
    asked = {"ranges": ["10.1.0.0/16"], "driver": "egress", "socket": str(tmp_path / "no.sock")}
    asked["daemon_json"] = str(tmp_path / "daemon.json")
    assert MODULE.look(asked) == {"changed": False, "engine": "absent"}
    with pytest.raises(MODULE.Refused, match=r"overlaps the host's route.*Give the appliance another range"):
        MODULE.look({**asked, "ranges": ["198.18.83.2/30"]})
