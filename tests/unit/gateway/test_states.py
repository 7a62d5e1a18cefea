"""The table of a session's states."""

from __future__ import annotations

import pytest

from appliance.gateway.states import NEXT, State


@pytest.mark.parametrize("state", list(State))
def test_the_table_knows_every_state_and_closed_is_the_end(state: State) -> None:
    assert state in NEXT
    assert State.CLOSED in NEXT[state] or state is State.CLOSED
    assert NEXT[State.CLOSED] == frozenset()


def test_nobody_is_served_again_after_the_end_has_begun() -> None:
    for state in (State.CLOSING, State.CLOSED):
        assert NEXT[state] <= {State.CLOSED}
