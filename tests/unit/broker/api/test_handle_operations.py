"""Handles: decrypted when asked for, named at random, dead when the work is done."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred

from appliance.broker.calls.secrets import CallSecrets
from appliance.broker.calls.under_way import UnderWay
from appliance.broker.calls.withdrawing import Withdrawing
from appliance.broker.handles import HANDLE, Bound
from appliance.broker.vault.envelope import KEY, LocalKey
from appliance.broker.vault.keyring import Source
from appliance.broker.vault.kinds import StaticSecret
from appliance.broker.vault.vault import Vault
from appliance.policy.bound import Bound as BoundAccounts
from appliance.policy.bound import CompiledAccount
from appliance.policy.set import PolicySet
from tests.unit.broker.api.support import BEARER, Answer, Broker, Client, now
from tests.unit.broker.calls.support import ATTESTED, SECRET, STORED, account, policy_of
from tests.unit.gateway.support import ENDPOINT

BOUND = Bound("acme", ENDPOINT.id, "crm", "crm-api", "crm-key")


def given(client: Client, token: str, account: str = "crm"):
    return client.ask("POST /v1/handles", BEARER + token, body={"account": account})


def waiting(broker: Broker) -> tuple[Client, str]:
    """A client whose first handle is decrypted but not given yet (see `Slow`), and its session's token."""
    client = broker.workload()
    token = client.session()
    assert given(client, token).octets == b""
    return client, token


