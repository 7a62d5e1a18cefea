from __future__ import annotations

from collections.abc import Generator

import pytest

from appliance.stepwise import finish


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
