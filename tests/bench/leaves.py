"""How many leaf certificates a worker mints in a second, against the bare signatures that they need.

Each leaf is for a name that the cache does not know: made, signed and put into a TLS context, as the first
connection for a host needs it. Beside it, in turn, as many bare signatures by the same key: what is between the two
is the making of the certificate and of the context.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from time import thread_time

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256

from appliance.names import HostName
from appliance.tls.authority import issue_intermediate, issue_root, new_key, signing_request
from appliance.tls.intermediate import Intermediate
from appliance.tls.leaf import LeafCache
from tests.bench.rows import Row

LEAVES = 1000  # a round, each of another name


def _cache() -> LeafCache:
    now = datetime.now(UTC)
    root_key, key = new_key(), new_key()
    root = issue_root(root_key, "bench", now)
    leaves = LeafCache()
    leaves.install(
        Intermediate(key, issue_intermediate(root, root_key, signing_request(key), "bench", now), root)
    )
    return leaves


def _per_second(work: Callable[[int], object]) -> float:
    """How often `work` is done in a second of the processor."""
    begun = thread_time()
    for number in range(LEAVES):
        work(number)
    return LEAVES / (thread_time() - begun)


def measure(rounds: int) -> list[Row]:
    """Leaves a second over signatures a second; a leaf that is at hand is told with it."""
    leaves, key = _cache(), new_key()
    minted, signed, found = [], [], []
    known = HostName("known.example.net")
    for turn in range(rounds):
        names = [HostName(f"h{number}.r{turn}.example.net") for number in range(LEAVES)]
        minted.append(_per_second(lambda number, names=names: leaves.mint(names[number])))  # type: ignore[misc]  # mypy cannot tell a lambda's default
        signed.append(_per_second(lambda number: key.sign(b"%d" % number, ECDSA(SHA256()))))
        leaves.mint(known)
        found.append(_per_second(lambda _: leaves.mint(known)))
    ours, bare = statistics.median(minted), statistics.median(signed)
    raw = {
        "ours_per_second": round(ours),
        "bare_signatures_per_second": round(bare),
        "at_hand_per_second": round(statistics.median(found)),
    }
    return [Row("leaves minted / bare signatures, a second of one processor", ours / bare, None, "up", raw)]


if __name__ == "__main__":
    for row in measure(3):
        print(row.as_json())
