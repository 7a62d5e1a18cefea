"""appliance.broker.vault.control: root alone, on record first, and no value in any answer or record."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import Column, Engine, select, update
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport

from appliance.audit.log import AuditUnavailable
from appliance.audit.record import LifecycleRecord, Record
from appliance.broker.database_threads import DatabaseBusy
from appliance.broker.vault import kek as keys
from appliance.broker.vault.control import MAX_VALUE, VaultControl, material_of
from appliance.broker.vault.envelope import KEY, LocalKey
from appliance.broker.vault.errors import VaultError
from appliance.broker.vault.keyring import Source
from appliance.broker.vault.kinds import AwsKeys, BasicSecret, GcpServiceAccount, StaticSecret
from appliance.broker.vault.tables import secrets_table
from appliance.broker.vault.vault import Vault
from appliance.control import MAX_REQUEST, ControlFactory
from appliance.peer import Credentials

_T = TypeVar("_T")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CANARY = "canary-9c1f55e7aa"
PASSPHRASE, OTHER = "seven owls read maps", "seven owls read music"
OURS = {"tenant": "acme", "integration": "openai-acme", "name": "key"}


def octets(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


SET = {**OURS, "kind": "static", "value": octets(CANARY)}


class Recorder:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.ready = True
        self.on_write: Callable[[], None] = lambda: None

    def claim(self) -> Any:
        raise NotImplementedError

    def flush(self) -> None:
        pass

    def write(self, record: Record) -> None:
        if not self.ready:
            raise AuditUnavailable("the disk is full; free some")
        self.on_write()
        self.records.append(record)

    @property
    def told(self) -> list[tuple[str, str | None, str | None, str, str | None]]:
        return [
            (r.event, r.tenant, r.subject, r.outcome.value, r.reason)
            for r in self.records
            if isinstance(r, LifecycleRecord)
        ]


async def at_once(act: Callable[[], _T], /) -> _T:
    return act()


class Desk:
    """An operator's side of the socket."""

    def __init__(self, engine: Engine) -> None:
        self.vault = Vault(engine)
        self.audit = Recorder()
        self.in_thread: Callable[..., Awaitable[Any]] = at_once
        self.change_key_file: Callable[[], int] | None = None
        self.uid = 0
        self.said = ""
        self.withdrawn: list[tuple[str, ...]] = []

    def secret_changed(self, tenant: str, integration: str, name: str, *, removed: bool) -> None:
        self.withdrawn.append((tenant, integration, name, "removed" if removed else "changed"))

    def vault_locked(self) -> None:
        self.withdrawn.append(("locked",))

    def ask(self, op: str, **message: object) -> dict[str, Any]:
        control = VaultControl(
            self.vault, self.audit, self.in_thread, lambda: NOW, self.change_key_file, withdrawing=self
        )
        factory = ControlFactory(control.operations(), identify=lambda _: Credentials(7, self.uid, self.uid))
        peer, transport = factory.buildProtocol(None), StringTransport()
        peer.makeConnection(transport)
        peer.dataReceived(json.dumps({"op": op, **message}).encode() + b"\n")
        self.said += transport.value().decode()
        answer: dict[str, Any] = json.loads(transport.value().splitlines()[0]) if transport.value() else {}
        return answer

    def value(self) -> str:
        with self.vault.reveal(*OURS.values()) as material:
            assert isinstance(material, StaticSecret)
            return material.value.get_secret_value()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that Argon2id is allowed to cost."""
    monkeypatch.setattr(keys, "new_parameters", lambda random: keys.Argon2(random(16), 1, 19 * 1024, 1))


@pytest.fixture
def locked(database: Engine) -> Desk:
    return Desk(database)


@pytest.fixture
def desk(locked: Desk) -> Desk:
    locked.vault.keyring.use(LocalKey(bytearray(b"k" * KEY), secrets.token_bytes), Source.KEY_FILE)
    return locked


def test_003_32_a_secrets_life(desk: Desk) -> None:
    assert desk.ask("secret-set", **SET) == {"ok": True, "version": 1}
    assert desk.value() == CANARY
    newer = {**SET, "value": octets("canary-newer-value")}
    assert desk.ask("secret-rotate", **newer) == {"ok": True, "version": 2}
    assert desk.ask("secret-rotate", **newer, keep=0)["version"] == 3
    assert desk.value() == "canary-newer-value"
    (listed,) = desk.ask("secret-list")["secrets"]
    assert listed == {
        **OURS, "kind": "static", "version": 3, "versions": [3], "created": "2026-06-01T12:00:00+00:00",
    }  # fmt: skip
    assert desk.ask("secret-list", tenant="other")["secrets"] == []
    assert desk.ask("secret-remove", **OURS) == {"ok": True, "removed": 1}
    assert desk.ask("secret-list", tenant="acme")["secrets"] == []
    assert desk.audit.told == [
        ("secret-set", "acme", "openai-acme/key", "allowed", None),
        ("secret-rotated", "acme", "openai-acme/key", "allowed", None),
        ("secret-rotated", "acme", "openai-acme/key", "allowed", None),
        ("secrets-listed", None, None, "allowed", None),
        ("secrets-listed", "other", None, "allowed", None),
        ("secret-removed", "acme", "openai-acme/key", "allowed", None),
        ("secrets-listed", "acme", None, "allowed", None),
    ]
    assert "canary" not in desk.said + repr(desk.audit.records)
    assert octets("canary-newer-value") not in desk.said + repr(desk.audit.records)


OPERATIONS = ["secret-set", "secret-list", "secret-rotate", "secret-remove", "vault-status", "vault-unlock", "vault-lock", "vault-change"]  # fmt: skip


@pytest.mark.parametrize("uid", [64101, 64103, 1000])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_nobody_but_root_may(desk: Desk, operation: str, uid: int) -> None:
    desk.uid = uid
    assert desk.ask(operation, **SET, passphrase=PASSPHRASE)["error"] == "not-permitted"
    assert desk.audit.records == []
    assert desk.vault.names() == []


def test_the_record_is_there_before_the_deed(desk: Desk) -> None:
    names: list[int] = []
    desk.audit.on_write = lambda: names.append(len(desk.vault.names()))
    desk.ask("secret-set", **SET)
    desk.ask("secret-remove", **OURS)
    assert names == [0, 1]
    (record, _) = desk.audit.records
    assert isinstance(record, LifecycleRecord)
    assert record.detail == "kind static, by pid 7 of uid 0"


@pytest.mark.parametrize(
    "operation", ["secret-set", "secret-rotate", "secret-remove", "secret-list", "vault-change", "vault-lock"]
)
def test_without_a_record_nothing_happens(desk: Desk, operation: str) -> None:
    desk.ask("secret-set", **SET)
    desk.audit.ready = False
    desk.withdrawn.clear()
    entry = desk.vault.keyring.entry()
    answer = desk.ask(operation, **{**SET, "value": octets("another-value")}, passphrase=OTHER)
    assert answer["error"] == "audit-unavailable"
    assert "secrets" not in answer
    assert desk.vault.versions(*OURS.values()) == (1,)
    assert desk.value() == CANARY
    assert desk.vault.keyring.entry() == entry
    assert desk.withdrawn == []


def test_what_was_made_of_a_secret_ends_with_it(desk: Desk) -> None:
    desk.ask("secret-set", **SET)
    desk.ask("secret-rotate", **SET)
    desk.ask("secret-list")
    desk.ask("secret-remove", **OURS)
    assert desk.withdrawn == [(*OURS.values(), "changed")] * 2 + [(*OURS.values(), "removed")]
    assert desk.ask("secret-remove", **OURS)["error"] == "unknown-secret"
    assert len(desk.withdrawn) == 3


def test_it_ends_too_where_nobody_knows_whether_the_secret_is_gone(desk: Desk) -> None:
    desk.ask("secret-set", **SET)
    desk.withdrawn.clear()
    remove = desk.vault.remove

    def fails(*place: object, **options: object) -> int:
        remove(*place, **options)  # type: ignore[arg-type]
        raise VaultError("vault-unreadable", "the connection was lost")

    desk.vault.remove = fails  # type: ignore[method-assign, assignment]
    assert desk.ask("secret-remove", **OURS)["error"] == "vault-unreadable"
    assert desk.withdrawn == [(*OURS.values(), "removed")]


def test_a_vault_that_is_locked_forgets_its_key_and_what_it_has_opened(desk: Desk) -> None:
    desk.ask("secret-set", **SET)
    assert desk.ask("vault-lock")["state"] == "locked"
    assert desk.withdrawn[-1] == ("locked",)
    assert desk.ask("secret-set", **SET)["error"] == "vault-locked"
    assert ("vault-locked", None, None, "allowed", None) in desk.audit.told


def test_where_too_much_waits_for_the_database_the_operator_hears_so(desk: Desk) -> None:
    async def busy(act: object) -> None:
        raise DatabaseBusy

    desk.in_thread = busy
    for operation in ("secret-set", "secret-remove", "vault-status"):
        assert desk.ask(operation, **SET)["error"] == "store-unavailable"


def test_a_locked_vault_says_so_and_takes_nothing(locked: Desk) -> None:
    for operation in ("secret-set", "secret-rotate", "vault-change"):
        answer = locked.ask(operation, **SET, passphrase=PASSPHRASE)
        assert (answer["error"], "egress vault unlock" in answer["detail"]) == ("vault-locked", True)
    assert locked.audit.records == []
    assert locked.ask("vault-status") == {
        "ok": True, "state": "new", "source": None, "secrets": 0, "decryptions": 0,
    }  # fmt: skip


def test_unlocking(locked: Desk, database: Engine) -> None:
    assert locked.ask("vault-unlock", passphrase=PASSPHRASE)["error"] == "vault-locked"
    assert locked.ask("vault-unlock", passphrase="short", new=True)["error"] == "wrong-passphrase"
    assert locked.ask("vault-unlock", passphrase=PASSPHRASE, new=True)["state"] == "open"
    locked.ask("secret-set", **SET)
    again = Desk(database)
    assert again.ask("vault-status")["state"] == "locked"
    assert again.ask("vault-unlock", passphrase=OTHER)["error"] == "wrong-passphrase"
    assert again.ask("vault-unlock", passphrase=OTHER, new=True)["error"] == "vault-unreadable"
    assert again.ask("vault-status")["state"] == "locked"
    assert again.ask("vault-unlock", passphrase=PASSPHRASE) == {
        "ok": True, "state": "open", "source": "passphrase", "secrets": 1, "decryptions": 0,
    }  # fmt: skip
    assert again.value() == CANARY
    assert again.audit.told == [
        ("vault-unlocked", None, None, "allowed", None),
        ("vault-unlocked", None, None, "failed", "wrong-passphrase"),
        ("passphrase-chosen", None, None, "allowed", None),
        ("passphrase-chosen", None, None, "failed", "vault-unreadable"),
        ("vault-unlocked", None, None, "allowed", None),
    ]
    for passphrase in (PASSPHRASE, OTHER):
        assert passphrase not in again.said + locked.said + repr(again.audit.records)


def test_another_passphrase(locked: Desk, database: Engine) -> None:
    locked.ask("vault-unlock", passphrase=PASSPHRASE, new=True)
    locked.ask("secret-set", **SET)
    assert locked.ask("vault-change", passphrase="short")["error"] == "wrong-passphrase"
    assert locked.ask("vault-change", passphrase=OTHER) == {"ok": True, "rewrapped": 1}
    again = Desk(database)
    assert again.ask("vault-unlock", passphrase=PASSPHRASE)["error"] == "wrong-passphrase"
    assert again.ask("vault-unlock", passphrase=OTHER)["ok"] is True
    assert again.value() == CANARY


def test_a_new_key_file_where_one_opens_the_vault(desk: Desk) -> None:
    desk.ask("secret-set", **SET)
    assert desk.ask("vault-change")["error"] == "invalid-request"
    kek = LocalKey(bytearray(b"n" * KEY), secrets.token_bytes)
    desk.change_key_file = lambda: desk.vault.keyring.change(kek, Source.KEY_FILE)
    assert desk.ask("vault-change") == {"ok": True, "rewrapped": 1}
    assert desk.audit.told[1:] == [("vault-key-changed", None, None, "allowed", None)]
    assert desk.value() == CANARY


@pytest.mark.parametrize(
    ("operation", "message", "code"),
    [
        ("secret-set", {"tenant": None}, "invalid-request"),
        ("secret-set", {"name": 3}, "invalid-request"),
        ("secret-set", {"value": CANARY + "!"}, "invalid-request"),
        ("secret-set", {"value": None}, "invalid-request"),
        ("secret-set", {"name": CANARY + "/x"}, "invalid-name"),
        ("secret-set", {"tenant": CANARY + "_"}, "invalid-name"),
        ("secret-set", {"integration": ""}, "invalid-name"),
        ("secret-set", {"kind": CANARY}, "invalid-secret"),
        ("secret-set", {"value": octets("short")}, "invalid-secret"),
        ("secret-set", {"value": octets(b"canary\xff\xfe")}, "invalid-secret"),
        ("secret-set", {"value": octets(CANARY + "\nmore")}, "invalid-secret"),
        ("secret-set", {"kind": "aws"}, "invalid-secret"),
        ("secret-set", {"kind": "aws", "value": octets('{"canary":1}')}, "invalid-secret"),
        ("secret-set", {"value": octets("x" * (MAX_VALUE + 1))}, "invalid-secret"),
        ("secret-set", {"unless_same": "true"}, "invalid-request"),
        ("secret-set", {"unless_same": 1}, "invalid-request"),
        ("secret-set", {"unless_same": None}, "invalid-request"),
        ("secret-rotate", {}, "unknown-secret"),
        ("secret-rotate", {"keep": -1}, "invalid-request"),
        ("secret-rotate", {"keep": True}, "invalid-request"),
        ("secret-rotate", {"keep": "1"}, "invalid-request"),
        ("secret-remove", {}, "unknown-secret"),
        ("secret-remove", {"version": 0}, "invalid-request"),
        ("secret-remove", {"version": 2**31}, "invalid-request"),
        ("secret-list", {"tenant": 3}, "invalid-request"),
        ("secret-list", {"tenant": CANARY + "_"}, "invalid-name"),
        ("vault-unlock", {"passphrase": 3}, "invalid-request"),
        ("vault-unlock", {"passphrase": PASSPHRASE, "new": "true"}, "invalid-request"),
        ("vault-change", {"passphrase": 3}, "invalid-request"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_quoted_nowhere(
    desk: Desk, operation: str, message: dict[str, Any], code: str
) -> None:
    assert desk.ask(operation, **(SET | message))["error"] == code
    assert desk.audit.records == []
    assert desk.vault.names() == []
    assert "canary" not in desk.said
    assert str((SET | message)["value"])[:40] not in desk.said


def test_what_fails_after_the_record_is_on_record_too(desk: Desk, database: Engine) -> None:
    def break_it() -> None:
        desk.audit.on_write = lambda: None
        with database.begin() as connection:
            secrets_table.drop(connection)

    desk.audit.on_write = break_it
    assert desk.ask("secret-set", **SET)["error"] == "vault-unreadable"
    assert [told[3:] for told in desk.audit.told] == [("allowed", None), ("failed", "vault-unreadable")]


def test_work_goes_on_in_a_thread_after_its_asker_has_left(desk: Desk) -> None:
    waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def later(act: Callable[[], Any]) -> Deferred[Any]:
        waiting.append((act, Deferred()))
        return waiting[-1][1]

    desk.in_thread = later
    assert desk.ask("secret-list") == {}
    ((act, deferred),) = waiting
    deferred.callback(act())
    assert desk.audit.told == [("secrets-listed", None, None, "allowed", None)]


def test_the_largest_secret_fits_into_a_request(desk: Desk) -> None:
    longest = json.dumps({"op": "secret-set", **SET, "value": octets("x" * MAX_VALUE)})
    assert len(longest) < MAX_REQUEST


# --- what an operator has in hand -----------------------------------------------------------------------------


@pytest.mark.parametrize("text", [CANARY, CANARY + "\n", CANARY + "\r\n"])
def test_text_is_a_secret_without_its_line_end(text: str) -> None:
    material = material_of("static", text.encode())
    assert isinstance(material, StaticSecret)
    assert material.value.get_secret_value() == CANARY


def test_other_kinds_are_documents_with_or_without_their_kind() -> None:
    document = {"username": "me", "password": CANARY}
    for given in (document, {**document, "kind": "basic"}):
        material = material_of("basic", json.dumps(given).encode())
        assert isinstance(material, BasicSecret)
    with pytest.raises(ValueError, match="the document is of another kind than aws"):
        material_of("aws", json.dumps({**document, "kind": "basic"}).encode())
    aws = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI-EXAMPLE"}
    assert isinstance(material_of("aws", json.dumps(aws).encode()), AwsKeys)


def test_googles_key_file_is_taken_as_it_is() -> None:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    issued = {
        "type": "service_account", "project_id": "p", "private_key_id": "a1b2", "private_key": key.decode(),
        "client_email": "me@p.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
        "universe_domain": "googleapis.com",
    }  # fmt: skip
    material = material_of("gcp-service-account", json.dumps(issued).encode())
    assert isinstance(material, GcpServiceAccount)
    assert material.client_email == "me@p.iam.gserviceaccount.com"


@pytest.mark.parametrize(
    ("kind", "given"), [("static", b"\xff" * 20), ("basic", b"[]"), ("basic", b'{"username":1}')]
)
def test_what_cannot_be_used_says_why_without_it(kind: str, given: bytes) -> None:
    with pytest.raises(ValueError) as caught:
        material_of(kind, given)
    assert "\n" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_comparison_is_on_record_first_and_ends_nothing(desk: Desk) -> None:
    assert desk.ask("secret-set", **SET, unless_same=True) == {"ok": True, "version": 1, "changed": True}
    desk.withdrawn.clear()
    desk.audit.records.clear()
    assert desk.ask("secret-set", **SET, unless_same=True) == {"ok": True, "version": 1, "changed": False}
    assert desk.withdrawn == []
    assert desk.audit.told == [("secret-compared", "acme", "openai-acme/key", "allowed", None)]
    desk.audit.ready = False
    assert desk.ask("secret-set", **SET, unless_same=True)["error"] == "audit-unavailable"
    assert "canary" not in desk.said + repr(desk.audit.records)


@pytest.mark.parametrize("column", [secrets_table.c.sealed, secrets_table.c.wrapped])
def test_a_damaged_secret_is_mended_by_setting_it_unless_it_is_the_same(
    desk: Desk, database: Engine, column: Column[bytes]
) -> None:
    desk.ask("secret-set", **SET)
    with database.begin() as connection:
        kept = connection.execute(select(column)).scalar_one()
        changed = kept[:20] + bytes([kept[20] ^ 1]) + kept[21:]
        connection.execute(update(secrets_table).values({column: changed}))
    with pytest.raises(VaultError, match="set it again"):
        desk.value()
    assert desk.ask("secret-set", **SET, unless_same=True) == {"ok": True, "version": 2, "changed": True}
    assert desk.value() == CANARY
    with database.begin() as connection:
        connection.execute(update(secrets_table).values({column: b"cut"}))
    assert desk.ask("secret-set", **SET, unless_same=True) == {"ok": True, "version": 3, "changed": True}
    assert desk.value() == CANARY


def test_a_locked_vault_compares_nothing(desk: Desk) -> None:
    desk.ask("secret-set", **SET)
    desk.ask("vault-lock")
    assert desk.ask("secret-set", **SET, unless_same=True)["error"] == "vault-locked"
