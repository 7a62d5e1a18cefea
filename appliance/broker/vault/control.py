"""The vault's operations on the broker's control socket: for root alone, on record before they take effect.

| operation       | fields                                                    | answer                       |
|-----------------|-----------------------------------------------------------|------------------------------|
| `secret-set`    | `tenant`, `integration`, `name`, `kind`, `value` (base64) | `version`                    |
| the same        | and `unless_same`: none where the newest is that already  | `version`, `changed`         |
| `secret-rotate` | the same, and `keep`: old versions that stay (default 1)  | `version`                    |
| `secret-remove` | `tenant`, `integration`, `name`, `version` or none        | `removed`: how many versions |
| `secret-list`   | `tenant` or none                                          | `secrets`, without values    |
| `vault-status`  |                                                           | `state`, `source`, `secrets` |
| `vault-unlock`  | `passphrase`, `new`: choose it as the first               | as `vault-status`            |
| `vault-lock`    |                                                           | as `vault-status`            |
| `vault-change`  | `passphrase`: the new one; none: a new key file           | `rewrapped`: how many        |

Refusals have the vault's codes, `invalid-request` and `audit-unavailable`. No value and no passphrase is in
an answer, a record or a log.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from appliance.audit.log import AuditLog, AuditUnavailable
from appliance.audit.record import LifecycleRecord, Outcome
from appliance.broker.vault.errors import DAMAGED, INVALID_SECRET, UNKNOWN, VaultError
from appliance.broker.vault.kinds import (
    KINDS,
    Material,
    from_google_key,
    given_anew,
    parse_material,
    read_json,
)
from appliance.broker.vault.vault import Vault, check_names
from appliance.control import ControlError, Operation, Peer
from appliance.ipc import Message

MAX_VALUE = 32 * 1024
"""Octets of one secret: in base64 they must fit into a request of the control socket."""
MAX_KEEP = 100

_T = TypeVar("_T")


class InThread(Protocol):
    """Runs a blocking function elsewhere (`database_threads`)."""

    def __call__(self, act: Callable[[], _T], /) -> Awaitable[_T]:
        """Its value, or what it raises."""


@dataclass(frozen=True, slots=True)
class _Target:
    """Which secret an operation is about."""

    tenant: str
    integration: str
    name: str

    @property
    def subject(self) -> str:
        return f"{self.integration}/{self.name}"


class Withdraws(Protocol):
    """Ends what was made of secrets (`calls.withdrawing`)."""

    def secret_changed(self, tenant: str, integration: str, name: str, *, removed: bool) -> None:
        """A version of it was stored, or some were removed; or that was tried, and failed."""

    def vault_locked(self) -> None:
        """Nothing that was decrypted serves any more."""


class VaultControl:
    """Sets, lists, rotates and removes secrets, and locks and unlocks the vault, for the operator."""

    def __init__(
        self,
        vault: Vault,
        audit: AuditLog,
        in_thread: InThread,
        now: Callable[[], datetime],
        change_key_file: Callable[[], int] | None = None,
        *,
        withdrawing: Withdraws,
    ) -> None:
        """`change_key_file` blocks; `None` where the vault is not opened by a key file."""
        self._vault = vault
        self._audit = audit
        self._in_thread = in_thread
        self._now = now
        self._change_key_file = change_key_file
        self._withdrawing = withdrawing

    def operations(self) -> Mapping[str, Operation]:
        """The control socket's table; no uid but root's."""
        return {
            "secret-set": Operation(self.set),
            "secret-list": Operation(self.list),
            "secret-rotate": Operation(self.rotate),
            "secret-remove": Operation(self.remove),
            "vault-status": Operation(self.status),
            "vault-unlock": Operation(self.unlock),
            "vault-lock": Operation(self.lock),
            "vault-change": Operation(self.change),
        }

    async def set(self, message: Message, peer: Peer) -> Message:
        """Store a secret, or a further version of it."""
        target, material = _target(message), _material(message)
        unless_same = _flag(message, "unless_same")
        await self._open()
        changed: Message = {}
        if unless_same:
            version = await self._recorded(
                "secret-compared", target, f"kind {material.kind}", peer, lambda: self._same(target, material)
            )
            if version is not None:
                return {"version": version, "changed": False}
            changed = {"changed": True}
        version = await self._recorded(
            "secret-set",
            target,
            f"kind {material.kind}",
            peer,
            lambda: self._vault.put(target.tenant, target.integration, target.name, material, self._now()),
            after=self._changed(target),
        )
        return {"version": version, **changed}

    async def rotate(self, message: Message, peer: Peer) -> Message:
        """Store a new version of what exists, and drop the oldest."""
        target, material, keep = _target(message), _material(message), _number(message, "keep", 0, MAX_KEEP)
        await self._open()
        await self._exists(target)
        kept = 1 if keep is None else keep
        version = await self._recorded(
            "secret-rotated",
            target,
            f"kind {material.kind}, {kept} old kept",
            peer,
            lambda: self._vault.rotate(
                target.tenant, target.integration, target.name, material, self._now(), keep=kept
            ),
            after=self._changed(target),
        )
        return {"version": version}

    async def remove(self, message: Message, peer: Peer) -> Message:
        """Remove a secret, or one version of it."""
        target, version = _target(message), _number(message, "version", 1, 2**31 - 1)
        await self._exists(target)
        removed = await self._recorded(
            "secret-removed",
            target,
            "every version" if version is None else f"version {version}",
            peer,
            lambda: self._vault.remove(target.tenant, target.integration, target.name, version),
            after=self._changed(target, removed=True),
        )
        return {"removed": removed}

    async def list(self, message: Message, peer: Peer) -> Message:
        """Say which secrets there are."""
        tenant = message.get("tenant")
        if tenant is not None:
            _refusing(lambda: check_names(_text(message, "tenant")))
        found = await self._recorded(
            "secrets-listed", None, None, peer, lambda: self._vault.names(tenant), tenant=tenant
        )
        return {
            "secrets": [
                {
                    "tenant": info.tenant,
                    "integration": info.integration,
                    "name": info.name,
                    "kind": info.kind,
                    "version": info.version,
                    "versions": [*info.versions],
                    "created": info.created.isoformat(),
                }
                for info in found
            ]
        }

    async def status(self, message: Message, peer: Peer) -> Message:
        """Say whether the vault is open; changes nothing and tells no name, so it leaves no record."""
        del message, peer
        return await self._blocking(self._status)

    async def unlock(self, message: Message, peer: Peer) -> Message:
        """Open the vault with its passphrase, or choose the first."""
        passphrase, new = _text(message, "passphrase"), _flag(message, "new")
        keyring = self._vault.keyring
        act = (lambda: keyring.choose(passphrase)) if new else (lambda: keyring.unlock(passphrase))
        await self._recorded("passphrase-chosen" if new else "vault-unlocked", None, None, peer, act)
        return await self._blocking(self._status)

    async def lock(self, message: Message, peer: Peer) -> Message:
        """Forget the key, and all that was opened with it; calls under way end. It opens as after a start."""
        del message
        lock, after = self._vault.keyring.lock, self._withdrawing.vault_locked
        await self._recorded("vault-locked", None, None, peer, lock, after=after)
        return await self._blocking(self._status)

    async def change(self, message: Message, peer: Peer) -> Message:
        """Wrap every data key anew for another passphrase, or for a new key file."""
        act = self._change_key_file
        if message.get("passphrase") is not None:
            passphrase = _text(message, "passphrase")
            act = lambda: self._vault.keyring.change_passphrase(passphrase)  # noqa: E731
        if act is None:
            raise ControlError("invalid-request", "no key file opens this vault; give a `passphrase`")
        await self._open()
        return {"rewrapped": await self._recorded("vault-key-changed", None, None, peer, act)}

    def _status(self) -> Message:
        keyring = self._vault.keyring
        entry = keyring.entry()
        return {
            "state": keyring.state().value,
            "source": entry and entry.source.value,
            "secrets": len(self._vault.names()),
            "decryptions": self._vault.decryptions,
        }

    async def _open(self) -> None:
        """Refuse before anything is on record as done."""

        def check() -> None:
            with self._vault.keyring.using():
                pass

        await self._blocking(check)

    async def _exists(self, target: _Target) -> None:
        await self._blocking(lambda: self._vault.versions(target.tenant, target.integration, target.name))

    def _same(self, target: _Target, material: Material) -> int | None:
        """Number of the newest version, if that is the given one: then nothing has to be stored.

        What does not open is not the same: to set it again is its mend.
        """
        try:
            found = self._vault.find(target.tenant, target.integration, target.name)
            with self._vault.opened(found) as newest:
                return found.place.version if given_anew(newest, material) else None
        except VaultError as error:
            if error.code in {UNKNOWN, DAMAGED}:
                return None
            raise

    def _changed(self, target: _Target, *, removed: bool = False) -> Callable[[], None]:
        """What was made of the secret before does not outlive it, also where the change may have failed."""
        tell = self._withdrawing.secret_changed
        return partial(tell, target.tenant, target.integration, target.name, removed=removed)

    async def _recorded(
        self,
        event: str,
        target: _Target | None,
        detail: str | None,
        peer: Peer,
        act: Callable[[], _T],
        *,
        tenant: str | None = None,
        after: Callable[[], None] = lambda: None,
    ) -> _T:
        """Do what is on record; when it fails, that is on record too. `after` is called either way."""
        by = f"pid {peer.credentials.pid} of uid {peer.credentials.uid}"
        record = LifecycleRecord(
            event=event,
            subject=target.subject if target else None,
            tenant=target.tenant if target else tenant,
            detail=f"{detail}, by {by}" if detail else f"by {by}",
        )
        self._write(record)
        try:
            return await self._blocking(act)
        except ControlError as refusal:
            self._write(
                LifecycleRecord(
                    event=event,
                    subject=record.subject,
                    tenant=record.tenant,
                    outcome=Outcome.FAILED,
                    reason=refusal.code,
                    detail=record.detail,
                )
            )
            raise
        finally:
            after()

    def _write(self, record: LifecycleRecord) -> None:
        try:
            self._audit.write(record)
        except AuditUnavailable as error:
            raise ControlError("audit-unavailable", str(error)) from error

    async def _blocking(self, act: Callable[[], _T]) -> _T:
        try:
            return await self._in_thread(act)
        except VaultError as error:
            raise ControlError(error.code, error.detail) from None
        except SQLAlchemyError:
            raise ControlError("store-unavailable", "too much waits for the broker's database") from None


def material_of(kind: str, octets: bytes) -> Material:
    """A secret from what an operator has in hand. Raises `ValueError` that quotes nothing.

    `static`: the text itself, one line end at its end aside. Every other kind: a JSON object with the kind's
    fields, or for `gcp-service-account` the key file as Google issues it.
    """
    if kind not in KINDS:
        raise ValueError(f"the kinds are: {', '.join(KINDS)}")
    if len(octets) > MAX_VALUE:
        raise ValueError(f"the secret has more than {MAX_VALUE} octets")
    if kind == "static":
        text = None
        with contextlib.suppress(UnicodeDecodeError):
            text = octets.decode()
        if text is None:
            raise ValueError("the secret is not UTF-8 text")
        text = text.removesuffix("\n").removesuffix("\r")
        return parse_material(json.dumps({"kind": kind, "value": text}).encode())
    document = read_json(octets)
    if kind == "gcp-service-account" and document.get("type") == "service_account":
        return from_google_key(octets)
    if document.get("kind", kind) != kind:
        raise ValueError(f"kind: the document is of another kind than {kind}")
    return parse_material(json.dumps({**document, "kind": kind}).encode())


def _material(message: Message) -> Material:
    kind, value = _text(message, "kind"), _text(message, "value")
    try:
        octets = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ControlError("invalid-request", "`value` must be base64") from None
    wrong = ""
    try:
        return material_of(kind, octets)
    except ValueError as error:
        wrong = str(error)
    raise ControlError(INVALID_SECRET, wrong)


def _target(message: Message) -> _Target:
    target = _Target(_text(message, "tenant"), _text(message, "integration"), _text(message, "name"))
    _refusing(lambda: check_names(target.tenant, target.integration, target.name))
    return target


def _refusing(check: Callable[[], None]) -> None:
    try:
        check()
    except VaultError as error:
        raise ControlError(error.code, error.detail) from None


def _text(message: Message, field: str) -> str:
    value: Any = message.get(field)
    if not isinstance(value, str):
        raise ControlError("invalid-request", f"`{field}` must be text")
    return value


def _flag(message: Message, field: str) -> bool:
    value: Any = message.get(field, False)
    if not isinstance(value, bool):
        raise ControlError("invalid-request", f"`{field}` must be true or false")
    return value


def _number(message: Message, field: str, least: int, most: int) -> int | None:
    value: Any = message.get(field)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ControlError("invalid-request", f"`{field}` must be a whole number from {least} to {most}")
    return value
