"""What upstream said, for as long as it may be used again.

An entry belongs to one tenant: a tenant can neither push out another's entries nor learn, from how fast or
with which remaining TTL an answer comes, what others have asked. Entries are *unjudged*: every use judges
them again, so that a policy that changed applies at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.names import HostName
from appliance.resolver.outcome import Absent, Found, Unusable, UpstreamResult
from appliance.resolver.shares import Shares

POSITIVE_ENTRIES = 4096
NEGATIVE_ENTRIES = 1024
LONGEST_ABSENCE = 60
FAILURE_LIFE = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A result, when it was learned and until when it holds (monotonic seconds)."""

    result: UpstreamResult
    learned: float
    expires: float


class AnswerCache:
    """Results by tenant and name. `min_ttl` and `max_ttl` bound the life of addresses, in seconds."""

    def __init__(self, min_ttl: int, max_ttl: int) -> None:
        self._min_ttl = min_ttl
        self._max_ttl = max_ttl
        self._found: Shares[HostName, Entry] = Shares(POSITIVE_ENTRIES)
        self._others: Shares[HostName, Entry] = Shares(NEGATIVE_ENTRIES)

    def __len__(self) -> int:
        return len(self._found) + len(self._others)

    def put(self, tenant: str, name: HostName, result: UpstreamResult, now: float) -> Entry:
        """Keep `result` in place of what was known; a failure does not replace addresses that still hold."""
        entry = Entry(result, now, now + self._life(result))
        if isinstance(result, Unusable):
            known = self._found.get(tenant, name)
            if known is not None and now < known.expires:
                return entry
        keep, forget = (
            (self._found, self._others) if isinstance(result, Found) else (self._others, self._found)
        )
        forget.drop(tenant, name)
        keep.put(tenant, name, entry)
        return entry

    def get(self, tenant: str, name: HostName, now: float, max_age: float | None = None) -> Entry | None:
        """The entry, unless it has expired or was learned more than `max_age` seconds ago."""
        for share in (self._found, self._others):
            entry = share.get(tenant, name)
            if entry is None:
                continue
            if now >= entry.expires:
                share.drop(tenant, name)
            elif max_age is None or now - entry.learned <= max_age:
                return entry
        return None

    def _life(self, result: UpstreamResult) -> int:
        match result:
            case Found(ttl=ttl):
                return min(max(ttl, self._min_ttl), self._max_ttl)
            case Absent(ttl=ttl):
                # RFC 2308 §5 allows hours; a name that is put right should not stay lost here for long.
                return min(max(ttl, self._min_ttl), self._max_ttl, LONGEST_ABSENCE)
            case _:
                # RFC 9520 §3.2: a failure is kept for at least a second, so that it is not asked in a loop.
                return FAILURE_LIFE
