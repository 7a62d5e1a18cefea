"""A secret over the frames of a WebSocket (004-39), against a reader of frames written for the fuzzing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.scrubber import Scrubber
from appliance.http1.refused import UpstreamInvalid
from tests.fuzz.targets.websocket_frames import Frame, read

SECRET = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCY"
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


def wire(*frames: Frame) -> bytes:
    out = b""
    for final, opcode, payload in frames:
        size = len(payload)
        width, mark = (0, b"") if size < 126 else (2, b"\x7e") if size <= 0xFFFF else (8, b"\x7f")
        length = mark + size.to_bytes(width, "big") if width else bytes((size,))
        out += bytes((final << 7 | opcode,)) + length + payload
    return out


def messages(data: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    frames, bad = read(data, masked=False)
    assert not bad
    for _, opcode, payload in frames:
        if opcode:
            found.append((opcode, payload))
        else:
            at = max(index for index, (kind, _) in enumerate(found) if kind in (TEXT, BINARY))
            found[at] = (found[at][0], found[at][1] + payload)
    return found


def passed(data: bytes, size: int = 1 << 30) -> bytes:
    frames = Scrubber([SECRET]).websocket()
    return b"".join(frames.feed(data[at : at + size]) for at in range(0, len(data), size))


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_004_39_a_secret_split_over_frames_is_found(opcode: int) -> None:
    for place in range(len(SECRET)):
        data = wire(
            (False, opcode, b"a " + SECRET[:place]),
            (False, 0, b""),
            (True, PING, b"p"),
            (True, 0, SECRET[place:] + b" b"),
        )
        for size in (1, 5, 1 << 30):
            out = passed(data, size)
            assert sorted(messages(out)) == sorted([(opcode, b"a [scrubbed:secret] b"), (PING, b"p")])


def test_004_39_every_octet_in_a_frame_of_its_own() -> None:
    frames = [(False, 0, bytes((octet,))) for octet in b"x" + SECRET + b"y"]
    data = wire((False, TEXT, b""), *frames, (True, 0, b""))
    assert messages(passed(data)) == [(TEXT, b"x[scrubbed:secret]y")]


def test_004_39_control_frames_are_scrubbed() -> None:
    data = wire((True, PING, b"a " + SECRET), (True, CLOSE, b"\x03\xe8" + SECRET))
    assert messages(passed(data)) == [(PING, b"a [scrubbed:secret]"), (CLOSE, b"\x03\xe8[scrubbed:secret]")]


def test_a_control_frame_never_grows_over_its_bound() -> None:
    payload = b"\x03\xe8" + b"AKIAIOSFODNN7EXAMPLE " * 5
    assert messages(passed(wire((True, CLOSE, payload)))) == [(CLOSE, b"\x03\xe8")]


def test_004_39_a_frame_goes_on_before_its_message_ends() -> None:
    frames = Scrubber([SECRET]).websocket()
    assert messages(frames.feed(wire((False, TEXT, b'{"n": 1}')))) == [(TEXT, b'{"n": 1}')]
    long = wire((True, 0, b"!" * 70000))
    assert len(frames.feed(long[:100])) > 80
    frames.feed(long[100:])
    assert not frames.ended
    frames.feed(wire((True, CLOSE, b"")))
    assert frames.ended


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([TEXT, BINARY]),
            st.lists(
                st.sampled_from([b"", b"a", SECRET, SECRET[:9], SECRET[9:], b"x" * 130]),
                min_size=1,
                max_size=5,
            ),
        ),
        max_size=4,
    ),
    st.integers(1, 50),
)
def test_004_39_messages_stay_messages(sent: list[tuple[int, list[bytes]]], size: int) -> None:
    frames = [
        (at == len(parts) - 1, 0 if at else opcode, part)
        for opcode, parts in sent
        for at, part in enumerate(parts)
    ]
    scrubber = Scrubber([SECRET])
    expected = [(opcode, scrubber.octets(b"".join(parts))) for opcode, parts in sent]
    assert messages(passed(wire(*frames), size)) == expected


def test_what_the_gateway_would_refuse_is_refused() -> None:
    for data in (b"\xc1\x00", b"\x81\x81abcda", b"\x83\x00", b"\x80\x00"):
        frames = Scrubber([SECRET]).websocket()
        with pytest.raises(UpstreamInvalid):
            frames.feed(data)
        with pytest.raises(ScrubFault):
            frames.feed(wire((True, TEXT, b"more")))


def test_004_39_a_failure_lets_nothing_out() -> None:
    frames = Scrubber([SECRET]).websocket()
    frames._new_stream = lambda: 1 / 0  # type: ignore[assignment,return-value]
    with pytest.raises(ScrubFault) as caught:
        frames.feed(wire((True, TEXT, SECRET)))
    assert caught.value.code == "scrub-failed"
