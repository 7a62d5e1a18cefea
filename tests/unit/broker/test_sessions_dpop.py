"""appliance.broker.sessions: those that are bound to the key of a proof, from the opening to the call."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from appliance.broker.database import open_database
from appliance.broker.denied import Denied
from appliance.broker.dpop import proof as checks
from appliance.broker.dpop.nonces import Nonces
from appliance.broker.dpop.presented import Presented
from appliance.broker.dpop.proof import access_token_hash
from appliance.broker.dpop.target import TargetUri
from appliance.broker.dpop.verifier import ProofRequest, Verifier
from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.replay import Replays, used_proofs
from appliance.broker.session_table import SessionTable
from appliance.broker.sessions import Authorised, Opened, Presenter, Sessions
from tests.unit.broker.proofs import ABSENT, EC_KEY, ED_KEY, NOW, OTHER_KEY, Private, jkt, proof

MOMENT = datetime.fromtimestamp(NOW, UTC)
OPEN = "https://broker.example/sessions"
CALL = "https://broker.example/execute"
ME = Presenter(WorkloadId("lab", "acme", "c1"), "m" * 43)
NONCES = Nonces(bytes(range(32)))
NONCE = NONCES.accepted("acme", ME.workload.uri, NOW)[0]


class Workload:
    """Opens a session and calls, with proofs of its own making."""

    def __init__(self, database: Engine) -> None:
        self.sessions = Sessions(SessionTable(database), Verifier(Replays(database), NONCES))
        self.count = 0

    def proof(self, uri: str, key: Private = EC_KEY, **claims: Any) -> str:
        self.count += 1
        return proof(key, **({"htu": uri, "nonce": NONCE, "jti": f"jti-{self.count}"} | claims))

    def open(self, *proofs: str, who: Presenter = ME) -> Opened:
        return self.sessions.open(who, 600, ProofRequest("POST", TargetUri.parse(OPEN)), proofs, MOMENT)

    def opened(self, key: Private = EC_KEY) -> str:
        return self.open(self.proof(OPEN, key, ath=ABSENT)).token

    def call(self, token: str, *proofs: str, scheme: Any = "DPoP", who: Presenter = ME) -> Authorised:
        request = ProofRequest("POST", TargetUri.parse(CALL))
        return self.sessions.authorise(Presented(scheme, token, proofs), who, request, MOMENT)

    def refused(self, token: str, *proofs: str, **how: Any) -> tuple[int, str, str]:
        with pytest.raises(Denied) as caught:
            self.call(token, *proofs, **how)
        return caught.value.status, caught.value.error, caught.value.reason

    def good(self, token: str, key: Private = EC_KEY, **claims: Any) -> str:
        return self.proof(CALL, key, **({"ath": access_token_hash(token)} | claims))


@pytest.fixture
def workload(database: Engine) -> Workload:
    return Workload(database)


def test_rfc9449_a_000_11_a_session_opened_with_a_proof_names_its_key_and_wants_it_again(
    workload: Workload,
) -> None:
    found = workload.open(workload.proof(OPEN, ath=ABSENT))
    assert found.session.dpop_jkt == jkt(EC_KEY)
    assert workload.call(found.token, workload.good(found.token)).session == found.session
    assert workload.refused(found.token) == (401, "invalid_dpop_proof", "proof_missing")


def test_rfc9449_b_000_11_a_bound_token_is_no_bearer_token(workload: Workload) -> None:
    """RFC 9449 section 7.2; also with a good proof beside it."""
    token = workload.opened()
    assert workload.refused(token, scheme="Bearer") == (401, "invalid_token", "scheme_mismatch")
    assert workload.refused(token, workload.good(token), scheme="Bearer")[2] == "scheme_mismatch"


def test_a_token_that_is_not_bound_is_not_taken_as_bound(workload: Workload) -> None:
    token = workload.open().token
    assert workload.refused(token, workload.good(token)) == (401, "invalid_token", "scheme_mismatch")
    assert workload.call(token, scheme="Bearer").session.dpop_jkt is None


def test_000_12_a_proof_of_another_key_does_not_carry_the_token(workload: Workload) -> None:
    token = workload.opened()
    assert workload.refused(token, workload.good(token, OTHER_KEY)) == (401, "invalid_token", "jkt_mismatch")
    assert workload.refused(token, workload.good(token, ED_KEY))[2] == "jkt_mismatch"


def test_000_13_a_proof_for_another_token_of_the_same_key_is_refused(workload: Workload) -> None:
    one, other = workload.opened(), workload.opened()
    assert workload.refused(one, workload.good(other)) == (401, "invalid_dpop_proof", "ath_mismatch")
    assert workload.refused(one, workload.good(one, ath=ABSENT))[2] == "ath_mismatch"
    assert workload.call(one, workload.good(one))


def test_000_16_a_proof_serves_one_call_at_one_worker(workload: Workload, database_url: str) -> None:
    other = open_database(database_url)
    try:
        token = workload.opened()
        text = workload.good(token)
        assert workload.call(token, text)
        assert Workload(other).refused(token, text) == (401, "invalid_dpop_proof", "proof_replayed")
        assert workload.refused(token, text)[2] == "proof_replayed"
    finally:
        other.dispose()


def test_rfc9449_j_a_retry_needs_a_fresh_proof(workload: Workload) -> None:
    """What a client calls the same request is its own matter: a proof's identifier names the proof alone."""
    token = workload.opened()
    text = workload.good(token)
    assert workload.call(token, text)
    assert workload.refused(token, text)[2] == "proof_replayed"
    for _ in range(3):
        assert workload.call(token, workload.good(token))


