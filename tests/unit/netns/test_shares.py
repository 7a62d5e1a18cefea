"""Who serves a share: the table of modes, health and what is so already."""

import pytest

from netns.shares import UNSTEERED, Condition, Mode, Steering, absent, at_start, fallen

NONE, ONE, BOTH = frozenset(), frozenset({1}), frozenset({0, 1})


@pytest.mark.parametrize(
    ("mode", "away", "squid_ready", "now", "expected"),
    [
        (Mode.AUTO, NONE, True, NONE, NONE),
        (Mode.AUTO, ONE, True, NONE, ONE),
        (Mode.AUTO, BOTH, True, ONE, BOTH),
        (Mode.AUTO, NONE, True, BOTH, NONE),
        # A Squid that would not serve is given nothing, and keeps what has nobody else.
        (Mode.AUTO, BOTH, False, NONE, NONE),
        (Mode.AUTO, BOTH, False, ONE, ONE),
        (Mode.AUTO, NONE, False, BOTH, NONE),
        (Mode.ON, NONE, False, NONE, BOTH),
        (Mode.ON, NONE, True, ONE, BOTH),
        (Mode.OFF, BOTH, True, BOTH, NONE),
    ],
)
def test_who_serves(mode, away, squid_ready, now, expected):
    assert fallen(mode, away, workers=2, squid_ready=squid_ready, now=now) == expected


@pytest.mark.parametrize(
    ("was", "condition", "expected"),
    [
        (False, Condition.AWAY, True),
        (True, Condition.AWAY, True),
        (False, Condition.ALIVE, False),  # it refuses with reasons of its own, a full disk for one
        (True, Condition.ALIVE, True),  # it starts
        (True, Condition.READY, False),
        (False, Condition.READY, False),
    ],
)
def test_a_worker_is_back_when_it_is_ready(was, condition, expected):
    assert absent(was, condition) is expected


def test_what_is_given_back_drains_until_it_is_taken_again():
    both = UNSTEERED.moved(BOTH)
    assert both == Steering(BOTH)
    back = both.moved(ONE)
    assert back == Steering(ONE, frozenset({0}))
    assert back.moved(NONE) == Steering(NONE, BOTH)
    assert back.moved(BOTH) == Steering(BOTH)
    assert back.drained() == Steering(ONE)


def test_what_an_operator_said_before_is_steered_from_the_start():
    assert at_start(Mode.AUTO, 2) == UNSTEERED
    assert at_start(Mode.ON, 2) == Steering(BOTH)
    assert at_start(Mode.OFF, 2) == Steering(ready=False)
