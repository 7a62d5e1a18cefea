"""appliance.broker.sessions: opened, authorised, over; on both databases."""

from __future__ import annotations

import base64
import collections
import hashlib
import itertools
import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, func, select

from appliance.broker.database import open_database, reading
from appliance.broker.denied import Denied
from appliance.broker.dpop.nonces import Nonces
from appliance.broker.dpop.presented import MAX_TOKEN, Presented
from appliance.broker.dpop.target import TargetUri
from appliance.broker.dpop.verifier import ProofRequest, Verifier
from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.identity.thumbprint import thumbprint
from appliance.broker.replay import Replays
from appliance.broker.session_table import PRUNED_AT_ONCE, SessionTable, sessions
from appliance.broker.sessions import MAX_LIFE, Opened, Presenter, SessionLimits, Sessions
from appliance.broker.token_shapes import SHAPES

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
REQUEST = ProofRequest("POST", TargetUri.parse("https://broker.example/execute"))
ACME = WorkloadId("lab", "acme", "c1")
MINE, OTHERS = "m" * 43, "o" * 43
ME = Presenter(ACME, MINE)


def made(database: Engine, **settings: Any) -> Sessions:
    return Sessions(SessionTable(database), Verifier(Replays(database), Nonces(bytes(32))), **settings)


@pytest.fixture
def store(database: Engine) -> Sessions:
    return made(database)


def opened(
    store: Sessions, who: Presenter = ME, life: int = 600, now: datetime = NOW, **options: Any
) -> Opened:
    return store.open(who, life, REQUEST, (), now, **options)


def reason(store: Sessions, token: str, who: Presenter = ME, now: datetime = NOW, **options: Any) -> str:
    """Every one of them is the same to who asks."""
    with pytest.raises(Denied) as caught:
        store.authorise(Presented(options.pop("scheme", "Bearer"), token), who, REQUEST, now, **options)
    assert (caught.value.status, caught.value.error) == (401, "invalid_token")
    return caught.value.reason


def passes(store: Sessions, token: str, who: Presenter = ME, now: datetime = NOW, **options: Any) -> bool:
    return store.authorise(Presented("Bearer", token), who, REQUEST, now, **options).session.tenant == "acme"


def certificate(name: str) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(hours=1))
        .sign(key, SHA256())
    )


def test_a_session_is_opened_and_presented(store: Sessions) -> None:
    found = opened(store)
    authorised = store.authorise(Presented("Bearer", found.token), ME, REQUEST, NOW)
    assert authorised.session == found.session
    assert (found.nonce, authorised.nonce, found.session.dpop_jkt) == (None, None, None)
    assert found.session.expires_at == int(NOW.timestamp()) + 600
    assert store.live("acme", NOW) == 1


def test_000_02_ten_thousand_tokens_have_no_structure() -> None:
    """Drawn as `open` draws them: no claims, nothing in common, every character as likely everywhere."""
    shape = SHAPES["plain"]
    tokens = [shape.draw(secrets.randbelow) for _ in range(10_000)]
    assert len(set(tokens)) == 10_000
    for token in tokens[:200]:
        assert token.count(".") == 0
        octets = base64.urlsafe_b64decode(token + "=")
        with pytest.raises(ValueError):
            json.loads(octets)
    for place in range(shape.length):
        counts = collections.Counter(token[place] for token in tokens)
        assert len(counts) == 64
        # 64 characters, 10 000 tokens: chi-squared with 63 degrees of freedom exceeds 150 once in 2e-9.
        assert sum((counts[c] - 156.25) ** 2 / 156.25 for c in shape.alphabet) < 150
    neighbours = collections.Counter((a[0], b[0]) for a, b in itertools.pairwise(tokens))
    assert max(neighbours.values()) < 20
    assert len({token[:6] for token in tokens}) > 9_990


def test_000_02_a_token_says_nothing_of_its_session(store: Sessions) -> None:
    found = opened(store, account="openai-acme")
    for part in ("acme", "c1", "openai", found.session.id, MINE[:8], str(found.session.expires_at)):
        for written in (part, base64.urlsafe_b64encode(part.encode()).decode().rstrip("=")):
            assert len(written) < 4 or written not in found.token


