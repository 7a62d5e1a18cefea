"""Frames by bytes, by every cut, and against a second reader that was written from the RFC alone."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.http1.refused import Refused, UpstreamInvalid
from appliance.websocket.frames import Frames, close_frame

MASK = bytes.fromhex("37fa213d")
Frame = tuple[bool, int, bytes]


def frame(
    opcode: int, payload: bytes = b"", *, final: bool = True, mask: bytes | None = MASK, first: int = 0
) -> bytes:
    size = len(payload)
    length = (
        bytes([size])
        if size < 126
        else b"\x7e" + size.to_bytes(2, "big")
        if size < 65536
        else b"\x7f" + size.to_bytes(8, "big")
    )
    head = bytearray([final << 7 | opcode | first]) + length
    if mask is None:
        return bytes(head) + payload
    head[1] |= 0x80
    return bytes(head) + mask + bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload))


def read(data: bytes, *, masked: bool) -> list[Frame]:
    """Section 5.2, octet by octet, believing everything."""
    found, at = [], 0
    while at < len(data):
        final, opcode = bool(data[at] & 128), data[at] & 127
        assert bool(data[at + 1] & 128) == masked
        size, at = data[at + 1] & 127, at + 2
        if size > 125:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
        key = b"\0\0\0\0"
        if masked:
            key, at = data[at : at + 4], at + 4
        assert at + size <= len(data)
        found.append((final, opcode, bytes(o ^ key[i % 4] for i, o in enumerate(data[at : at + size]))))
        at += size
    return found


def of_client(masks: list[bytes] | None = None) -> Frames:
    drawn = iter(masks) if masks is not None else itertools.count()
    return Frames(
        new_mask=lambda: (
            next(drawn) if masks is not None else (next(drawn) * 0x01030507 & 0xFFFFFFFF).to_bytes(4, "big")
        )
    )


def of_server() -> Frames:
    return Frames(blame=UpstreamInvalid)


def test_the_examples_of_the_rfc() -> None:
    """Section 5.7."""
    hello = bytes.fromhex("8105") + b"Hello"
    assert of_server().feed(hello) == hello
    masked = bytes.fromhex("818537fa213d7f9f4d5158")
    assert of_client([bytes(4)]).feed(masked) == bytes.fromhex("818500000000") + b"Hello"
    assert of_client([MASK]).feed(masked) == masked
    parts = bytes.fromhex("0103") + b"Hel" + bytes.fromhex("8002") + b"lo"
    assert of_server().feed(parts) == parts


def test_the_octets_on_the_wire_are_not_the_clients_to_choose() -> None:
    """Section 10.3: a client that masks with zeros would write whatever it likes, a request for instance."""
    smuggled = b"GET /secret HTTP/1.1\r\nHost: inside\r\n\r\n"
    sent = of_client([b"\x12\x34\x56\x78"]).feed(frame(2, smuggled, mask=bytes(4)))
    assert smuggled not in sent
    assert read(sent, masked=True) == [(True, 2, smuggled)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
@pytest.mark.parametrize("masked", [True, False])
def test_every_length(size: int, masked) -> None:
    payload = (bytes(range(251)) * 800)[:size]
    frames = of_client() if masked else of_server()
    data = frame(2, payload, mask=MASK if masked else None)
    out = b""
    for at in range(0, len(data), 7919):
        assert frames.between_frames == (at == 0 or at >= len(data))
        out += frames.feed(data[at : at + 7919])
    assert read(out, masked=masked) == [(True, 2, payload)]
    assert frames.payload == size
    assert frames.between_messages


def faults(mask: bytes | None) -> dict[str, bytes]:
    """What neither side may send, masked or not."""

    def made(opcode: int, payload: bytes = b"", **more) -> bytes:
        return frame(opcode, payload, mask=mask, **more)

    def length(hexadecimal: str) -> bytes:
        octets = bytes.fromhex(hexadecimal)
        return octets if mask is None else bytes([octets[0], octets[1] | 0x80]) + octets[2:] + mask

    return {
        "reserved bit 1": made(1, b"a", first=0x40),
        "reserved bit 2": made(1, b"a", first=0x20),
        "reserved bit 3": made(1, b"a", first=0x10),
        "reserved bit of a control frame": made(9, b"a", first=0x40),
        **{f"opcode {opcode:x}": made(opcode, b"a") for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)},
        "a fragmented ping": made(9, final=False),
        "a giant ping": made(9, b"a" * 126),
        "a giant close": made(8, b"\x03\xe8" + b"a" * 124),
        "two octets for 125": length("827e007d"),
        "eight octets for 65535": length("827f000000000000ffff"),
        "the highest bit": length("827f8000000000000000"),
        "a continuation of nothing": made(0, b"a"),
        "a continuation of what is complete": made(1, b"a") + made(0, b"b"),
        "a message within a message": made(1, b"a", final=False) + made(1, b"b"),
        "a close of one octet": made(8, b"\x03"),
        **{f"close code {code}": made(8, code.to_bytes(2, "big")) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000)},
        "a close reason that is no UTF-8": made(8, b"\x03\xe8\xff"),
        "masked as the other side": frame(1, b"a", mask=MASK if mask is None else None),
        "a control frame masked as the other side": frame(9, mask=MASK if mask is None else None),
        "HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "TLS": bytes.fromhex("1603010200010001fc0303"),
        "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    }  # fmt: skip


@pytest.mark.parametrize("name", faults(MASK))
@pytest.mark.parametrize("masked", [True, False])
def test_what_is_no_frame_is_refused_e13(name: str, masked) -> None:
    data = faults(MASK if masked else None)[name]
    for pieces in ([data], [bytes([octet]) for octet in data]):
        frames = of_client() if masked else of_server()
        with pytest.raises(Refused if masked else UpstreamInvalid) as caught:
            for piece in pieces:
                frames.feed(piece)
        assert caught.value.reason == "websocket-frame-invalid"
        assert caught.value.status == (400 if masked else 502)


def test_a_ping_between_fragments_and_a_close_that_ends_all() -> None:
    frames = of_server()
    data = frame(1, b"a", final=False, mask=None) + frame(9, b"p", mask=None)
    assert frames.feed(data) == data
    assert (frames.between_frames, frames.between_messages) == (True, False)
    rest = frame(0, b"b", mask=None) + frame(8, b"\x03\xe8bye", mask=None)
    assert frames.feed(rest + b"GET / HTTP/1.1\r\n") == rest
    assert (frames.ended, frames.close_code, frames.payload) == (True, 1000, 1 + 1 + 1 + 5)
    assert frames.feed(b"and anything else \xff" * 1000) == b""
    empty = of_client()
    assert read(empty.feed(frame(8)), masked=True) == [(True, 8, b"")]
    assert (empty.ended, empty.close_code) == (True, None)


def test_a_giant_announced_length_counts_at_once() -> None:
    frames = of_server()
    frames.feed(bytes.fromhex("827f00000f0000000000"))
    assert frames.payload == 0xF0000000000


def test_nothing_of_a_control_frame_goes_on_before_all_of_it_came() -> None:
    frames = of_client()
    ping = frame(9, b"p" * 125)
    assert b"".join(frames.feed(ping[i : i + 1]) for i in range(len(ping) - 1)) == b""
    assert read(frames.feed(ping[-1:]), masked=True) == [(True, 9, b"p" * 125)]


def test_our_own_close_frame_is_one() -> None:
    written = close_frame(1008, "policy-changed")
    assert read(written, masked=False) == [(True, 8, b"\x03\xf0policy-changed")]
    assert of_server().feed(written) == written
    long = of_server()
    long.feed(close_frame(1008, "x" * 500))
    assert (long.ended, long.payload) == (True, 125)


DATA = st.lists(
    st.lists(st.binary(max_size=300) | st.just(b"x" * 70_000), min_size=1, max_size=3), max_size=3
)  # messages in fragments


@settings(deadline=None, max_examples=60)
@given(DATA, st.lists(st.binary(max_size=125), max_size=2), st.booleans(), st.data())
def test_whatever_the_cuts_the_second_reader_finds_the_same_frames(messages, pings, masked, data) -> None:
    sent: list[Frame] = []
    for message in messages:
        for index, piece in enumerate(message):
            sent.append((index == len(message) - 1, 2 if not index else 0, piece))
            sent += [(True, 9, ping) for ping in pings]
    wire = b"".join(
        frame(opcode, payload, final=final, mask=MASK if masked else None) for final, opcode, payload in sent
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    frames = of_client() if masked else of_server()
    out = b"".join(frames.feed(wire[a:b]) for a, b in itertools.pairwise([0, *cuts, len(wire)]))
    assert read(out, masked=masked) == sent
    assert frames.payload == sum(len(payload) for _, _, payload in sent)


@given(st.binary(max_size=400), st.booleans())
def test_whatever_comes_it_is_frames_or_a_fault(data: bytes, masked) -> None:
    frames = of_client() if masked else of_server()
    fault = Refused if masked else UpstreamInvalid
    try:
        out = frames.feed(data)
    except fault:
        return
    assert len(out) <= len(data)
    assert len(frames._unread) <= 139
