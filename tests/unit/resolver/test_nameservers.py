"""Whom to ask."""

from ipaddress import IPv4Address

import pytest

from appliance.resolver.nameservers import NoNameServer, parse_resolv_conf, upstream_servers
from appliance.settings import NameServer, ResolverSettings


def test_the_settings_come_first(tmp_path):
    (tmp_path / "resolv.conf").write_text("nameserver 9.9.9.9\n")
    chosen = (NameServer(address=IPv4Address("192.0.2.7"), port=5353),)
    assert upstream_servers(ResolverSettings(servers=chosen), (tmp_path / "resolv.conf",)) == chosen


def test_only_servers_that_another_namespace_can_reach_are_taken():
    text = """
    # nameserver 1.2.3.4
    domain example
    nameserver 127.0.0.53
    nameserver ::1
    nameserver 2001:db8::1
    nameserver 192.0.2.1 # first
    nameserver 192.0.2.999
    nameserver
    nameserver 0.0.0.0
    nameserver\t192.0.2.2
    nameserver 192.0.2.3
    nameserver 192.0.2.4
    """
    assert [str(server.address) for server in parse_resolv_conf(text)] == [
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
    ]


def test_behind_a_loopback_stub_stand_the_real_servers(tmp_path):
    stub, real = tmp_path / "stub", tmp_path / "real"
    stub.write_text("nameserver 127.0.0.53\n")
    real.write_text("nameserver 192.0.2.1\n")
    (server,) = upstream_servers(ResolverSettings(), (stub, real))
    assert server == NameServer(address=IPv4Address("192.0.2.1"))


def test_nobody_to_ask_is_an_error_that_says_what_to_write(tmp_path):
    stub = tmp_path / "stub"
    stub.write_text("nameserver 127.0.0.53\n")
    with pytest.raises(NoNameServer, match=r"egress\.yaml under resolver: servers:"):
        upstream_servers(ResolverSettings(), (stub, tmp_path / "absent"))
