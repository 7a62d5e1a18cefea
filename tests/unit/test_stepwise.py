from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

from appliance.stepwise import finish, letting_go, put_off_full_collections


def test_work_is_done_to_its_end_and_its_result_returned() -> None:
    done: list[int] = []

    def work(*, fails: bool) -> Generator[None, None, str]:
        for number in range(3):
            done.append(number)
            yield
        if fails:
            raise ValueError("at the end")
        return "result"

    assert finish(work(fails=False)) == "result"
    assert done == [0, 1, 2]
    with pytest.raises(ValueError, match="at the end"):
        finish(work(fails=True))


@pytest.mark.parametrize("things", [list(range(1800)), dict.fromkeys(range(1800))])
def test_a_collection_is_let_go_in_steps(things: list[int] | dict[int, None]) -> None:
    sizes = [len(things) for _ in letting_go(things)]
    assert sizes == [1300, 800, 300]
    assert not things


def test_what_is_small_is_let_go_at_once() -> None:
    few = [1, 2]
    assert not list(letting_go(few))
    assert not few


def test_full_collections_are_put_off_for_a_while() -> None:
    usual = gc.get_threshold()
    as_usual = put_off_full_collections()
    try:
        assert gc.get_threshold()[:2] == usual[:2]
        assert gc.get_threshold()[2] > 100_000
    finally:
        as_usual()
    assert gc.get_threshold() == usual
