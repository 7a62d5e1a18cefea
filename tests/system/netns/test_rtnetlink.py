"""Netlink sockets that outlive what they were opened for."""

import pytest

from netns import namespaces, nft
from netns.rtnetlink import Sockets, delete_link
from netns.state import Side

pytestmark = pytest.mark.system


@pytest.fixture
def sockets(rig):
    name = f"nr{rig.tag}"
    namespaces.create(name)
    made = Sockets(name, rig.outside)
    yield made
    made.close()
    namespaces.remove(name)


def test_a_side_keeps_its_socket(sockets):
    assert sockets.of(Side.GATEWAY) is sockets.of(Side.GATEWAY)
    assert sockets.of(Side.GATEWAY) is not sockets.of(Side.OUTSIDE)


def test_a_namespace_made_anew_under_its_name_gets_a_new_socket(rig, sockets):
    first = sockets.of(Side.GATEWAY)
    name = sockets.name(Side.GATEWAY)
    namespaces.remove(name)
    assert not sockets.exists(Side.GATEWAY)
    with pytest.raises(namespaces.NamespaceError, match=name):
        sockets.of(Side.GATEWAY)
    namespaces.create(name)
    rig.run("ip", "-n", name, "link", "add", "probe", "type", "bridge")
    assert sockets.of(Side.GATEWAY) is not first
    assert sockets.index(Side.GATEWAY, "probe") is not None


def test_a_link_that_is_gone_already_is_no_error(rig, sockets):
    rig.run("ip", "-n", sockets.name(Side.GATEWAY), "link", "add", "probe", "type", "bridge")
    index = sockets.index(Side.GATEWAY, "probe")
    delete_link(sockets.of(Side.GATEWAY), index)
    delete_link(sockets.of(Side.GATEWAY), index)
    assert sockets.index(Side.GATEWAY, "probe") is None


def test_rules_are_changed_in_the_sides_namespace_also_in_one_made_anew(rig, sockets):
    table = "table ip probe {\n\tset s {\n\t\ttype ipv4_addr\n\t}\n}\n"
    name = sockets.name(Side.GATEWAY)
    sockets.changes(Side.GATEWAY).change(table)
    assert sockets.changes(Side.GATEWAY) is sockets.changes(Side.GATEWAY)
    assert "probe" in rig.run("ip", "netns", "exec", name, "nft", "list", "ruleset")
    namespaces.remove(name)
    namespaces.create(name)
    sockets.changes(Side.GATEWAY).change(table)
    assert "probe" in rig.run("ip", "netns", "exec", name, "nft", "list", "ruleset")
    with pytest.raises(nft.NftError, match="No such file"):
        sockets.changes(Side.GATEWAY).change("add element ip nothing s { 10.0.0.1 }")
    sockets.changes(Side.GATEWAY).change("add element ip probe s { 10.0.0.1 }")
