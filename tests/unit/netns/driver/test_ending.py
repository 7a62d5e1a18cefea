"""The broker may end a container, and nobody else but root may."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from twisted.internet.defer import Deferred

from appliance.control import ControlError
from netns.driver.ending import MAX_WHY, stop_container
from netns.plumbing import Attachment

LINK = Attachment("e1", "n1", "acme", IPv4Address("172.18.0.2"), "02:00:00:00:00:01")


def asked(message: dict) -> tuple[list, Deferred]:
    stopped: list = []

    async def stop(*what) -> None:
        stopped.append(what)

    operation = stop_container(lambda: [LINK], stop, 64103)
    return stopped, Deferred.fromCoroutine(operation.answer(message, None))


def test_004_17_the_container_on_the_link_is_stopped() -> None:
    stopped, answered = asked({"endpoint": "e1", "reason": "authority-collision", "why": "x" * 999})
    assert answered.result == {}
    assert stopped == [(LINK, "authority-collision", "x" * MAX_WHY)]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"endpoint": "e2", "reason": "a", "why": ""}, "endpoint-unknown"),
        ({"endpoint": ["e1"], "reason": "a", "why": ""}, "endpoint-unknown"),
        ({"endpoint": "e1", "reason": "Not a code", "why": ""}, "invalid-request"),
        ({"endpoint": "e1", "reason": 1, "why": ""}, "invalid-request"),
        ({"endpoint": "e1", "reason": "a"}, "invalid-request"),
    ],
)
def test_any_other_wish_is_refused(message: dict, code: str) -> None:
    stopped, answered = asked(message)
    failure = answered.result
    answered.addErrback(lambda _: None)
    assert isinstance(failure.value, ControlError)
    assert failure.value.code == code
    assert stopped == []


def test_only_the_broker_may_wish_it() -> None:
    async def stop(*what) -> None:
        raise AssertionError(what)

    assert stop_container(lambda: [LINK], stop, 64103).uids == frozenset({64103})