def test_004_07_it_is_asked_for_decrypted_named_and_kept_in_this_order(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    assert broker.neighbours.log == []
    answer = given(client, token)
    assert (answer.status, answer.json["expires_in"]) == (201, 300)
    assert HANDLE.fullmatch(answer.json["handle"])
    assert SECRET not in answer.text
    assert broker.neighbours.log == ["decrypt crm-key"]
    assert broker.handles.resolve(answer.json["handle"], BOUND).material.value.get_secret_value() == SECRET
    assert broker.handles.resolve(answer.json["handle"], BOUND).stored == STORED
    assert broker.events == ["session-opened", "handle-given"]
    assert answer.json["handle"] not in repr(broker.audit.records)
    assert given(client, token).json["handle"] != answer.json["handle"]


def test_004_11_when_the_work_is_done_all_are_dead_and_there_is_no_other(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    handle = given(client, token).json["handle"]
    done = client.ask("DELETE /v1/handles", BEARER + token)
    assert (done.status, done.json) == (200, {"revoked": 1})
    assert broker.handles.resolve(handle, BOUND) is None
    assert broker.neighbours.held[0].closed == 1
    again = given(client, token)
    assert (again.status, again.reason) == (403, "execution-ended")
    assert broker.neighbours.log == ["decrypt crm-key", "secret cleared"]
    other = broker.workload("e2", "c2")
    assert given(other, other.session()).status == 201


def test_000_09_without_a_session_of_ones_own_there_is_none(broker: Broker) -> None:
    client, other = broker.workload(), broker.workload("e2", "c2")
    token = client.session()
    assert client.ask("POST /v1/handles", body={"account": "crm"}).status == 401
    assert given(other, token).reason == "certificate_mismatch"
    assert given(client, client.session(account="crm")).reason == "account_mismatch"
    assert client.ask("DELETE /v1/handles").status == 401
    assert broker.neighbours.log == []


def test_another_tenants_account_is_none_of_mine(broker: Broker) -> None:
    client = broker.workload()
    refused = given(client, client.session(), "other")
    assert (refused.status, refused.reason) == (403, "account-not-bound")
    assert broker.neighbours.log == []


def test_nothing_is_decrypted_that_could_not_be_given_or_recorded(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    broker.audit.ready = False
    assert given(client, token).reason == "audit-unavailable"
    assert broker.neighbours.log == []
    broker.audit.ready = True
    for _ in range(32):
        assert given(client, token).status == 201
    count = len(broker.neighbours.log)
    refused = given(client, token)
    assert (refused.status, refused.reason) == (429, "handles-of-execution")
    assert len(broker.neighbours.log) == count


def test_who_collided_gets_nothing_any_more(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    broker.over.add(ENDPOINT.id)
    assert given(client, token).reason == "execution-ended"
    assert client.ask("POST /v1/session", body={"ttl": 9}).reason == "execution-ended"


CRM = account().accounts["crm"]
KEY_OF_CRM = ("acme", "crm-api", "crm-key")


class Operator:
    """Takes things away, in the order of the real ones: what holds is changed, then everybody hears."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.vault = Vault(broker.database)
        self.vault.keyring.use(LocalKey(bytearray(b"k" * KEY), secrets.token_bytes), Source.KEY_FILE)
        self.vault.put(*KEY_OF_CRM, static(SECRET), now())
        exchanged = SimpleNamespace(forget=lambda *_: None, forget_everything=lambda: None)
        self._withdrawing = Withdrawing(exchanged, broker.handles, UnderWay())
        self.accounts(CRM)

    def accounts(self, *bound: CompiledAccount) -> None:
        self._broker.policies["acme"] = policy_of(BoundAccounts.of(bound, []))
        self._withdrawing.policies_changed(PolicySet(dict(self._broker.policies), "two"))

    def remove(self) -> None:
        self.vault.remove(*KEY_OF_CRM)
        self._withdrawing.secret_changed(*KEY_OF_CRM, removed=True)

    def rotate(self) -> None:
        self.vault.rotate(*KEY_OF_CRM, static(f"{SECRET}-2"), now())
        self._withdrawing.secret_changed(*KEY_OF_CRM, removed=False)

    def lock(self) -> None:
        self.vault.keyring.lock()
        self._withdrawing.vault_locked()


def static(value: str) -> StaticSecret:
    return StaticSecret(kind="static", value=value)


class Slow:
    """The threads of the vault: what was read is there, and told when `told` fires."""

    def __init__(self) -> None:
        self.told: Deferred[None] = Deferred()

    async def __call__(self, function: Callable[..., object], *arguments: object) -> object:
        read = function(*arguments)
        await self.told
        return read


@pytest.fixture
def operator(broker: Broker) -> Operator:
    return Operator(broker)


@pytest.fixture
def slow(broker: Broker, operator: Operator) -> Iterator[Slow]:
    async def no_session(*_: object) -> bool:
        return False

    threads = Slow()
    broker.interface.stop()
    broker.calls.secrets = CallSecrets(operator.vault, broker.handles, threads, no_session)
    broker.interface = broker.wired()
    broker.interface.start()
    yield threads
    operator.vault.changes.close()


MEANWHILE: dict[str, tuple[Callable[[Operator], None], str]] = {
    "the secret is removed": (Operator.remove, "policy-changed"),
    "the secret is rotated": (Operator.rotate, "policy-changed"),
    "the vault is locked": (Operator.lock, "vault-locked"),
    "the account is removed": (lambda o: o.accounts(), "policy-changed"),
    "another secret": (lambda o: o.accounts(replace(CRM, secret="crm-key-2")), "policy-changed"),
    "another integration": (lambda o: o.accounts(replace(CRM, integration="bank-api")), "policy-changed"),
    "another kind": (lambda o: o.accounts(replace(CRM, kinds=frozenset({"basic"}))), "policy-changed"),
    "another secret and back": (
        lambda o: (o.accounts(replace(CRM, secret="crm-key-2")), o.accounts(CRM)), "policy-changed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", MEANWHILE)
def test_what_was_read_before_a_withdrawal_gets_no_handle_after_it(
    broker: Broker, operator: Operator, slow: Slow, change: str
) -> None:
    act, reason = MEANWHILE[change]
    client, _ = waiting(broker)
    act(operator)
    slow.told.callback(None)
    answer = Answer(client.hear())
    assert (answer.reason, len(broker.handles)) == (reason, 0)
    assert "handle-given" not in broker.events
    assert broker.audit.open_claims == 0


def test_a_handle_that_is_asked_for_once_more_stands_for_what_holds_now(
    broker: Broker, operator: Operator, slow: Slow
) -> None:
    client, token = waiting(broker)
    operator.rotate()
    slow.told.callback(None)
    client.hear()
    handle = given(client, token).json["handle"]
    held = broker.calls.secrets.of_handle(ATTESTED, CRM, handle)
    assert held.material.value.get_secret_value() == f"{SECRET}-2"


def test_a_policy_that_was_read_again_and_says_the_same_withdraws_nothing(
    broker: Broker, operator: Operator, slow: Slow
) -> None:
    client, _ = waiting(broker)
    operator.accounts(replace(CRM, label="accounts[1]"))
    slow.told.callback(None)
    assert Answer(client.hear()).status == 201


def test_what_was_decrypted_and_is_refused_is_cleared(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    decrypted = broker.neighbours.of_account

    async def removed_meanwhile(*asked: object) -> object:
        held = await decrypted(*asked)
        broker.policies["acme"] = policy_of(None)
        return held

    broker.neighbours.of_account = removed_meanwhile
    assert given(client, token).reason == "policy-changed"
    assert [held.closed for held in broker.neighbours.held] == [1]
