"""A body of an answer: its codings are taken off, and what it says goes through the scrubber.

Chunked transfer has been taken off before (`appliance.http1`); where its chunks were cut means nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from appliance.broker.scrub.coding import Decoding
from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.stream import Stream


class Body:
    """Octets of a body in, octets without coding and without secrets out. Broken for good after a failure."""

    def __init__(self, content_encoding: Iterable[bytes], stream: Stream) -> None:
        """`content_encoding`: the values of all fields of that name. Raises `ScrubFault`."""
        self._decoding = Decoding(content_encoding)
        self._stream = stream
        self._open = True

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What may go on, in bounded pieces: a small body may decode to a large one. Raises `ScrubFault`."""
        return self._decoded(data, last=False) if self._decoding.coded else iter((self.feed(data),))

    def feed(self, data: bytes) -> bytes:
        """What may go on. Raises `ScrubFault`: then nothing more may."""
        if self._decoding.coded:
            return b"".join(self._decoded(data, last=False))
        if not self._open:
            raise _closed()
        self._open = False
        passed = self._stream.feed(data)
        self._open = True
        return passed

    def whole(self, data: bytes) -> bytes:
        """The last octets, and nothing follows: instead of `pieces` and `end`. Raises `ScrubFault`.

        Nothing has to be held back then, and all is searched once: 35 us of a call whose answer comes whole.
        Of a body without a coding alone: another may decode to more than memory holds.
        """
        if not self._open:
            raise _closed()
        self._open = False
        if self._decoding.coded:
            raise ScrubFault("scrub-failed", "a coded body is scrubbed in pieces")
        return self._stream.whole(data)

    def end(self) -> bytes:
        """Nothing follows; the last octets. Raises `ScrubFault`, also when the coded body is not whole."""
        return b"".join(self._decoded(b"", last=True))

    def _decoded(self, data: bytes, *, last: bool) -> Iterator[bytes]:
        if not self._open:
            raise _closed()
        self._open = False
        try:
            for piece in self._decoding.decode(data):
                yield self._stream.feed(piece)
            if last:
                self._decoding.finish()
                yield self._stream.end()
        except ScrubFault:
            raise
        except Exception:  # noqa: BLE001 - whatever it was, nothing goes on
            raise ScrubFault("scrub-failed", "the scrubber itself failed") from None
        self._open = not last


def _closed() -> ScrubFault:
    return ScrubFault("scrub-failed", "the body has ended or failed before")
