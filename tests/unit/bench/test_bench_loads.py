"""What a load's client says, read into figures; an answer that was no 200 ends the run."""

from __future__ import annotations

import json

import pytest

from tests.bench.loads import Load, LoadFailed, parse, together


def said(**changes: object) -> str:
    errors = {"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0}
    summary = {"requests": 400, "microseconds": 2_000_000, "bytes": 900_000, "p50_us": 1500, "p99_us": 4200}
    errors |= {key: value for key, value in changes.items() if key in errors}
    summary |= {key: value for key, value in changes.items() if key in summary}
    return f"Running 2s test\n  400 requests in 2s\n{json.dumps(summary | {'errors': errors})}\n"


def test_a_summary_is_read() -> None:
    load = parse(said())
    assert load == Load(400, 2.0, 1.5, 4.2, 900_000)
    assert (load.per_second, load.megabytes_per_second) == (200, 0.45)


@pytest.mark.parametrize("kind", ["connect", "read", "write", "status", "timeout"])
def test_an_error_of_any_kind_ends_the_run(kind: str) -> None:
    with pytest.raises(LoadFailed, match=kind):
        parse(said(**{kind: 1}))


def test_no_request_and_no_summary_are_failures() -> None:
    with pytest.raises(LoadFailed):
        parse(said(requests=0, bytes=0))
    with pytest.raises(LoadFailed, match="unable to connect"):
        parse("unable to connect to bench.example.com:80")


def test_who_hangs_up_after_each_answer_may_and_no_oftener() -> None:
    assert parse(said(read=400), hangs_up=True).requests == 400
    with pytest.raises(LoadFailed):
        parse(said(read=401), hangs_up=True)
    with pytest.raises(LoadFailed):
        parse(said(read=400, status=1), hangs_up=True)


def test_loads_put_together_count_together_and_keep_the_worst_p99() -> None:
    assert together([Load(100, 2.0, 1.0, 5.0, 7), Load(300, 2.1, 3.0, 4.0, 8)]) == Load(
        400, 2.1, 2.0, 5.0, 15
    )
