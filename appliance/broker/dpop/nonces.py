"""Nonces for proofs (RFC 9449 sections 8 and 9): unpredictable without the key, and nothing to store.

A nonce is a MAC over who asks and the period of time in which it is given. That of this period and that of
the one before are accepted, so each is good for one to two periods. There is always a current one: nobody can
be in a state in which a proof without nonce would do.
"""

from __future__ import annotations

import hmac

from appliance.broker.dpop.compact import encode_base64url

PERIOD = 300
"""Seconds."""

KEY_SIZE = 32
"""Octets."""


class Nonces:
    """All processes that answer for the same sessions have the same `key`. Raises `ValueError`."""

    def __init__(self, key: bytes, period: int = PERIOD) -> None:
        if len(key) != KEY_SIZE or period < 1:
            raise ValueError(f"nonces need a key of {KEY_SIZE} random octets, and a period in seconds")
        self._key = key
        self._period = period

    def accepted(self, tenant: str, workload: str, now: int) -> tuple[str, str]:
        """The nonce to give this workload at `now` (Unix seconds), and the one before it."""
        number = now // self._period
        return self._nonce(tenant, workload, number), self._nonce(tenant, workload, number - 1)

    def _nonce(self, tenant: str, workload: str, number: int) -> str:
        parts = (tenant.encode(), workload.encode(), str(number).encode())
        # Lengths first: no two triples make the same text.
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return encode_base64url(hmac.digest(self._key, text, "sha256"))
