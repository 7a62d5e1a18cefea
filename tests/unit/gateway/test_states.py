"""The table of a session's states."""

from __future__ import annotations

import pytest

from appliance.gateway.states import NEXT, IllegalTransition, State, step


@pytest.mark.parametrize("state", list(State))
def test_the_table_knows_every_state_and_closed_is_the_end(state: State) -> None:
    assert state in NEXT
    assert State.CLOSED in NEXT[state] or state is State.CLOSED
    assert NEXT[State.CLOSED] == frozenset()


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("following", list(State))
def test_a_step_is_one_of_the_table_or_an_error(state: State, following: State) -> None:
    if following in NEXT[state]:
        assert step(state, following) is following
    else:
        with pytest.raises(IllegalTransition, match=f"{state.value} to {following.value}"):
            step(state, following)


def test_nobody_is_served_again_after_the_end_has_begun() -> None:
    for state in (State.CLOSING, State.CLOSED):
        assert NEXT[state] <= {State.CLOSED}
