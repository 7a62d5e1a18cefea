"""What the gateway may ask of the resolver over its control socket, and what the operator may.

`resolve` {tenant, name, account?, endpoint?} → {addresses: [text], ttl: seconds};
`pinned` {tenant, name, address, endpoint?} → {pinned: bool};
with an account, for the broker; what goes upstream counts as a question of the endpoint, which must be
the tenant's;
either → {ok: false, reason, detail, rule, outcome: "denied" | "failed"} when there is no address;
`status` → {ready, ...counters}.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING

import dns.edns

from appliance.audit.log import AuditUnavailable
from appliance.control import ControlError, Operation, Peer
from appliance.names import HostName, InvalidName
from appliance.resolver.client import UNKNOWN_ENDPOINT
from appliance.resolver.judgement import AUDIT_DOWN, declined_invalid, failed
from appliance.resolver.outcome import Declined, LookupResult
from appliance.resolver.records import is_recorded, record_of, write_record
from appliance.workload import PLATFORM, TENANT_NAME

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from appliance.audit.log import AuditLog
    from appliance.endpoints import Endpoint, EndpointTable
    from appliance.ipc import Message
    from appliance.resolver.lookup import Lookup
    from appliance.telling import Telling

_UNKNOWN_ENDPOINT = failed(
    UNKNOWN_ENDPOINT, "the resolver knows no such container of the tenant", dns.edns.EDECode.NOT_READY
)


class Operations:
    """The operations on one `Lookup`. `status` gives what the operation of that name answers.

    `admit` counts a question of an endpoint, or says why it may not ask (see `Answering`).
    """

    def __init__(
        self,
        lookup: Lookup,
        audit: AuditLog,
        clock: IReactorTime,
        status: Callable[[], Message],
        *,
        telling: Telling,
        endpoints: EndpointTable,
        admit: Callable[[Endpoint], Declined | None],
    ) -> None:
        self._lookup = lookup
        self._audit = audit
        self._clock = clock
        self._status = status
        self._telling = telling
        self._endpoints = endpoints
        self._admit = admit

    def table(self, gateway_uid: int) -> dict[str, Operation]:
        """By name, with who may ask."""
        gateway = frozenset({gateway_uid})
        return {
            "resolve": Operation(self.resolve, gateway),
            "pinned": Operation(self.pinned, gateway),
            "status": Operation(self.status, gateway),
        }

    async def resolve(self, message: Message, peer: Peer) -> Message:
        """Judged addresses of a name. Raises `ControlError` for a message of another shape."""
        del peer
        tenant, name, endpoint = _tenant(message), _name(message), _text(message, "endpoint")
        if isinstance(name, Declined):
            return _refusal(name)
        result = await self._recorded(tenant, name, endpoint, account=_text(message, "account"))
        if isinstance(result, Declined):
            return _refusal(result)
        return {"addresses": [str(address) for address in result.addresses], "ttl": result.ttl}

    async def pinned(self, message: Message, peer: Peer) -> Message:
        """Whether an address is of a judged set. Raises `ControlError` for a message of another shape."""
        del peer
        tenant, name, address = _tenant(message), _name(message), _address(message)
        endpoint = _text(message, "endpoint")
        if isinstance(name, Declined):
            return _refusal(name)
        if self._lookup.holds(tenant, name, address):
            return {"pinned": True}
        # Not known: upstream is asked, which is a lookup like any other, and on record like any other.
        result = await self._recorded(tenant, name, endpoint, max_age=self._lookup.min_ttl)
        if isinstance(result, Declined):
            return _refusal(result)
        return {"pinned": self._lookup.holds(tenant, name, address)}

    def status(self, message: Message, peer: Peer) -> Message:
        """The state of the process."""
        del message, peer
        return self._status()

    async def _recorded(
        self,
        tenant: str,
        name: HostName,
        identity: str | None,
        max_age: float | None = None,
        account: str | None = None,
    ) -> LookupResult:
        """Look up with room for the record claimed first; the record is written in any case that has one.

        `identity` is that of the endpoint whose question it is, None where it is no container's.
        """
        began = self._clock.seconds()
        endpoint = None if identity is None else self._endpoints.get(identity)
        if endpoint is not None and endpoint.tenant != tenant:
            endpoint = None

        def departs() -> Declined | None:
            if identity is None:
                return None
            return _UNKNOWN_ENDPOINT if endpoint is None else self._admit(endpoint)

        try:
            claim = self._audit.claim()
        except AuditUnavailable:
            return AUDIT_DOWN
        try:
            result = await self._lookup.resolve(tenant, name, max_age, account=account, departs=departs)
            if is_recorded(result):
                record = record_of(
                    result,
                    endpoint,
                    tenant=tenant,
                    source="gateway",
                    destination="resolver",
                    transport="control",
                    name=name.text,
                    kind="A",
                    seconds=self._clock.seconds() - began,
                )
                write_record(record, claim, self._telling, fresh=result.fresh)
        except AuditUnavailable:
            return AUDIT_DOWN
        finally:
            claim.release()
        return result


def _tenant(message: Message) -> str:
    tenant = message.get("tenant")
    if not isinstance(tenant, str) or not (tenant == PLATFORM or TENANT_NAME.fullmatch(tenant)):
        raise ControlError("malformed", "the request names no tenant")
    return tenant


def _text(message: Message, key: str) -> str | None:
    text = message.get(key)
    if text is not None and not isinstance(text, str):
        raise ControlError("malformed", f"the request's {key} is no text")
    return text


def _name(message: Message) -> HostName | Declined:
    text = message.get("name")
    if not isinstance(text, str):
        raise ControlError("malformed", "the request names no host")
    try:
        return HostName.parse(text)
    except InvalidName as error:
        return declined_invalid(error)


def _address(message: Message) -> IPv4Address:
    text = message.get("address")
    try:
        return IPv4Address(text if isinstance(text, str) else "")
    except AddressValueError:
        raise ControlError("malformed", "the request names no IPv4 address") from None


def _refusal(declined: Declined) -> Message:
    return {
        "ok": False,
        "reason": declined.reason,
        "detail": declined.detail,
        "rule": declined.rule,
        "outcome": declined.outcome.value,
    }
