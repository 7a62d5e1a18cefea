from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from appliance.verify.live import ground
from appliance.verify.live.ground import GroundError

ADDRESS = IPv4Address("198.18.86.86")


def routes(monkeypatch: pytest.MonkeyPatch, *found: dict[str, str]) -> None:
    monkeypatch.setattr(ground, "command", lambda *_words: json.dumps(found))


def test_a_default_route_makes_nobody_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    routes(monkeypatch, {"dst": "default"}, {"dst": "0.0.0.0/0", "type": "local"})
    assert ground.in_use(ground.OWN, [ADDRESS], []) == ""


def test_an_address_with_a_route_of_its_own_is_somebodys(monkeypatch: pytest.MonkeyPatch) -> None:
    routes(monkeypatch, {"dst": "default"}, {"dst": "198.18.0.0/15", "dev": "tun0"})
    assert "198.18.0.0/15" in ground.in_use(ground.OWN, [ADDRESS], [])


def test_so_is_one_in_a_range_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    routes(monkeypatch)
    said = ground.in_use(ground.OWN, [ADDRESS], [(IPv4Network("198.18.86.0/24"), "the uplink")])
    assert said == "198.18.86.86 is in 198.18.86.0/24, the uplink"


def test_what_broke_elsewhere_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no-namespace"):
        ground.inside(tmp_path / "no-namespace", lambda: 1)


def test_a_command_that_fails_says_which() -> None:
    with pytest.raises(GroundError, match="false: status 1"):
        ground.command("false")
    with pytest.raises(GroundError, match="no-such-program"):
        ground.command("no-such-program")


def test_the_hosts_addresses_are_those_of_its_links() -> None:
    listing = json.dumps([
        {"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}]},
        {"ifname": "docker0", "addr_info": [{"local": "172.17.0.1"}]},
        {"ifname": ground.LINK, "addr_info": [{"local": "198.18.0.1"}]},
        {"ifname": "eth1"},
    ])  # fmt: skip
    assert ground.host_addresses(listing) == {"172.17.0.1": "docker0"}


def test_the_other_end_of_a_link_is_known_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    near = [{"ifname": "uplink", "link_index": 7}]
    far = [{"ifindex": 1, "address": "00:00:00:00:00:00"}, {"ifindex": 7, "address": "02:00:00:00:00:07"}]
    said = iter((json.dumps(near), json.dumps(far), json.dumps(near), json.dumps(far[:1])))
    monkeypatch.setattr(ground, "command", lambda *_words: next(said))
    assert ground.other_end(ground.OWN, "uplink", ground.OWN) == bytes((2, 0, 0, 0, 0, 7))
    with pytest.raises(GroundError, match="peer_namespace"):
        ground.other_end(ground.OWN, "uplink", ground.OWN)