@settings(deadline=None)
@given(st.text(min_size=8, max_size=40), st.sampled_from(sorted(SHAPES)))
def test_000_28_a_token_depends_on_randomness_alone(provider_key: str, shape: str) -> None:
    """Nothing that opens a session knows a provider's key; what comes out is what was drawn."""
    numbers = [secrets.randbelow(1 << 30) for _ in range(200)]
    source = iter(numbers)
    token = SHAPES[shape].draw(lambda bound: next(source) % bound)
    again = iter(numbers)
    assert token == SHAPES[shape].draw(lambda bound: next(again) % bound)
    assert provider_key not in token.removeprefix(SHAPES[shape].prefix)
    for name in ("sha1", "sha256", "sha512"):
        digest = hashlib.new(name, provider_key.encode("utf-8", "surrogatepass"))
        assert digest.hexdigest()[:12] not in token
        assert base64.urlsafe_b64encode(digest.digest()).decode()[:10] not in token


def test_000_28_a_token_is_never_one_that_came_before(store: Sessions) -> None:
    assert len({opened(store, shape=name).token for name in (*SHAPES, *SHAPES)}) == 2 * len(SHAPES)


@pytest.mark.parametrize("shape", SHAPES)
def test_000_36_a_token_of_each_shape_opens_the_same(store: Sessions, shape: str) -> None:
    token = opened(store, shape=shape).token
    assert SHAPES[shape].pattern.fullmatch(token)
    assert passes(store, token)


def test_only_the_hash_of_a_token_is_stored(store: Sessions, database: Engine) -> None:
    found = opened(store)
    with reading(database) as connection:
        (row,) = connection.execute(select(sessions)).mappings()
    assert row["token_hash"] == hashlib.sha256(found.token.encode()).digest()
    assert found.token not in repr(dict(row))
    assert found.token not in repr(found)


def test_rfc8705_1_rfc8705_4_000_09_a_stolen_token_with_another_valid_certificate_is_refused(
    store: Sessions,
) -> None:
    token = opened(store).token
    thief = Presenter(WorkloadId("lab", "acme", "c2"), OTHERS)
    assert reason(store, token, thief) == "certificate_mismatch"
    assert passes(store, token)


@pytest.mark.parametrize(
    "who",
    [WorkloadId("lab", "acme", "c2"), WorkloadId("lab", "other", "c1"), WorkloadId("other", "acme", "c1"), WorkloadId("lab", "acme", "C1")],
)  # fmt: skip
def test_000_09_one_certificate_is_not_another_workloads(store: Sessions, who: WorkloadId) -> None:
    assert reason(store, opened(store).token, Presenter(who, MINE)) == "workload_mismatch"


def test_rfc8705_5_rfc8705_7_000_10_what_is_stored_is_the_hash_of_the_certificate(
    store: Sessions, database: Engine
) -> None:
    first, renewed = certificate("c1"), certificate("c1")
    token = opened(store, Presenter(ACME, thumbprint(first))).token
    with reading(database) as connection:
        stored = connection.execute(select(sessions.c.x5t_s256)).scalar_one()
    digest = hashlib.sha256(first.public_bytes(Encoding.DER)).digest()
    assert stored == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert passes(store, token, Presenter(ACME, thumbprint(first)))
    assert reason(store, token, Presenter(ACME, thumbprint(renewed))) == "certificate_mismatch"


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda t: t[:-1] + "n",
        lambda t: "n" + t[1:],
        lambda t: t[::-1] if t != t[::-1] else "n" * 43,
    ],
)
def test_rfc8705_3_000_10_the_whole_thumbprint_counts(store: Sessions, change: Callable[[str], str]) -> None:
    assert reason(store, opened(store).token, Presenter(ACME, change(MINE))) == "certificate_mismatch"


