"""appliance.audit.read: all processes in one stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import pytest

from appliance.audit import place
from appliance.audit.read import JsonRecord, Selection, follow, records
from appliance.audit.record import AdmissionRecord, Kind, LifecycleRecord, Outcome
from appliance.audit.sink import Limits, Sink


def event(name: str, tenant: str | None = None) -> LifecycleRecord:
    return LifecycleRecord(event=name, tenant=tenant)


def names(found: Iterator[JsonRecord]) -> list[str]:
    return [record["event"] for record in found]


def test_records_of_all_processes_come_in_the_order_of_time(tmp_path: Path) -> None:
    ticks = count()
    clock = lambda: float(next(ticks))  # noqa: E731 - one line says it
    one = Sink(tmp_path, "gateway-0", clock=clock, limits=Limits(file_bytes=300))
    two = Sink(tmp_path, "gateway-1", clock=clock)
    for index in range(6):
        (one if index % 2 else two).write(event(str(index)))
    assert names(records(tmp_path)) == ["0", "1", "2", "3", "4", "5"]


def test_an_absent_directory_has_no_records(tmp_path: Path) -> None:
    assert list(records(tmp_path / "absent")) == []


ADMISSION = AdmissionRecord(
    operation="create",
    tenant="acme",
    container="c0ffee00",
    image="i",
    user=None,
    outcome=Outcome.DENIED,
    reason="r",
    rule=None,
    detail=None,
)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), 4),
        (Selection(tenant="acme"), 3),
        (Selection(refused=True), 2),
        (Selection(tenant="acme", refused=True), 1),
        (Selection(kinds=frozenset({Kind.ADMISSION})), 2),
        (Selection(container="c0ffee"), 1),
        (Selection(run="r"), 0),
        (Selection(since="1970-01-01T00:00:02.000000Z"), 2),
        (Selection(until="1970-01-01T00:00:02.000000Z"), 3),
    ],
)
def test_selection(tmp_path: Path, selection: Selection, expected: int) -> None:
    ticks = count()
    sink = Sink(tmp_path, "p", clock=lambda: float(next(ticks)))
    sink.write(event("a", "acme"))
    sink.write(event("b", "acme"))
    sink.write(ADMISSION)
    sink.write(replace(ADMISSION, tenant="other", container=None))
    assert len(list(records(tmp_path, selection))) == expected


def test_following_sees_what_is_new_over_rotation_restart_and_new_processes(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "p", limits=Limits(file_bytes=1000))
    sink.write(event("old"))
    late: list[Sink] = []

    def write(step: int) -> None:
        if step == 1:
            sink.write(event("one"))
        elif step == 2:
            for index in range(12):
                sink.write(event(f"rotated-{index}"))
        elif step == 3:
            sink.close()
            late.append(Sink(tmp_path, "p"))
            late[0].write(event("restarted"))
        elif step == 4:
            late.append(Sink(tmp_path, "q"))
            late[1].write(event("appeared"))
        else:
            raise AssertionError("nothing more comes")

    steps = count(1)
    found = names(islice(follow(tmp_path, pause=lambda _seconds: write(next(steps))), 15))
    assert found == ["one", *(f"rotated-{index}" for index in range(12)), "restarted", "appeared"]


def test_following_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "p")
    sink.write(event("first"))
    file = place.current_file(tmp_path, "p")
    line = file.read_bytes().replace(b'"sequence":1', b'"sequence":2')
    steps = iter([line[:20], line[20:]])

    def pause(_seconds: float) -> None:
        with file.open("ab") as stream:
            stream.write(next(steps))

    assert next(follow(tmp_path, pause=pause))["sequence"] == 2


def test_lines_that_are_no_records_are_left_out(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "p")
    sink.write(event("good"))
    with place.current_file(tmp_path, "p").open("ab") as stream:
        stream.write(b"{half\n[]\n" + b"[" * 100_000 + b"\n")
    assert names(records(tmp_path)) == ["good"]


def test_fields_of_unexpected_types_match_nothing(tmp_path: Path) -> None:
    """A process that was taken over may write anything into its own file."""
    Sink(tmp_path, "p").write(event("good"))
    with place.current_file(tmp_path, "p").open("ab") as stream:
        stream.write(b'{"kind":[],"time":{},"tenant":[],"outcome":{},"endpoint":[1]}\n')
    asked = Selection(kinds=frozenset({Kind.LIFECYCLE}))
    assert names(records(tmp_path, asked)) == ["good"]
    assert names(records(tmp_path, Selection(tenant="acme"))) == []


def test_following_gives_up_a_line_without_end_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.audit.read.MAX_LINE", 1000)
    Sink(tmp_path, "p").write(event("good"))
    file = place.current_file(tmp_path, "p")
    line = file.read_bytes().replace(b'"sequence":1', b'"sequence":2')
    steps = iter([b"x" * 2500, b"x\n" + line])

    def pause(_seconds: float) -> None:
        with file.open("ab") as stream:
            stream.write(next(steps))

    assert next(follow(tmp_path, pause=pause))["sequence"] == 2
