"""Which notices of rtnetlink are our own doing, and which may hide somebody else's."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netns.own_links import GRACE, OwnLinks, Standing

UP, DOWN = 4099, 4098
CHANGED, REMOVED = 16, 17
LINK = Standing("t-1", 7, "egress1 one")


def attribute(kind, value):
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def link(name="t-1", index=7, flags=UP, alias="egress1 one"):
    head = struct.pack("=BxHiII", 0, 1, index, flags, 0)
    return head + attribute(3, name.encode() + b"\0") + attribute(20, alias.encode() + b"\0")


def neighbour(index):
    return struct.pack("=BxxxiHBB", 2, index, 0x80, 0, 1) + attribute(1, bytes(4))


class Rig:
    def __init__(self):
        self.now = 100.0
        self.links = [LINK]
        self.own = OwnLinks(lambda: self.links, lambda: self.now)


@pytest.fixture
def rig():
    return Rig()


def test_a_link_that_is_as_we_made_it_is_no_news(rig):
    assert rig.own.expects(CHANGED, 0, link())


@pytest.mark.parametrize(
    "body",
    [link(flags=DOWN), link(index=8), link(name="t-2"), link(alias="egress1 two"), link(alias="")],
    ids=["down", "another of its name", "another link", "another alias", "no alias"],
)
def test_anything_else_about_a_link_is(rig, body):
    assert not rig.own.expects(CHANGED, 0, body)


def test_that_it_is_gone_is(rig):
    assert not rig.own.expects(REMOVED, 0, link())
    assert not rig.own.expects(29, 0, neighbour(7))


def test_while_we_make_it_and_just_after_it_may_be_half_made(rig):
    rig.links = []
    rig.own.begin("t-1")
    half = link(flags=DOWN, alias="")
    assert rig.own.expects(CHANGED, 0, half)
    assert not rig.own.expects(CHANGED, 0, link(name="t-2", flags=DOWN))
    rig.own.end("t-1", 7)
    assert rig.own.expects(CHANGED, 0, half)
    rig.now += GRACE
    assert not rig.own.expects(CHANGED, 0, half)


def test_while_we_remove_it_it_may_go_with_its_neighbour(rig):
    rig.own.begin("t-1", 7)
    assert rig.own.expects(REMOVED, 0, link())
    assert rig.own.expects(29, 0, neighbour(7))
    assert not rig.own.expects(29, 0, neighbour(8))
    assert not rig.own.expects(REMOVED, 0, link(index=9))


def test_a_link_without_an_index_yet_stands_for_no_neighbour(rig):
    rig.own.begin("t-1")
    assert not rig.own.expects(29, 0, neighbour(0))


def test_routes_and_neighbours_by_our_own_socket_and_no_other(rig):
    assert not rig.own.expects(24, 0, bytes(12))
    rig.own.port = 4711
    assert rig.own.expects(24, 4711, bytes(12))
    assert rig.own.expects(28, 4711, neighbour(7))
    assert not rig.own.expects(24, 4712, bytes(12))
    assert not rig.own.expects(24, 0, bytes(12))


def test_what_is_past_is_forgotten(rig):
    for number in range(1000):
        rig.own.begin(f"t-{number}")
        rig.own.end(f"t-{number}", number)
        rig.now += GRACE
    assert len(rig.own._changing) < 5


@given(st.sampled_from([16, 17, 28, 29, 80]), st.binary(max_size=60))
def test_whatever_comes_is_judged_without_an_exception(kind, body):
    Rig().own.expects(kind, 0, body)
