"""How much of request bodies is in memory where a call cannot go on before it has all of its body."""

from __future__ import annotations

from collections import Counter

MOST = 64 << 20
"""Octets of one body. AWS, whose signatures cover bodies, takes no more in one piece but for S3."""
OF_TENANT = 96 << 20
IN_ALL = 384 << 20


class Keeping:
    """Octets that are promised to calls, until they give them back."""

    def __init__(self, of_tenant: int = OF_TENANT, in_all: int = IN_ALL) -> None:
        self._of_tenant = of_tenant
        self._in_all = in_all
        self._promised: Counter[str] = Counter()
        self._sum = 0

    def take(self, tenant: str, octets: int) -> bool:
        """Whether there is room for so many more."""
        if self._sum + octets > self._in_all or self._promised[tenant] + octets > self._of_tenant:
            return False
        self._promised[tenant] += octets
        self._sum += octets
        return True

    def give_back(self, tenant: str, octets: int) -> None:
        """What was taken."""
        self._sum -= octets
        self._promised[tenant] -= octets
        if not self._promised[tenant]:
            del self._promised[tenant]
