from __future__ import annotations

import pytest

from appliance.http1.refused import Refused
from appliance.verify.cases_websockets import MASK, frame
from appliance.websocket.frames import Frames
from tests.lab.switching import FRAMES, HANDSHAKES
from tests.unit.verify.first_answer import attempts
from tests.unit.verify.sanity import (
    assert_attempts_are_sane,
    assert_making_rows_does_nothing,
    assert_sane,
    rows_of,
)


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_websockets", "E13", "G5")


def test_making_rows_does_nothing() -> None:
    assert_making_rows_does_nothing("cases_websockets")


def test_what_is_expected_is_what_the_gateway_says() -> None:
    assert_attempts_are_sane("cases_websockets")


@pytest.mark.parametrize(
    ("payload", "head"),
    [(b"hello", b"\x81\x85"), (b"x" * 300, b"\x81\xfe\x01\x2c"), (b"", b"\x81\x80")],
)
def test_a_frame_is_one(payload: bytes, head: bytes) -> None:
    whole = frame(0x81, payload)
    assert whole.startswith(head + MASK)
    assert Frames(new_mask=lambda: bytes(4)).feed(whole) == head + bytes(4) + payload


def test_a_frame_that_is_none_is_none() -> None:
    for broken in (frame(0x81, b"x", mask=b""), frame(0x81, b"x", form=126), frame(0xC1, b"x")):
        with pytest.raises(Refused):
            Frames(new_mask=lambda: bytes(4)).feed(broken)


def test_every_lie_of_the_server_is_tried() -> None:
    (case,) = [case for case in rows_of("cases_websockets") if case.id == "E13-servers"]
    tried = {attempt["name"].partition("-")[2] for attempt in attempts(case)}
    assert tried == {word.decode() for word in (*HANDSHAKES, *FRAMES)}
