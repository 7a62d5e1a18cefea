"""The wiring: a departure and the end of the process leave no handle alive; no token outlives its end for long."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import certifi
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from appliance.broker.calls import serving
from appliance.broker.calls.checks import Allowed
from appliance.broker.calls.secrets import bound_to
from appliance.broker.calls.serving import Calls
from appliance.broker.credentials.exchanged import Token
from appliance.broker.credentials.outgoing import Outgoing, TokenAnswer
from appliance.broker.vault.envelope import KEY, LocalKey
from appliance.broker.vault.keyring import Source
from appliance.broker.vault.kinds import OAuthRefresh, StaticSecret
from appliance.broker.vault.sealed_rows import SealedRows
from appliance.broker.vault.vault import Vault
from appliance.endpoints import EndpointTable
from appliance.policy.set import PolicySet
from appliance.settings import Settings
from tests.unit.broker.calls.support import ATTESTED, SECRET, STORED, account, policy_of
from tests.unit.gateway.support import ENDPOINT, Log

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CRM = policy_of(account()).account("crm")
BOUND = bound_to(ATTESTED, CRM)


@pytest.fixture
def clock() -> MemoryReactorClock:
    return MemoryReactorClock()


async def nobody_expelled(*_):
    pass


@pytest.fixture
def calls(clock: MemoryReactorClock) -> Calls:
    async def in_thread(function, *arguments):
        return function(*arguments)

    async def no_session(*_):
        return False

    return Calls(
        clock, Settings(upstream_ca=Path(certifi.where())), SimpleNamespace(changes=None),
        policy=lambda tenant: None, endpoints=EndpointTable(), audit=Log(), in_thread=in_thread,
        is_session=no_session, own=lambda *found: ("own", *found), expel=nobody_expelled, now=lambda: datetime.fromtimestamp(clock.seconds(), UTC),
    )  # fmt: skip


def handle(calls: Calls) -> str:
    secret = StaticSecret(kind="static", value=SECRET)
    return calls.handles.register(calls.handles.ask(BOUND), secret, STORED, lambda: None)


def test_004_11_a_container_that_leaves_has_no_handles_any_more(calls: Calls) -> None:
    alive = handle(calls)
    calls.departed(ENDPOINT)
    assert calls.handles.resolve(alive, BOUND) is None


def test_004_06_at_the_end_of_the_process_every_handle_is_dead(calls: Calls) -> None:
    alive = handle(calls)
    calls.start()
    calls.stop()
    assert calls.handles.resolve(alive, BOUND) is None


def test_an_exchanged_token_that_has_ended_is_dropped_without_traffic(
    calls: Calls, clock: MemoryReactorClock
) -> None:
    async def exchange() -> Token:
        return Token("access-token", datetime.fromtimestamp(clock.seconds() + 90, UTC))

    calls.start()
    account = calls._exchanged.of("acme", "crm", None)
    material = StaticSecret(kind="static", value=SECRET)
    Deferred.fromCoroutine(
        account.token(material, "access", datetime.fromtimestamp(clock.seconds(), UTC), exchange)
    )
    clock.advance(60)
    assert len(calls._exchanged) == 1
    clock.advance(60)
    assert len(calls._exchanged) == 0
    calls.stop()
    assert clock.getDelayedCalls() == []


def test_what_comes_without_an_account_is_not_a_call(calls: Calls) -> None:
    begin = calls.connections._begin
    attested = replace(ATTESTED, account="")
    assert begin("connection", attested, "head") == ("own", "connection", attested, "head")


@pytest.fixture
def vault(database: Engine) -> Vault:
    made = Vault(database)
    made.keyring.use(LocalKey(bytearray(b"k" * KEY), secrets.token_bytes), Source.KEY_FILE)
    return made


OLD = OAuthRefresh(token_url="https://login.example.com/token", client_id="me", refresh_token="old-refresh")
OAUTH = Allowed(
    SimpleNamespace(
        name="crm", integration="crm-api", secret="crm-key", kinds=frozenset({"oauth2-refresh"}),
        token_hosts=frozenset({("login.example.com", 443)}),
    ), CRM.groups["read"], None,
)  # fmt: skip
CALLED = Outgoing("GET", "https", "api.example.com", 443, "/data/1", "", (), b"")
PLACE = ("acme", "crm-api", "crm-key")


def through_a_handle(calls: Calls, vault: Vault, meanwhile=lambda: None) -> object:
    """What comes of a call whose handle was given for `OLD`, and whose token endpoint rotates."""

    async def post(*_):
        meanwhile()
        said = {
            "access_token": "acc-1",
            "token_type": "Bearer",
            "expires_in": 600,
            "refresh_token": "new-refresh",
        }
        return TokenAnswer(200, json.dumps(said).encode())

    calls._vault = calls.secrets._vault = vault
    calls.secrets._rows = SealedRows(vault.changes)
    calls._tokens.post = post
    pending = calls.handles.ask(bound_to(ATTESTED, OAUTH.account))
    held = result(calls.secrets.of_account(ATTESTED, OAUTH.account))
    name = calls.handles.register(pending, held.material, held.stored, held.close)
    revealed = calls.secrets.of_handle(ATTESTED, OAUTH.account, name)
    return result(calls._inject(ATTESTED, OAUTH, revealed, CALLED))


def result(coroutine):
    found: list = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    return found[0]


def refresh_token(vault: Vault) -> str:
    with vault.reveal(*PLACE) as material:
        return material.refresh_token.get_secret_value()


def test_a_refresh_token_that_was_rotated_is_stored_through_a_handle_too(calls: Calls, vault: Vault) -> None:
    vault.put(*PLACE, OLD, NOW)
    assert through_a_handle(calls, vault).set_headers == ((b"authorization", b"Bearer acc-1"),)
    assert vault.versions(*PLACE) == (1, 2)
    assert refresh_token(vault) == "new-refresh"


def test_a_secret_whose_token_host_nobody_has_named_is_shown_to_nobody(calls: Calls) -> None:
    shown: list = []
    calls._tokens.post = lambda *found: shown.append(found)
    elsewhere = replace(OAUTH, account=SimpleNamespace(**vars(OAUTH.account) | {"token_hosts": frozenset()}))
    failure = result(calls._inject(ATTESTED, elsewhere, SimpleNamespace(material=OLD, stored=STORED), CALLED))
    assert failure.value.code == "token-host-not-named"
    assert shown == []


def test_what_the_operator_has_set_meanwhile_stays(calls: Calls, vault: Vault) -> None:
    vault.put(*PLACE, OLD, NOW)

    def replaced() -> None:
        vault.remove(*PLACE)
        vault.put(*PLACE, OLD.model_copy(update={"refresh_token": SecretStr("of-the-operator")}), NOW)

    failure = through_a_handle(calls, vault, replaced)
    assert failure.value.code == "rotation-not-stored"
    assert refresh_token(vault) == "of-the-operator"


class UnderWayCall:
    """A call that only knows when it was withdrawn."""

    def __init__(self, means, connection, attestation, head) -> None:
        self.attestation, self.account = attestation, CRM
        self.withdrawn: list[str] = []

    def withdraw(self, refusal) -> None:
        self.withdrawn.append(refusal.reason)


def test_every_call_that_begins_ends_with_what_it_is_made_with(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "Call", UnderWayCall)
    calls.withdrawing.policies_changed(PolicySet({"acme": policy_of(account())}, "one"))
    under_way = calls.begin_call(None, ATTESTED, None)
    calls.withdrawing.secret_changed("acme", "crm-api", "crm-key", removed=True)
    calls.withdrawing.policies_changed(PolicySet())
    calls.withdrawing.workload_disabled(ATTESTED.endpoint)
    calls._ending.kill(replace(ATTESTED, request_id="id-2"), "authority-collision", "x")
    reasons = ["account-withdrawn", "account-withdrawn", "workload_disabled", "execution-ended"]
    assert under_way.withdrawn == reasons