def test_000_16_a_proof_opens_one_session(workload: Workload) -> None:
    text = workload.proof(OPEN, ath=ABSENT)
    workload.open(text)
    with pytest.raises(Denied, match="proof_replayed"):
        workload.open(text)


def test_000_17_sessions_do_not_share_identifiers(workload: Workload) -> None:
    one, other = workload.opened(), workload.opened()
    assert workload.call(one, workload.good(one, jti="same"))
    assert workload.call(other, workload.good(other, jti="same"))
    assert workload.refused(one, workload.good(one, jti="same"))[2] == "proof_replayed"


def test_rfc9449_h_000_09_a_stolen_token_with_its_proof_is_refused_for_another_certificate(
    workload: Workload,
) -> None:
    """A proof covers neither body nor fields (section 11.7): the connection's certificate stands for those.

    Who copies token and proof can send another body neither from elsewhere nor a second time.
    """
    token = workload.opened()
    text = workload.good(token)
    assert workload.refused(token, text, who=Presenter(ME.workload, "o" * 43))[2] == "certificate_mismatch"
    assert workload.call(token, text)  # and its proof was not used up by the thief
    assert workload.refused(token, text)[2] == "proof_replayed"


def test_a_proof_is_not_used_up_by_a_session_that_is_over(workload: Workload, database: Engine) -> None:
    token = workload.opened()
    workload.sessions.revoke_token(token, MOMENT)
    assert workload.refused(token, workload.good(token)) == (401, "invalid_token", "session_revoked")
    with database.connect() as connection:
        assert len(connection.execute(used_proofs.select()).all()) == 1  # the opening's


def test_two_proofs_are_refused_at_the_opening_and_at_the_call(workload: Workload) -> None:
    with pytest.raises(Denied, match="proof_repeated"):
        workload.open(workload.proof(OPEN, ath=ABSENT), workload.proof(OPEN, ath=ABSENT))
    token = workload.opened()
    assert workload.refused(token, workload.good(token), workload.good(token))[2] == "proof_repeated"


def test_a_bad_proof_opens_no_session_also_not_one_without_a_key(workload: Workload) -> None:
    for bad in ("", "x", workload.proof(CALL, ath=ABSENT), workload.proof(OPEN, iat=NOW - 600, ath=ABSENT)):
        with pytest.raises(Denied):
            workload.open(bad)
    assert workload.sessions.live("acme", MOMENT) == 0


def test_an_opening_without_nonce_is_told_which(workload: Workload) -> None:
    with pytest.raises(Denied) as caught:
        workload.open(workload.proof(OPEN, ath=ABSENT, nonce=ABSENT))
    assert (caught.value.error, caught.value.nonce) == ("use_dpop_nonce", NONCE)
    before = NONCES.accepted("acme", ME.workload.uri, NOW)[1]
    found = workload.open(workload.proof(OPEN, ath=ABSENT, nonce=before))
    assert found.nonce == NONCE
    text = workload.good(found.token, nonce=before)
    assert workload.call(found.token, text).nonce == NONCE


def test_000_18_a_replay_store_that_is_down_denies_bound_sessions(
    workload: Workload, database: Engine
) -> None:
    token = workload.opened()
    used_proofs.drop(database)
    assert workload.refused(token, workload.good(token)) == (
        503,
        "temporarily_unavailable",
        "store_unavailable",
    )
    with pytest.raises(Denied, match="store_unavailable"):
        workload.opened()


SUBSTITUTIONS = {
    "_bound_key": lambda w, token: w.good(token, OTHER_KEY),
    "_access_token": lambda w, token: w.good(token, ath=access_token_hash(w.opened())),
    "_htu": lambda w, token: w.good(token, htu=OPEN),
    "_htm": lambda w, token: w.good(token, htm="GET"),
}


@pytest.mark.parametrize("check", SUBSTITUTIONS)
def test_000_19_taking_one_check_away_lets_a_substitution_through(
    workload: Workload, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = workload.opened()
    assert workload.refused(token, SUBSTITUTIONS[check](workload, token))[0] == 401
    monkeypatch.setattr(checks, "CHECKS", tuple(c for c in checks.CHECKS if c.__name__ != check))
    assert workload.call(token, SUBSTITUTIONS[check](workload, token))


def test_000_19_taking_the_record_of_uses_away_lets_a_replay_through(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = workload.opened()
    text = workload.good(token)
    workload.call(token, text)
    assert workload.refused(token, text)[2] == "proof_replayed"
    monkeypatch.setattr("appliance.broker.dpop.verifier.UsedProof", lambda t, s, k, j: _fresh(t, s, k))
    assert workload.call(token, text)


def _fresh(tenant: str, session: str, key: str) -> Any:
    from uuid import uuid4

    from appliance.broker.replay import UsedProof

    return UsedProof(tenant, session, key, str(uuid4()))
