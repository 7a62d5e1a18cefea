"""Squid's place: below the run directory, on the uplink's own address, with servers that it can ask."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath

import pytest

from appliance.processes import FIRST_WORKER_PORT
from appliance.settings import NameServer, Settings, Uplink
from squid.place import SQUID_PORT, place_of

SERVERS = (NameServer(address=IPv4Address("9.9.9.9")), NameServer(address=IPv4Address("9.9.9.10"), port=5353))


def test_place() -> None:
    place = place_of(Settings(run_dir=Path("/run/lab")), SERVERS)
    assert place.address == IPv4Address("198.18.83.2")
    assert place.configuration == PurePosixPath("/run/lab/squid/squid.conf")
    assert place.name_servers == (IPv4Address("9.9.9.9"),)
    assert not place.chained
    assert place_of(Settings(uplink=Uplink(chained=True)), SERVERS).chained


def test_no_server_that_squid_can_ask() -> None:
    with pytest.raises(ValueError, match=r"name one in resolver\.servers"):
        place_of(Settings(), SERVERS[1:])


def test_its_port_is_no_workers() -> None:
    most = range(FIRST_WORKER_PORT, FIRST_WORKER_PORT + 16)
    assert SQUID_PORT not in most


def test_each_instance_has_shared_memory_of_its_own() -> None:
    """/dev/shm is the host's: two of one name, of different users, and the second does not start."""
    names = {place_of(Settings(run_dir=Path(f"/run/{name}")), SERVERS).service for name in ("egress", "lab")}
    assert len(names) == 2
    assert all(name.isalnum() and name != "squid" for name in names)
