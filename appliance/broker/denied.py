"""Why presented authority does not count, in the words of RFC 6750 section 3.1 and RFC 9449 section 7.1."""

from __future__ import annotations

from typing import Literal

Error = Literal[
    "", "invalid_request", "invalid_token", "invalid_dpop_proof", "use_dpop_nonce", "temporarily_unavailable"
]


class Denied(Exception):
    """Answered with `status` and `error`; "" where nothing was presented (RFC 6750 section 3.1).

    `reason` is a stable code for records and tests, `detail` one sentence that quotes nothing presented.
    `nonce` is what the next proof must hold, with `use_dpop_nonce` alone.
    """

    def __init__(self, status: int, error: Error, reason: str, detail: str, nonce: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.status = status
        self.error: Error = error
        self.reason = reason
        self.detail = detail
        self.nonce = nonce


def invalid_proof(reason: str, detail: str) -> Denied:
    """The DPoP proof itself is at fault."""
    return Denied(401, "invalid_dpop_proof", reason, detail)


def invalid_token(reason: str, detail: str) -> Denied:
    """The token is unknown, over, or somebody else's."""
    return Denied(401, "invalid_token", reason, detail)


def store_unavailable() -> Denied:
    """What would have to be asked does not answer: nothing is let through meanwhile."""
    return Denied(
        503, "temporarily_unavailable", "store_unavailable", "the store of sessions does not answer"
    )
