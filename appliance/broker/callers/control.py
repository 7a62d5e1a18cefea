"""What the operator asks of the broker about callers that are no containers: for root alone.

| operation        | fields                                               | answer                           |
|------------------|------------------------------------------------------|----------------------------------|
| `caller-add`     | `tenant`, `actor`, `scopes`: list; `seconds` or none | `id`, `key`: shown this once     |
| `caller-rotate`  | `tenant`, `actor`                                    | these; `older`: the other's id   |
| `caller-revoke`  | `id`                                                 | `was_active`; it serves no more  |
| `caller-list`    | `tenant` or none                                     | `keys`, and not what they prove; |
|                  |                                                      | `ended`: for `caller-readmit`    |
| `caller-readmit` | `tenant`, `principal`                                | `was_ended`                      |

A rotated key has scopes and life of the actor's newest one. Refusals: `invalid-request`, `api_key_limit`,
`caller-unknown`, `audit-unavailable`, `store-unavailable`. Each change is on record before it takes effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from appliance.audit.log import AuditLog, AuditUnavailable
from appliance.audit.record import LifecycleRecord, Outcome
from appliance.broker.callers.ending import Withdraw
from appliance.broker.callers.standing import Standing
from appliance.broker.calls.secrets import InThread
from appliance.broker.identity.api_keys import ApiKeyInfo, ApiKeyRefused, ApiKeys, NewApiKey
from appliance.control import ControlError, Operation, Peer
from appliance.ipc import Message

MOST_SECONDS = 10 * 365 * 86400
T = TypeVar("T")


class CallerControl:
    """Operations of the control socket, for root."""

    def __init__(
        self,
        keys: ApiKeys,
        standing: Standing,
        audit: AuditLog,
        withdraw: Withdraw,
        *,
        in_thread: InThread,
        now: Callable[[], datetime],
    ) -> None:
        self._keys = keys
        self._standing = standing
        self._audit = audit
        self._withdraw = withdraw
        self._in_thread = in_thread
        self._now = now

    def operations(self) -> Mapping[str, Operation]:
        """See the module."""
        return {
            "caller-add": Operation(self.add),
            "caller-rotate": Operation(self.rotate),
            "caller-revoke": Operation(self.revoke),
            "caller-list": Operation(self.list),
            "caller-readmit": Operation(self.readmit),
        }

    async def add(self, message: Message, peer: Peer) -> Message:
        """See the module. Raises `ControlError`, as all of them."""
        del peer
        tenant, actor, scopes = _text(message, "tenant"), _text(message, "actor"), _scopes(message)
        life = _life(message)
        self._recorded("caller-key-added", actor, tenant, f"scopes: {' '.join(sorted(scopes)) or 'none'}")
        made = await self._made(tenant, actor, scopes, life)
        return {"id": made.id, "key": made.text}

    async def rotate(self, message: Message, peer: Peer) -> Message:
        """See the module."""
        del peer
        tenant, actor = _text(message, "tenant"), _text(message, "actor")
        listed: list[ApiKeyInfo] = await self._asked(self._keys.keys, tenant)
        now = self._now()
        active = [info for info in listed if info.actor == actor and info.is_active(now)]
        if not active:
            raise ControlError("caller-unknown", f"{actor} of tenant {tenant} has no active key; add one")
        newest = active[-1]
        life = None if newest.expires_at is None else timedelta(seconds=newest.expires_at - newest.created_at)
        self._recorded("caller-key-rotated", actor, tenant, f"beside key {newest.id}")
        made = await self._made(tenant, actor, newest.scopes, life)
        return {"id": made.id, "key": made.text, "older": newest.id}

    async def revoke(self, message: Message, peer: Peer) -> Message:
        """See the module. What the key has under way ends as well."""
        del peer
        key = _text(message, "id")
        listed: list[ApiKeyInfo] = await self._asked(self._keys.keys)
        found = next((info for info in listed if info.id == key), None)
        if found is None:
            raise ControlError("caller-unknown", "there is no key with that id; see egress caller list")
        self._recorded("caller-key-revoked", key, found.tenant, f"of {found.actor}")
        self._standing.key_revoked(key)
        was_active = await self._asked(self._keys.revoke, key, self._now())
        self._withdraw("")
        return {"id": key, "was_active": was_active}

    async def list(self, message: Message, peer: Peer) -> Message:
        """See the module."""
        del peer
        tenant = None if message.get("tenant") is None else _text(message, "tenant")
        listed: list[ApiKeyInfo] = await self._asked(self._keys.keys, tenant)
        now = self._now()
        return {
            "keys": [
                {**asdict(info), "scopes": sorted(info.scopes), "active": info.is_active(now)}
                for info in listed
            ],
            "ended": [
                {"tenant": of, "principal": principal}
                for of, principal in self._standing.ended()
                if tenant in (None, of)
            ],
        }

    def readmit(self, message: Message, peer: Peer) -> Message:
        """See the module."""
        del peer
        tenant, principal = _text(message, "tenant"), _text(message, "principal")
        self._recorded("caller-readmitted", principal, tenant, None)
        return {"principal": principal, "was_ended": self._standing.readmit(tenant, principal)}

    async def _made(
        self, tenant: str, actor: str, scopes: frozenset[str], life: timedelta | None
    ) -> NewApiKey:
        try:
            made: NewApiKey = await self._asked(self._keys.create, tenant, actor, scopes, self._now(), life)
        except ApiKeyRefused as refused:
            self._recorded("caller-key-refused", actor, tenant, refused.detail, refused.code)
            code = "invalid-request" if refused.code == "invalid" else refused.code
            raise ControlError(code, refused.detail) from refused
        return made

    async def _asked(self, act: Callable[..., T], *arguments: object) -> T:
        try:
            answer: T = await self._in_thread(act, *arguments)
        except SQLAlchemyError as error:
            raise ControlError("store-unavailable", "the broker's database does not answer") from error
        return answer

    def _recorded(
        self, event: str, subject: str, tenant: str, detail: str | None, reason: str | None = None
    ) -> None:
        outcome = Outcome.ALLOWED if reason is None else Outcome.FAILED
        record = LifecycleRecord(
            event=event, subject=subject, tenant=tenant, outcome=outcome, reason=reason, detail=detail
        )
        try:
            self._audit.write(record)
        except AuditUnavailable as error:
            raise ControlError("audit-unavailable", str(error)) from error


def _text(message: Message, name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not value or len(value) > 512:
        raise ControlError("invalid-request", f"`{name}` must be a text")
    return value


def _scopes(message: Message) -> frozenset[str]:
    value = message.get("scopes")
    if not isinstance(value, list) or not all(isinstance(scope, str) for scope in value):
        raise ControlError("invalid-request", "`scopes` must be a list of texts")
    return frozenset(value)


def _life(message: Message) -> timedelta | None:
    value = message.get("seconds")
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= MOST_SECONDS:
        raise ControlError("invalid-request", f"`seconds` must be a number from 1 to {MOST_SECONDS}")
    return timedelta(seconds=value)
