"""A proof is verified and used up: all checks that need no store first, the record of its use last.

So what fails any check burns no `jti`, and of two requests with one proof one passes (RFC 9449 section 11.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from appliance.broker.denied import invalid_proof
from appliance.broker.dpop.keys import ALGORITHMS
from appliance.broker.dpop.nonces import Nonces
from appliance.broker.dpop.proof import Expected, ForNewToken, ForToken, Window, judge_proof
from appliance.broker.dpop.target import TargetUri
from appliance.broker.replay import Replays, UsedProof

CLOCKS_APART = 60
"""Seconds by which the clocks of two processes with the same store may differ."""


@dataclass(frozen=True, slots=True)
class ProofRequest:
    """The request with which a proof came: what its `htm` and `htu` must say."""

    method: str
    target: TargetUri


@dataclass(frozen=True, slots=True)
class Verified:
    """`jkt` of the proof's key; `nonce` to be given in the answer's `DPoP-Nonce` field, if any."""

    jkt: str
    nonce: str | None


class Verifier:
    """Verifies proofs; without a store and nonces there is none. Blocking."""

    def __init__(
        self,
        replays: Replays,
        nonces: Nonces,
        window: Window | None = None,
        algorithms: frozenset[str] = ALGORITHMS,
    ) -> None:
        if not algorithms or not algorithms <= ALGORITHMS:
            raise ValueError(f"algorithms are some of {', '.join(sorted(ALGORITHMS))}")
        # Looked up here: what has no store or nonces fails when it starts, not at the first proof.
        self._first_use = replays.first_use
        self._accepted = nonces.accepted
        self._window = window or Window()
        self.algorithms = algorithms

    def verify(
        self,
        proof: str,
        request: ProofRequest,
        *,
        tenant: str,
        workload: str,
        session: str,
        purpose: ForToken | ForNewToken,
        now: datetime,
    ) -> Verified:
        """Use up a proof. `session` is the token's; for a new token, its purpose. Raises `Denied`."""
        moment = int(now.timestamp())
        nonces = self._accepted(tenant, workload, moment)
        expected = Expected(
            request.method, request.target, purpose, moment, self._window, self.algorithms, nonces
        )
        judged = judge_proof(proof, expected)
        # A proof from the future is good until its `iat` and the past window are over, in the slowest clock.
        kept_until = moment + self._window.future + self._window.past + CLOCKS_APART
        if not self._first_use(UsedProof(tenant, session, judged.jkt, judged.jti), moment, kept_until):
            raise invalid_proof("proof_replayed", "the proof was used before")
        return Verified(judged.jkt, None if judged.nonce_is_current else nonces[0])
