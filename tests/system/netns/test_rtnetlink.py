"""Netlink sockets that outlive what they were opened for."""

import pytest

from netns import namespaces
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
