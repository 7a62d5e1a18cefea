"""The lab itself: closed, alive, and gone without a trace."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.lab import children, internet, witness
from tests.lab.evidence import HostConnections, Origin, Packets, Queries, Requests, lines
from tests.lab.internet import GIT, NPM, PYPI, WWW
from tests.lab.lab import Lab, clear, host_addresses
from tests.lab.namespaces import LabError, existing, run
from tests.lab.packages import GREETING

pytestmark = pytest.mark.system
HTTP_TEXT = "GET / HTTP/1.0\\r\\n\\r\\n"


def test_no_namespace_of_the_lab_leads_out(lab: Lab) -> None:
    """Asserted first: every link is a veth into another lab namespace, nothing forwards."""
    assert set(existing()) == {internet.INTERNET, internet.CONTROL}
    lab.assert_closed()


def test_no_route_of_the_lab_names_a_host_interface(lab: Lab) -> None:
    own = {
        name: {link["ifname"] for link in json.loads(run("ip", "-n", name, "-j", "link"))}
        for name in existing()
    }
    assert own == {internet.INTERNET: {"lo", internet.CONTROL_LINK}, internet.CONTROL: {"lo", "link0"}}
    for name in existing():
        routes = json.loads(run("ip", "-n", name, "-j", "route", "show", "table", "all"))
        assert {route["dev"] for route in routes if "dev" in route} <= own[name]


def test_a_link_to_the_host_is_noticed(lab: Lab) -> None:
    run("ip", "link", "add", "egl-hole", "type", "veth", "peer", "name", "hole", "netns", internet.INTERNET)
    try:
        with pytest.raises(LabError, match="hole"):
            lab.assert_closed()
    finally:
        run("ip", "link", "del", "egl-hole")
    lab.assert_closed()


def test_forwarding_is_noticed(lab: Lab) -> None:
    inside = ("nsenter", f"--net={internet.namespace_path(internet.INTERNET)}", "sysctl", "-qw")
    run(*inside, "net.ipv4.ip_forward=1")
    try:
        with pytest.raises(LabError, match="ip_forward"):
            lab.assert_closed()
    finally:
        run(*inside, "net.ipv4.ip_forward=0")


@pytest.mark.parametrize("address", internet.CANARY_ADDRESSES + internet.CANARY_ADDRESSES_6)
def test_canaries_answer_and_record(lab: Lab, address: str) -> None:
    for protocol, port, *text in (("tcp", "80", HTTP_TEXT), ("tcp", "22"), ("udp", "443")):
        evidence = Packets(address, protocol, int(port))
        before = evidence.hits(Origin.CONTROL)
        assert lab.probe(protocol, address, port, *text).stdout.startswith("REACHED")
        lab.settle()
        assert evidence.hits(Origin.CONTROL) > before
        assert evidence.hits(Origin.WORKLOAD) == 0


def test_every_host_address_has_a_canary_in_the_lab(lab: Lab) -> None:
    for address in host_addresses():
        assert lab.probe("tcp", address, "8080", HTTP_TEXT).stdout.startswith("REACHED")


def test_the_canary_on_the_host_bridge(lab: Lab) -> None:
    address = lab.bridge_address
    assert address, "Docker has no default bridge"
    port = str(internet.HOST_CANARY_PORT)
    assert lab.probe_host("tcp", address, port, HTTP_TEXT).returncode == 0
    assert HostConnections(address).hits(Origin.CONTROL) == 1
    assert HostConnections(address).hits(Origin.WORKLOAD) == 0
    # Another source than the control's counts as a breach.
    run("/usr/bin/python3", "-c", f"import socket; socket.create_connection(('{address}', {port}))")
    assert HostConnections(address).hits(Origin.WORKLOAD) == 1


def test_public_resolvers_answer_by_udp_and_tcp(lab: Lab) -> None:
    for transport in ("udp", "tcp"):
        done = lab.probe("dns", internet.PUBLIC_RESOLVER, "any.example.com", transport)
        assert done.stdout.startswith("REACHED")


def test_icmp_is_answered_and_seen(lab: Lab) -> None:
    assert lab.probe("icmp", internet.LITERAL).stdout.startswith("REACHED")
    lab.settle()
    assert Packets(internet.LITERAL, "icmp").hits(Origin.CONTROL) > 0


def test_any_address_is_witnessed_even_where_nobody_listens(lab: Lab) -> None:
    lab.probe("tcp", "11.22.33.44", "12345")
    lab.settle()
    assert Packets("11.22.33.44", "tcp", 12345).hits(Origin.CONTROL) == 1


def test_the_name_server_answers_and_logs(lab: Lab) -> None:
    assert lab.dig(WWW.name) == [WWW.address]
    assert lab.dig(WWW.name, internet.DNS_SERVER, "+tcp") == [WWW.address]
    assert sorted(lab.dig("mixed.example.net")) == sorted([WWW.address, internet.PRIVATE])
    assert lab.dig("alias-private.example.net")[-1] == internet.PRIVATE
    assert len({*lab.dig(internet.REBIND_NAME), *lab.dig(internet.REBIND_NAME)}) == 2
    assert lab.dig("nowhere.example.com") == []
    lab.settle()
    assert Queries(WWW.name).hits(Origin.CONTROL) >= 2
    assert Queries("nowhere.example.com").hits(Origin.CONTROL) >= 2  # the packet, and the server's own log
    assert Queries("never-asked.example.com").hits(Origin.CONTROL) == 0


def test_web_servers_take_every_method(lab: Lab) -> None:
    assert GREETING in lab.fetch(WWW.name, WWW.address).stdout
    assert "method=POST" in lab.fetch(WWW.name, WWW.address, "/echo", "-X", "POST", "-d", "x").stdout
    assert lab.fetch(WWW.name, WWW.address, "/files/x", "-X", "PUT", "-d", "x").returncode == 0
    assert lab.fetch(WWW.name, WWW.address, "/files/x", "-X", "DELETE").returncode == 0
    lab.settle()
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert Requests(WWW.name, method).hits(Origin.CONTROL) > 0
        assert Requests(WWW.name, method).hits(Origin.WORKLOAD) == 0


@pytest.mark.parametrize(
    "site", [s for s in internet.SITES if s.certificate is not internet.Certificate.GOOD]
)
def test_wrong_certificates_are_wrong(lab: Lab, site: internet.Site) -> None:
    assert (
        lab.fetch(site.name, site.address).returncode == 60
    )  # curl: peer certificate cannot be authenticated
    assert lab.fetch(site.name, site.address, "/", "--insecure").returncode == 0


def test_package_servers(lab: Lab) -> None:
    assert ".whl#sha256=" in lab.fetch(PYPI.name, PYPI.address, "/simple/egress-greeting/").stdout
    assert '"dist-tags"' in lab.fetch(NPM.name, NPM.address, "/egress-greeting").stdout
    refs = lab.fetch(GIT.name, GIT.address, "/greeting.git/info/refs?service=git-upload-pack").stdout
    assert "refs/heads/main" in refs


def test_the_witness_stopping_is_noticed(lab: Lab) -> None:
    record = json.loads((children.RECORDS / "witness.json").read_text())
    os.kill(record["pid"], signal.SIGSTOP)
    try:
        with pytest.raises(LabError, match="witness"):
            lab.settle()
    finally:
        os.kill(record["pid"], signal.SIGCONT)
    lab.settle()
    assert any(True for _ in lines(witness.LOG))


def test_clearing_leaves_nothing_and_may_be_repeated(lab: Lab) -> None:
    """Last: takes the lab of this module down."""
    pids = [json.loads(record.read_text())["pid"] for record in children.RECORDS.glob("*.json")]
    assert len(pids) >= 7
    for _ in range(2):
        clear()
        assert existing() == []
        assert not internet.STATE.exists()
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
