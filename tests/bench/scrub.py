"""How fast bodies pass the broker's scrubber, with three live secrets and the eleven patterns, on one processor.

Beside it, in turn, zlib takes the gzip coding off the same text: what any reader of such a body does at the least.
The goal for plain text stands for 200 MB/s on a processor on which zlib gives 650. Events come one by one, each
as a server flushes it, and each must have gone on whole before the next comes.
"""

from __future__ import annotations

import gzip
import json
import random
import statistics
import zlib
from base64 import b64encode, encodebytes
from collections.abc import Callable
from time import thread_time

from appliance.broker.scrub.scrubber import Scrubber
from tests.bench.rows import Row

PIECE = 64 << 10  # octets, as a read from a socket gives at most
PLAIN = 32 << 20
EVENTS = 20_000
WORDS = (
    "the",
    "quick",
    "brown",
    "fox",
    "task-oriented",
    "pipeline",
    "sk-learn",
    "of",
    "42",
    "\n",
    '"quoted"',
    "a/b",
)


def _secrets(rnd: random.Random) -> list[bytes]:
    return [
        b"sk-proj-" + b64encode(rnd.randbytes(36)),
        b64encode(rnd.randbytes(30)),
        rnd.randbytes(20).hex().encode(),
    ]


def _answer(rnd: random.Random) -> bytes:
    content = " ".join(rnd.choices(WORDS, k=30))
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    answer = {"id": f"chatcmpl-{rnd.getrandbits(64):x}", "created": rnd.getrandbits(31), "choices": [choice]}
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


def _rate(work: Callable[[], object], size: int) -> float:
    """Octets of plain text that pass in a second of the processor, in millions."""
    begun = thread_time()
    work()
    return size / (thread_time() - begun) / 1e6


def _cut(data: bytes) -> list[bytes]:
    return [data[at : at + PIECE] for at in range(0, len(data), PIECE)]


def _through(scrubber: Scrubber, fields: list[tuple[bytes, bytes]], pieces: list[bytes], size: int) -> None:
    body = scrubber.body(fields)
    passed = sum(len(body.feed(piece)) for piece in pieces) + len(body.end())
    if passed != size:
        raise RuntimeError(f"{passed} octets of {size} have passed")


def _decoded(pieces: list[bytes]) -> None:
    coded = zlib.decompressobj(31)
    for piece in pieces:
        coded.decompress(piece, 4 * PIECE)
        while coded.unconsumed_tail:
            coded.decompress(coded.unconsumed_tail, 4 * PIECE)


def _events(scrubber: Scrubber, events: list[bytes]) -> None:
    body = scrubber.body([(b"Content-Type", b"text/event-stream")])
    for event in events:
        if len(body.feed(event)) != len(event):
            raise RuntimeError("an event was held back")


def _key(rnd: random.Random) -> bytes:
    """As long as an RSA key of 4096 bits in PEM."""
    return (
        b"-----BEGIN PRIVATE KEY-----\n" + encodebytes(rnd.randbytes(2373)) + b"-----END PRIVATE KEY-----\n"
    )


def _compiled(secrets: list[bytes]) -> float:
    """Milliseconds until a call's scrubber is ready: made, and used once."""
    begun = thread_time()
    for _ in range(20):
        Scrubber(secrets).octets(b"{}")
    return (thread_time() - begun) / 20 * 1e3


def measure(rounds: int) -> list[Row]:
    """Three rows: plain text, text in gzip, and events."""
    rnd = random.Random(4)
    secrets = _secrets(rnd)
    scrubber = Scrubber(secrets)
    many = b"".join(_answer(rnd) for _ in range(2000))
    text = many * (PLAIN // len(many))
    plain, coded = _cut(text), _cut(gzip.compress(text, 6))
    events = [b"data: " + _answer(rnd) + b"\n" for _ in range(EVENTS)]
    size, in_gzip = sum(map(len, events)), [(b"Content-Encoding", b"gzip")]
    ours: dict[str, list[float]] = {"plain": [], "gzip": [], "events": []}
    peer: list[float] = []
    for _ in range(rounds):
        ours["plain"].append(_rate(lambda: _through(scrubber, [], plain, len(text)), len(text)))
        peer.append(_rate(lambda: _decoded(coded), len(text)))
        ours["gzip"].append(_rate(lambda: _through(scrubber, in_gzip, coded, len(text)), len(text)))
        ours["events"].append(_rate(lambda: _events(scrubber, events), size))
    zlibs = statistics.median(peer)
    rates = {name: statistics.median(figures) for name, figures in ours.items()}
    goals = {"plain": 0.3, "gzip": 0.25, "events": None}
    more: dict[str, dict[str, float]] = {
        "plain": {
            "ready_ms": round(statistics.median(_compiled(secrets) for _ in range(rounds)), 3),
            "ready_key_ms": round(statistics.median(_compiled([_key(rnd)]) for _ in range(rounds)), 3),
        },
        "gzip": {},
        "events": {"events_per_second": round(rates["events"] * 1e6 / (size / EVENTS))},
    }
    said = {"plain": "plain text", "gzip": "text in gzip", "events": "events"}
    return [
        Row(
            f"scrubbed {said[name]} / zlib taking gzip off, a second of one processor",
            rate / zlibs,
            goals[name],
            "up",
            {"ours_mb_per_second": round(rate), "peer_zlib_mb_per_second": round(zlibs), **more[name]},
        )
        for name, rate in rates.items()
    ]


if __name__ == "__main__":
    for row in measure(3):
        print(row.as_json())
