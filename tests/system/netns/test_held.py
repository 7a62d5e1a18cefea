"""A namespace that is held open gets its name back, and everything in it stays."""

import pytest

from netns import namespaces
from netns.held import HeldNamespace
from netns.steps import NameNamespace

pytestmark = pytest.mark.system


@pytest.fixture
def held(rig):
    name = f"nh{rig.tag}"
    rig.namespace(name)
    made = HeldNamespace(name)
    assert made.keep() == ()
    yield name, made
    made.close()


def taken(rig, name):
    rig.run("ip", "netns", "del", name)


def replaced(rig, name):
    rig.run("ip", "netns", "del", name)
    rig.run("ip", "netns", "add", name)


def left_over(rig, name):
    rig.run("ip", "netns", "del", name)
    namespaces.path(name).touch()


@pytest.mark.parametrize("lose", [taken, replaced, left_over])
def test_a20_a_lost_name_comes_back_to_the_same_namespace(rig, held, lose):
    name, namespace = held
    before = namespaces.identity(name)
    rig.run("ip", "-n", name, "address", "add", "192.0.2.1/32", "dev", "lo")
    lose(rig, name)
    assert namespaces.identity(name) != before
    assert namespace.keep() == (NameNamespace(name),)
    assert namespaces.identity(name) == before
    assert "192.0.2.1" in rig.run("ip", "-n", name, "address")
    assert namespace.keep() == ()


def test_it_holds_what_comes_after_it(rig):
    name = f"ni{rig.tag}"
    namespace = HeldNamespace(name)
    assert namespace.keep() == ()
    rig.namespace(name)
    before = namespaces.identity(name)
    assert namespace.keep() == ()
    taken(rig, name)
    assert namespace.keep() == (NameNamespace(name),)
    assert namespaces.identity(name) == before
    namespace.close()


def test_closed_it_lets_go(rig, held):
    name, namespace = held
    namespace.close()
    taken(rig, name)
    assert namespace.keep() == ()
    assert namespaces.identity(name) is None
