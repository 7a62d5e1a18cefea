"""What a target's witness writes down of the packets on its link."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, cast

import pytest

from tests.provision.host import origin

if TYPE_CHECKING:
    from pathlib import Path

HOST, OUTGOING = 0, socket.PACKET_OUTGOING


def frame(destination: str, port: int, protocol: int = origin.UDP, options: int = 0) -> bytes:
    head = bytes([0x45 + options]) + bytes(8) + bytes([protocol]) + bytes(6) + socket.inet_aton(destination)
    return bytes(12) + b"\x08\x00" + head + bytes(4 * options) + struct.pack("!HH", 4000, port) + bytes(4)


class Tap:
    """Frames in their order, then an error; `lost`: of each question for the kernel's counts."""

    def __init__(self, *frames: tuple[bytes, int], lost: tuple[int, ...] = ()) -> None:
        self._frames = list(frames)
        self._lost = list(lost)

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int, int]]:
        if not self._frames:
            raise OSError("the link is gone")
        data, kind = self._frames.pop(0)
        return data[:size], (origin.LINK, 0x0800, kind)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option, size) == (origin.SOL_PACKET, origin.PACKET_STATISTICS, 8)
        return struct.pack("=II", 9, self._lost.pop(0) if self._lost else 0)


def noted(monkeypatch: pytest.MonkeyPatch, folder: Path, tap: Tap) -> list[str]:
    """The record without its times, when the witness has ended with its link."""
    monkeypatch.setattr(origin, "HERE", folder)
    with pytest.raises(OSError, match="link is gone"):
        origin.watch(cast("socket.socket", tap))
    record = folder / "packets"
    return [line.partition(" ")[2] for line in record.read_text(encoding="ascii").splitlines()]


def test_each_destination_is_noted_once_and_anew_after_a_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packet, mark = (frame("10.0.1.5", 80), HOST), (frame(origin.MARK, 20001), HOST)
    assert noted(monkeypatch, tmp_path, Tap(packet, packet, mark, packet)) == [
        "packet 17 10.0.1.5 80", "mark 20001 0", "packet 17 10.0.1.5 80",
    ]  # fmt: skip


def test_what_the_kernel_dropped_is_told_at_every_mark_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = [(frame(origin.MARK, port), HOST) for port in (20001, 20002, 20003)]
    assert noted(monkeypatch, tmp_path, Tap(*marks, lost=(0, 4, 0))) == [
        "mark 20001 0", "mark 20002 4", "mark 20003 4",
    ]  # fmt: skip


def test_what_the_origin_sends_itself_is_not_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [(frame("10.0.1.5", 80), OUTGOING), (frame("10.0.1.5", 81), HOST)]
    assert noted(monkeypatch, tmp_path, Tap(*frames)) == ["packet 17 10.0.1.5 81"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (frame("93.184.215.10", 443, origin.TCP), (6, "93.184.215.10", 443)),
        (frame("93.184.215.10", 443, origin.TCP, options=2), (6, "93.184.215.10", 443)),
        (frame("93.184.215.10", 443, 1), (1, "93.184.215.10", 0)),
        (frame("93.184.215.10", 443)[:36], (17, "93.184.215.10", 0)),
        (frame("93.184.215.10", 443)[:33], None),
        (bytes(12) + b"\x08\x06" + bytes(40), None),
    ],
)
def test_a_frame_has_a_destination(data: bytes, expected: tuple[int, str, int] | None) -> None:
    assert origin.destination(data) == expected
