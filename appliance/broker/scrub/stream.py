"""Octets as they arrive, with a marker where a secret was.

Live secrets are taken out first, then what looks like a credential. What could be the beginning of a match is
held back until it is decided, and nothing else: an event goes on at once unless its last octets could begin
one. However the octets are cut, the same comes out. Each octet is looked at a bounded number of times.

Why two expressions of RE2: on one processor (AMD EPYC), 64 KiB of JSON text at a time, with three live
secrets of 40 to 56 octets and the eleven patterns, it was measured that

| way                                                                   | MB/s | compiled for a call |
|-----------------------------------------------------------------------|------|---------------------|
| the heads and the patterns in one expression of Python's `re`         |   10 |                     |
| RE2, each form and each pattern in turn                               |   90 |                     |
| `bytes.find` for 47 literals, without mixtures and what follows heads |  171 |                     |
| RE2, heads of live secrets and patterns in one expression             |  615 | 5.3 ms              |
| RE2, one expression of heads and, compiled once, one of patterns      |  299 | 1.4 ms              |

The last is chosen, for most bodies are small, and a call waits for its compilation. Even that expression is
not compiled before a glance at a simpler one (`glance`) leaves a doubt. `make bench` tells today's figures.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.patterns import Tail
from appliance.broker.scrub.rules import Rules


def marker(name: str) -> bytes:
    """What stands where a secret was; neither JSON nor a header field has to escape it."""
    return b"[scrubbed:%b]" % name.encode("ascii")


class Sieve:
    """One pass over a stream by one set of rules."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._kept = b""
        self._seen = 0
        self._tail: Tail | None = None
        self._marked = ""

    def feed(self, data: bytes) -> bytes:
        """Octets that have arrived; those that may go on."""
        return self._pass(data, last=False)

    def end(self) -> bytes:
        """Nothing follows: what was held back, if it came to nothing."""
        return self._pass(b"", last=True)

    def whole(self, data: bytes) -> bytes:
        """For octets that are there as a whole, instead of `feed` and `end`."""
        return self._pass(data, last=True)

    def _pass(self, data: bytes, *, last: bool) -> bytes:
        text, at = self._kept + data if self._kept else data, self._seen
        out: list[bytes] = []
        if self._tail:
            at = self._swallow(self._tail, text, at)
        held = len(text) if last else self._rules.held(text, at)
        while at < held and (found := self._rules.first(text, at)) and found.begin < held:
            if found.start > at or found.name != self._marked:
                out += (text[at : found.start], marker(found.name))
            self._marked, at = found.name, found.end
            if found.tail:
                at = self._swallow(found.tail, text, at)
            if at > held:
                held = self._rules.held(text, at)
        if at < held:
            self._marked = ""
            out.append(text[at:held])
        self._seen = min(self._rules.context, held)
        self._kept = text[held - self._seen :]
        return out[0] if len(out) == 1 else b"".join(out)

    def _swallow(self, tail: Tail, text: bytes, at: int) -> int:
        end, over = tail.end(text, at)
        self._tail = None if over else tail
        return end


class Stream:
    """A stream through all sieves. After a failure of any kind it is broken for good: `scrub-failed`."""

    def __init__(self, rules: Sequence[Rules]) -> None:
        self._sieves = [Sieve(each) for each in rules]
        self._open = True

    def feed(self, data: bytes) -> bytes:
        """Octets that have arrived; those that may go on. Raises `ScrubFault`."""
        return self._through(data, last=False)

    def end(self) -> bytes:
        """Nothing follows; the last octets. Raises `ScrubFault`."""
        return self._through(b"", last=True)

    def whole(self, data: bytes) -> bytes:
        """For octets that are there as a whole, instead of `feed` and `end`. Raises `ScrubFault`."""
        return self._through(data, last=True)

    def _through(self, data: bytes, *, last: bool) -> bytes:
        if not self._open:
            raise ScrubFault("scrub-failed", "the stream has ended or failed before")
        self._open = False
        try:
            for sieve in self._sieves:
                data = sieve.whole(data) if last else sieve.feed(data)
        except Exception:  # noqa: BLE001 - whatever it was, nothing goes on
            raise ScrubFault("scrub-failed", "the scrubber itself failed") from None
        self._open = not last
        return data
