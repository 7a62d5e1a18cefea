"""Values that are compared: equal by content, unchangeable, and no default is shared."""

from dataclasses import FrozenInstanceError
from ipaddress import IPv4Network

import pytest

from netns.state import MAIN_TABLE, Route, RouteKind, Space

POOL = IPv4Network("172.31.0.0/24")


def test_routes_are_equal_by_content_and_differ_by_kind():
    assert Route(POOL, "lo") == Route(POOL, "lo", RouteKind.UNICAST, None, MAIN_TABLE)
    assert len({Route(POOL, "lo"), Route(POOL, "lo"), Route(POOL, "lo", RouteKind.LOCAL)}) == 2


def test_what_was_observed_cannot_be_changed_afterwards():
    with pytest.raises(FrozenInstanceError):
        Route(POOL, "lo").interface = "eth0"


def test_empty_spaces_share_nothing():
    assert Space().links is not Space().links
    assert Space().table is None
