"""Apply, apply again, break, mend: on the real kernel."""

import pytest

from netns import namespaces

pytestmark = pytest.mark.system


def test_a_second_apply_has_nothing_to_do(rig, kernel):
    assert kernel.converge().steps == ()
    assert rig.kernel().start().steps == ()


BREAKAGES = {
    "table gone": lambda rig: rig.in_gateway("nft", "flush", "ruleset"),
    "chain flushed": lambda rig: rig.in_gateway(
        "nft", "flush", "chain", "inet", rig.settings.instance, "steer"
    ),
    "rule added": lambda rig: rig.in_gateway(
        "nft", "insert", "rule", "inet", rig.settings.instance, "leave", "accept"
    ),
    "stranger let in": lambda rig: rig.in_gateway(
        "nft", "add", "element", "inet", rig.settings.instance, "endpoints", "{ t-x . 172.31.0.9 : 0x1 }"
    ),
    "special range removed": lambda rig: rig.in_gateway(
        "nft", "delete", "element", "inet", rig.settings.instance, "special", "{ 10.0.0.0/8 }"
    ),
    "worker map changed": lambda rig: rig.in_gateway(
        "nft",
        "add",
        "rule",
        "inet",
        rig.settings.instance,
        "steer",
        "meta l4proto tcp tproxy ip to :jhash ip saddr mod 2 map { 0 : 1, 1 : 2 }",
    ),
    "forwarding on": lambda rig: rig.in_gateway("sysctl", "-qw", "net.ipv4.ip_forward=1"),
    "mark rule gone": lambda rig: rig.in_gateway("ip", "rule", "del", "fwmark", "1/1"),
    "tproxy route gone": lambda rig: rig.in_gateway("ip", "route", "flush", "table", "100"),
    "default route gone": lambda rig: rig.in_gateway("ip", "route", "del", "default"),
    "pool route gone": lambda rig: rig.in_gateway(
        "ip", "route", "del", "local", "172.31.0.0/24", "table", "main", "dev", "lo"
    ),
    "container route gone": lambda rig: rig.in_gateway("ip", "route", "del", "172.31.0.2/32"),
    "route to a special range": lambda rig: rig.in_gateway("ip", "route", "del", "unreachable", "10.0.0.0/8"),
    "address added": lambda rig: rig.in_gateway("ip", "addr", "add", "172.31.0.77/32", "dev", "lo"),
    "uplink down": lambda rig: rig.in_gateway("ip", "link", "set", "uplink", "down"),
    "uplink gone": lambda rig: rig.in_gateway("ip", "link", "del", "uplink"),
    "loopback down": lambda rig: rig.in_gateway("ip", "link", "set", "lo", "down"),
    "half-made link": lambda rig: rig.in_gateway(
        "ip", "link", "add", "t-halfmade0001", "type", "veth", "peer", "name", "c-halfmade0001"
    ),
    "neighbour replaced": lambda rig: rig.in_gateway("ip", "neigh", "flush", "all", "nud", "permanent"),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a20_what_is_broken_is_mended(rig, kernel, container, breakage):
    """`nft flush` and its like: the next comparison closes the gap, and the container's network works again."""
    before = kernel.links
    BREAKAGES[breakage](rig)
    assert kernel.converge().steps
    assert kernel.converge().steps == ()
    assert kernel.links == before
    assert container.tcp("93.184.216.34", 80)["destination"] == ["93.184.216.34", 80]
    assert "t-halfmade0001" not in rig.in_gateway("ip", "link")


def test_with_its_rules_flushed_the_gap_is_a_closed_one(rig, kernel, container):
    """Between the flush and the mend nothing is routed: the namespace has no forwarding."""
    rig.in_gateway("nft", "flush", "ruleset")
    for host in ("93.184.216.34", "10.0.1.5"):
        assert isinstance(container.tcp(host, 8080, wait=0.4), OSError)
        assert isinstance(container.udp(host, 8080, wait=0.4), OSError)
    assert rig.canary.seen == []


def test_counters_survive_a_replacement_of_the_table(rig, kernel, container):
    container.udp("93.184.216.34", 443, wait=0.1)
    BREAKAGES["rule added"](rig)
    kernel.converge()
    assert kernel.counters()["udp-dropped"][0] == 1


def test_a_leftover_file_is_no_namespace(rig):
    namespaces.path(rig.settings.namespace).touch()
    started = rig.start_gateway()
    assert namespaces.identity(rig.settings.namespace) is not None
    assert started.converge().steps == ()