@pytest.mark.parametrize("text", ["", "m" * 42, "m" * 44, MINE + "="])
def test_000_10_without_a_certificate_nobody_presents_anything(text: str) -> None:
    with pytest.raises(ValueError):
        Presenter(ACME, text)


@pytest.mark.parametrize("life", [0, -1, MAX_LIFE + 1, 10**9])
def test_000_34_a_longer_life_than_the_longest_is_refused(store: Sessions, life: int) -> None:
    with pytest.raises(Denied) as caught:
        opened(store, life=life)
    assert (caught.value.status, caught.value.error, caught.value.reason) == (
        400,
        "invalid_request",
        "session_life",
    )
    assert store.live("acme", NOW) == 0


def test_000_34_the_longest_life_is_the_operators(database: Engine) -> None:
    store = made(database, limits=SessionLimits(life=60))
    assert opened(store, life=60)
    with pytest.raises(Denied, match="session_life"):
        opened(store, life=61)


@pytest.mark.parametrize(("life", "of_tenant"), [(0, 1), (MAX_LIFE + 1, 1), (60, 0)])
def test_000_34_no_limit_is_no_setting(life: int, of_tenant: int) -> None:
    with pytest.raises(ValueError):
        SessionLimits(life, of_tenant)


def test_000_34_the_end_is_the_servers_matter(store: Sessions) -> None:
    token = opened(store, life=600).token
    assert passes(store, token, now=NOW + timedelta(seconds=599.9))
    for late in (600, 601, 10**8):
        assert reason(store, token, now=NOW + timedelta(seconds=late)) == "session_expired"
    assert store.live("acme", NOW + timedelta(seconds=600)) == 0


def test_a_session_for_an_account_serves_that_alone(store: Sessions) -> None:
    token = opened(store, account="openai-acme").token
    assert passes(store, token, account="openai-acme")
    assert reason(store, token, account="stripe-acme") == "account_mismatch"
    assert reason(store, token) == "account_mismatch"
    assert reason(store, opened(store).token, account="openai-acme") == "account_mismatch"


@pytest.mark.parametrize(
    "token", ["", "x", "x" * 43, "x" * (MAX_TOKEN + 1), "\ud800", "\x00", "ä" * 43, "hb_cred_" + "A" * 32]
)
def test_a_token_that_nobody_was_given(store: Sessions, token: str) -> None:
    opened(store)
    assert reason(store, token) == "token_unknown"


def test_the_hash_is_no_token(store: Sessions) -> None:
    found = opened(store)
    digest = hashlib.sha256(found.token.encode()).digest()
    for token in (
        digest.hex(),
        base64.b64encode(digest).decode(),
        digest.decode("latin-1"),
        found.session.id,
    ):
        assert reason(store, token) == "token_unknown"


def test_a_shape_that_is_not_known(store: Sessions) -> None:
    with pytest.raises(Denied, match="session_shape"):
        opened(store, shape="xoxb-")


REVOCATIONS: dict[str, Callable[[Sessions, Opened], int]] = {
    "token": lambda store, it: store.revoke_token(it.token, NOW),
    "session": lambda store, it: store.revoke_session(it.session.id, NOW),
    "workload": lambda store, it: store.revoke_workload(ACME, NOW),
    "certificate": lambda store, it: store.revoke_certificate(MINE, NOW),
    "tenant": lambda store, it: store.revoke_tenant("acme", NOW),
}


@pytest.mark.parametrize("by", REVOCATIONS)
def test_revocation_takes_effect_at_once_and_everywhere(store: Sessions, database_url: str, by: str) -> None:
    other_database = open_database(database_url)
    try:
        mine = opened(store)
        theirs = Presenter(WorkloadId("lab", "other", "c1"), OTHERS)
        kept = opened(store, theirs).token
        worker_b = made(other_database)
        assert passes(worker_b, mine.token)
        assert REVOCATIONS[by](store, mine) == 1
        assert reason(store, mine.token) == reason(worker_b, mine.token) == "session_revoked"
        assert REVOCATIONS[by](store, mine) == 0
        assert worker_b.authorise(Presented("Bearer", kept), theirs, REQUEST, NOW)
        assert store.live("acme", NOW) == 0
    finally:
        other_database.dispose()


