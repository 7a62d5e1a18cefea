"""WebSocket frames in any pieces, against a second reader that was written from RFC 6455 alone (E13)."""

from __future__ import annotations

from itertools import count

from appliance.http1.refused import ProtocolFault, UpstreamInvalid
from appliance.websocket.frames import Frames

SEEDS = (
    b"\x00" + bytes.fromhex("818537fa213d7f9f4d5158"),
    b"\x01" + bytes.fromhex("8105") + b"Hello",
    b"\x05" + bytes.fromhex("0103") + b"Hel" + bytes.fromhex("8901") + b"p" + bytes.fromhex("8002") + b"lo",
    b"\x03" + bytes.fromhex("827e0080") + b"x" * 128 + bytes.fromhex("880203e8") + b"GET / HTTP/1.1\r\n",
    b"\x02"
    + bytes.fromhex("828000000000")
    + bytes.fromhex("8a8000000000")
    + bytes.fromhex("888200000000")
    + b"\x03\xe9",
    b"\x03" + bytes.fromhex("827f0000000000010000") + b"x" * 50,
    b"\x01" + bytes.fromhex("c100"),
    b"\x01" + bytes.fromhex("8805") + b"\x03\xe8\xc3\xbc!",
)
TOKENS = (
    b"\x81\x85",
    b"\x01\x80",
    b"\x80\x80",
    b"\x88\x82",
    b"\x89\x00",
    b"\x82\x7e\x00\x7e",
    b"\x82\x7f",
    b"\x03\xe8",
    bytes(8),
)
Frame = tuple[bool, int, bytes]
CODES = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


def one(data: bytes) -> None:
    """The first octet says whose frames they are, and in what pieces they arrive."""
    if not data:
        return
    masked, size, wire = not data[0] % 2, data[0] // 2 + 1, data[1:]
    expected, bad = read(wire, masked=masked)
    masks = (number.to_bytes(4, "big") for number in count(0x11223344, 0x01010101))
    frames = Frames(new_mask=lambda: next(masks)) if masked else Frames(blame=UpstreamInvalid)
    out, fault = b"", False
    try:
        for at in range(0, len(wire), size):
            out += frames.feed(wire[at : at + size])
            assert len(frames._unread) <= 139
    except ProtocolFault:
        fault = True
    assert fault == bad
    passed, broken = read(out, masked=masked)
    assert not broken
    if fault and passed:  # the last that went on may have been cut off by it
        whole = expected[len(passed) - 1]
        final, opcode, payload = passed.pop()
        assert (final, opcode, payload) == (*whole[:2], whole[2][: len(payload)])
    assert passed == (expected[: len(passed)] if fault else expected)
    assert len(out) <= len(wire)


def read(data: bytes, *, masked: bool) -> tuple[list[Frame], bool]:
    """Frames with the payload that there is of each, up to Close or a fault; whether there was one."""
    found: list[Frame] = []
    at, open_message = 0, False
    while len(data) - at >= 2:
        first, second, at = data[at], data[at + 1], at + 2
        final, opcode, short = first >= 128, first % 16, second % 128
        control = opcode in (8, 9, 10)
        legal = (
            first // 16 % 8 == 0
            and opcode in (0, 1, 2, 8, 9, 10)
            and (second >= 128) == masked
            and ((final and short < 126) if control else (opcode == 0) == open_message)
        )
        if not legal:
            return found, True
        wide = {126: 2, 127: 8}.get(short, 0)
        if len(data) - at < wide:
            return found, False
        length = int.from_bytes(data[at : at + wide], "big") if wide else short
        at += wide
        if length < {0: 0, 2: 126, 8: 65536}[wide] or length >= 2**63:
            return found, True
        key = data[at : at + 4] if masked else bytes(4)
        at += 4 if masked else 0
        if len(data) < at + length * control:
            return found, False
        payload = bytes(octet ^ key[index % 4] for index, octet in enumerate(data[at : at + length]))
        at += length
        if opcode == 8:
            if payload and not closes_well(payload):
                return found, True
            return [*found, (final, opcode, payload)], False
        found.append((final, opcode, payload))
        if not control:
            open_message = not final
    return found, False


def closes_well(payload: bytes) -> bool:
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return False
    return len(payload) > 1 and payload[0] * 256 + payload[1] in CODES
