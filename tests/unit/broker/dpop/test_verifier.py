"""appliance.broker.dpop.verifier: used up once, last, and never without a store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, delete, func, select

from appliance.broker.database import open_database, reading
from appliance.broker.denied import Denied
from appliance.broker.dpop.keys import ALGORITHMS
from appliance.broker.dpop.nonces import PERIOD, Nonces
from appliance.broker.dpop.proof import ForNewToken, ForToken, Window
from appliance.broker.dpop.target import TargetUri
from appliance.broker.dpop.verifier import CLOCKS_APART, ProofRequest, Verified, Verifier
from appliance.broker.replay import Replays, used_proofs
from tests.unit.broker.proofs import ABSENT, EC_KEY, METHOD, NOW, OTHER_KEY, TOKEN, URI, Private, jkt, proof

REQUEST = ProofRequest(METHOD, TargetUri.parse(URI))
NONCES = Nonces(bytes(range(32)))
WORKLOAD = "spiffe://lab/tenant/acme/workload/c1"
MOMENT = datetime.fromtimestamp(NOW, UTC)
WINDOW = Window(past=60, future=5)


def nonce(at: int = NOW, tenant: str = "acme", workload: str = WORKLOAD) -> str:
    return NONCES.accepted(tenant, workload, at)[0]


def good(key: Private = EC_KEY, **claims: Any) -> str:
    return proof(key, **({"nonce": nonce()} | claims))


class Client:
    """Presents proofs to a verifier in the name of one session."""

    def __init__(self, database: Engine, **settings: Any) -> None:
        self.verifier = Verifier(Replays(database), NONCES, WINDOW, **settings)

    def verify(self, text: str, at: int = NOW, **changes: Any) -> Verified:
        facts: dict[str, Any] = {
            "tenant": "acme",
            "workload": WORKLOAD,
            "session": "session-1",
            "purpose": ForToken(TOKEN, jkt(EC_KEY)),
            "now": datetime.fromtimestamp(at, UTC),
        }
        return self.verifier.verify(text, REQUEST, **(facts | changes))

    def refused(self, text: str, at: int = NOW, **changes: Any) -> str:
        with pytest.raises(Denied) as caught:
            self.verify(text, at, **changes)
        return caught.value.reason


@pytest.fixture
def client(database: Engine) -> Client:
    return Client(database)


def test_a_good_proof_names_its_key(client: Client) -> None:
    assert client.verify(good()) == Verified(jkt(EC_KEY), None)


def test_000_16_the_same_proof_at_another_worker_is_refused(client: Client, database_url: str) -> None:
    other = open_database(database_url)
    try:
        text = good()
        client.verify(text)
        with pytest.raises(Denied) as caught:
            Client(other).verify(text)
        assert (caught.value.error, caught.value.reason) == ("invalid_dpop_proof", "proof_replayed")
    finally:
        other.dispose()


def test_000_17_the_same_identifier_elsewhere_is_another(client: Client) -> None:
    text = good()
    client.verify(text)
    client.verify(text, session="session-2")
    client.verify(good(OTHER_KEY), purpose=ForToken(TOKEN, jkt(OTHER_KEY)))
    elsewhere = "spiffe://lab/tenant/other/workload/c1"
    client.verify(good(nonce=nonce(NOW, "other", elsewhere)), tenant="other", workload=elsewhere)
    assert client.refused(text) == client.refused(text, session="session-2") == "proof_replayed"


def test_the_same_identifier_in_another_proof_is_a_replay(client: Client) -> None:
    client.verify(good())
    assert client.refused(good(iat=NOW - 1)) == "proof_replayed"


JUNK = [
    {"htm": "PUT"}, {"htu": "https://evil.example/execute"}, {"iat": NOW - 100}, {"iat": NOW + 100}, {"ath": ABSENT}, {"nonce": ABSENT},
    {"nonce": "x"}, {"header": {"typ": "jwt"}}, {"exp": NOW},
]  # fmt: skip


def test_000_16_what_fails_a_check_burns_no_identifier(client: Client, database: Engine) -> None:
    for changes in JUNK:
        assert client.refused(good(**changes)) != "proof_replayed"
    head, body, signature = good().split(".")
    assert client.refused(f"{head}.{body}.{signature[:-2]}AA") != "proof_replayed"
    assert client.refused(good(OTHER_KEY)) == "jkt_mismatch"
    with reading(database) as connection:
        assert connection.execute(select(func.count()).select_from(used_proofs)).scalar_one() == 0
    client.verify(good())
    assert client.refused(good()) == "proof_replayed"


@pytest.mark.parametrize("issued", [NOW - WINDOW.past, NOW, NOW + WINDOW.future])
def test_000_16_no_proof_outlives_the_record_of_its_use(
    client: Client, database: Engine, issued: int
) -> None:
    """Also one from the future, and however often others make the store forget what is over."""
    text = good(iat=issued, nonce=nonce(NOW))
    client.verify(text)
    for at in range(NOW, NOW + WINDOW.past + WINDOW.future + CLOCKS_APART + 5):
        client.verify(good(jti=f"other-{at}", iat=at, nonce=nonce(at)), at)
        # A worker whose clock is behind by what clocks may differ.
        for clock in (at, at - CLOCKS_APART):
            if clock >= NOW:
                assert client.refused(text, clock) in ("proof_replayed", "iat_too_old")
    with reading(database) as connection:
        (until,) = connection.execute(
            select(used_proofs.c.kept_until).order_by(used_proofs.c.kept_until).limit(1)
        ).scalars()
    assert until > NOW


def test_rfc9449_c_the_record_covers_past_and_future_and_the_clocks(client: Client, database: Engine) -> None:
    client.verify(good())
    with reading(database) as connection:
        (until,) = connection.execute(select(used_proofs.c.kept_until)).scalars()
    assert until == NOW + WINDOW.past + WINDOW.future + CLOCKS_APART


def test_rfc9449_d_rfc9449_e_a_proof_without_nonce_is_never_taken(client: Client) -> None:
    for changes in ({"nonce": ABSENT}, {"nonce": nonce(NOW, "other")}, {"nonce": nonce(NOW - 2 * PERIOD)}):
        with pytest.raises(Denied) as caught:
            client.verify(good(**changes))
        assert (caught.value.error, caught.value.nonce) == ("use_dpop_nonce", nonce())
    client.verify(good(nonce=caught.value.nonce))


def test_the_nonce_before_is_taken_and_the_next_one_given(client: Client) -> None:
    assert client.verify(good(nonce=nonce(NOW - PERIOD))) == Verified(jkt(EC_KEY), nonce())


def test_a_proof_for_a_new_token(client: Client) -> None:
    text = good(ath=ABSENT)
    assert client.verify(text, purpose=ForNewToken()).jkt == jkt(EC_KEY)
    assert client.refused(text, purpose=ForNewToken()) == "proof_replayed"
    assert client.refused(text) == "ath_mismatch"


def test_000_18_a_store_that_is_down_denies(client: Client, database: Engine) -> None:
    used_proofs.drop(database)
    with pytest.raises(Denied) as caught:
        client.verify(good())
    assert (caught.value.status, caught.value.reason) == (503, "store_unavailable")


@pytest.mark.parametrize("missing", ["replays", "nonces"])
def test_000_18_there_is_no_verifier_without_store_and_nonces(database: Engine, missing: str) -> None:
    parts: dict[str, Any] = {"replays": Replays(database), "nonces": NONCES}
    assert Verifier(**parts)
    with pytest.raises(AttributeError):
        Verifier(**(parts | {missing: None}))
    del parts[missing]
    with pytest.raises(TypeError):
        Verifier(**parts)


def test_000_18_a_token_is_not_verified_without_its_key(client: Client) -> None:
    with pytest.raises(AttributeError):
        client.verify(good(), purpose=None)
    with pytest.raises(ValueError):
        client.verify(good(), session="")


@pytest.mark.parametrize(
    "algorithms", [frozenset[str](), frozenset({"none"}), frozenset({"HS256", "ES256"}), frozenset({"RS256"})]
)
def test_policy_names_algorithms_that_are_known(database: Engine, algorithms: frozenset[str]) -> None:
    with pytest.raises(ValueError):
        Client(database, algorithms=algorithms)
    assert Client(database).verifier.algorithms == ALGORITHMS


def test_000_19_without_the_record_of_uses_a_replay_passes(
    client: Client, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = good()
    client.verify(text)
    assert client.refused(text) == "proof_replayed"
    with database.begin() as connection:  # a store that forgets
        connection.execute(delete(used_proofs))
    client.verify(text)
    monkeypatch.setattr(client.verifier, "_first_use", lambda *_: True)  # a store that nobody asks
    client.verify(text)


def test_time_is_whole_seconds(client: Client) -> None:
    facts = {"now": MOMENT + timedelta(milliseconds=999)}
    assert client.verify(good(iat=NOW + 5), **facts).jkt == jkt(EC_KEY)
