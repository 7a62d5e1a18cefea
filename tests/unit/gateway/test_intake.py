"""What waits, and whether more is read."""

from __future__ import annotations

import pytest

from appliance.gateway.intake import Intake
from appliance.http1.head import RequestHead
from appliance.http1.refused import NeedMore, Refused

from .support import Wire

GET = b"GET /x HTTP/1.1\r\nHost: site.net\r\n\r\n"


def test_a_head_is_taken_and_what_is_behind_it_waits() -> None:
    intake = Intake(Wire())
    intake.add(GET[:10])
    assert isinstance(intake.take_head(), NeedMore)
    assert intake.begun
    intake.add(GET[10:15])
    assert isinstance(intake.take_head(), NeedMore)
    assert not intake.begun
    intake.add(GET[15:] + b"body")
    head = intake.take_head()
    assert isinstance(head, RequestHead)
    assert (head.path, intake.waiting) == ("/x", b"body")
    assert intake.take_all() == b"body"
    assert intake.waiting == b""


def test_what_is_no_head_is_refused() -> None:
    intake = Intake(Wire())
    intake.add(b"\0")
    with pytest.raises(Refused):
        intake.take_head()


def test_one_that_does_not_read_is_not_read() -> None:
    wire = Wire()
    wire.registerProducer(object(), True)
    intake = Intake(wire)
    intake.hold()
    intake.hold()
    assert wire.producerState == "paused"
    intake.blocked = True
    intake.let_in()
    assert wire.producerState == "paused"
    intake.blocked = False
    intake.let_in()
    intake.let_in()
    assert wire.producerState == "producing"


def test_fields_are_kept_for_the_next_head_only_while_they_are_small() -> None:
    for lines, kept in (("X-A: b\r\n", True), ("X-A: b\r\n" * 40, False), (f"X-A: {'b' * 2048}\r\n", False)):
        intake = Intake(None)
        intake.add(f"GET / HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n".encode())
        intake.take_head()
        assert (intake._known is not None) is kept