def test_revoking_what_is_not_there(store: Sessions) -> None:
    assert store.revoke_token("x" * 43, NOW) == store.revoke_session("x", NOW) == 0
    assert store.revoke_workload(ACME, NOW) == store.revoke_certificate(MINE, NOW) == 0
    assert store.revoke_tenant("acme", NOW) == 0


def test_a_tenant_has_a_bound_of_live_sessions(database: Engine) -> None:
    store = made(database, limits=SessionLimits(of_tenant=2))
    first = opened(store, life=60)
    second = opened(store)
    with pytest.raises(Denied) as caught:
        opened(store, Presenter(WorkloadId("lab", "acme", "c2"), OTHERS))
    assert (caught.value.status, caught.value.reason) == (429, "session_limit")
    assert opened(store, Presenter(WorkloadId("lab", "other", "c1"), OTHERS))
    store.revoke_token(second.token, NOW)
    assert opened(store)
    later = NOW + timedelta(seconds=60)
    assert reason(store, first.token, now=later) == "session_expired"
    assert opened(store, now=later)


def test_the_bound_holds_when_many_open_at_once(database: Engine, database_url: str) -> None:
    other = open_database(database_url)
    stores = [
        made(engine, limits=SessionLimits(of_tenant=3)) for engine in (database, other, database, other)
    ]
    start = Barrier(len(stores))

    def try_to_open(store: Sessions) -> int:
        start.wait(30)
        won = 0
        for _ in range(3):
            try:
                opened(store)
            except Denied as error:
                if error.reason != "session_limit":
                    raise
            else:
                won += 1
        return won

    try:
        with ThreadPoolExecutor(len(stores)) as threads:
            assert sum(threads.map(try_to_open, stores)) == 3
    finally:
        other.dispose()
    assert stores[0].live("acme", NOW) == 3


def test_what_is_over_is_removed_a_few_at_a_time(store: Sessions, database: Engine) -> None:
    for _ in range(2 * PRUNED_AT_ONCE):
        opened(store, life=60)
    revoked = opened(store)
    store.revoke_token(revoked.token, NOW)
    later = NOW + timedelta(seconds=60)
    counts = []
    for _ in range(4):
        opened(store, now=later)
        with reading(database) as connection:
            counts.append(connection.execute(select(func.count()).select_from(sessions)).scalar_one())
    assert counts == [10, 3, 4, 5]
    assert reason(store, revoked.token, now=later) == "session_revoked"


def test_a_store_that_does_not_answer_denies(store: Sessions, database: Engine) -> None:
    token = opened(store).token
    gone = made(create_engine("postgresql+psycopg://nobody@/nothing?host=/nonexistent"))
    sessions.drop(database)
    for broken in (store, gone):
        for ask in (
            opened,
            lambda store: passes(store, token),
            lambda store: store.revoke_token(token, NOW),
            lambda store: store.live("acme", NOW),
        ):
            with pytest.raises(Denied) as caught:
                ask(broken)
            assert (caught.value.status, caught.value.reason) == (503, "store_unavailable")


def test_000_18_there_are_no_sessions_without_a_verifier(database: Engine) -> None:
    table = SessionTable(database)
    with pytest.raises(AttributeError):
        Sessions(table, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Sessions(table)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        Sessions(None, Verifier(Replays(database), Nonces(bytes(32))))  # type: ignore[arg-type]


def test_000_35_a_refusal_quotes_nothing_that_was_presented(store: Sessions) -> None:
    token = opened(store).token
    thief = Presenter(ACME, OTHERS)
    for ask in (lambda: store.authorise(Presented("Bearer", token), thief, REQUEST, NOW),
                lambda: store.authorise(Presented("Bearer", token + "x"), ME, REQUEST, NOW)):  # fmt: skip
        with pytest.raises(Denied) as caught:
            ask()
        shown = f"{caught.value} {caught.value!r} {caught.value.detail}"
        assert token not in shown
        assert MINE not in shown
