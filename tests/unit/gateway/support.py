"""Stand-ins for what a worker's parts speak to; recorders instead of mocks."""

from __future__ import annotations

import socket
from dataclasses import replace
from ipaddress import IPv4Address

from twisted.internet.testing import MemoryReactorClock, StringTransport

from appliance.audit.log import AuditUnavailable
from appliance.endpoints import Endpoint, EndpointTable
from appliance.gateway.channel import Caller, Channel
from appliance.gateway.worker import Neighbours, Worker
from appliance.http1.head import RequestHead, parse_request_head
from appliance.links import link_mark
from appliance.names import HostName
from appliance.policy.caps import Caps
from appliance.policy.limits import DEFAULT_LIMITS
from appliance.policy.set import PolicySet
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.resolver.client import Resolved, Unresolved

SITE = HostName("site.net")
PUBLIC = IPv4Address("93.184.215.14")
OTHER_PUBLIC = IPv4Address("93.184.215.15")
CONTAINER = IPv4Address("172.18.0.2")
GATEWAY = IPv4Address("172.18.0.1")
ENDPOINT = Endpoint("e1", "n1", "acme", CONTAINER, "t-e1", 7, container="c1")


def request(target: str = "/", host: str = "site.net", method: str = "GET", *lines: str) -> RequestHead:
    raw = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()
    head = parse_request_head(raw)
    assert isinstance(head, RequestHead)
    return head


def caller(destination: IPv4Address = PUBLIC, port: int = 80) -> Caller:
    return Caller(ENDPOINT, 40000, destination, port)


def plain(destination: IPv4Address = PUBLIC, port: int = 80) -> Channel:
    return Channel(caller(destination, port), port)


def secured(name: HostName = SITE, port: int = 443) -> Channel:
    return Channel(caller(PUBLIC, port), port, name)


def web_policy(**options) -> TenantPolicy:
    return TenantPolicy("acme", options.pop("generation", "one"), profile=Profile.READ_ONLY_WEB, **options)


def limited(scope: str, **bounds: int) -> TenantPolicy:
    """A policy whose limits are the defaults but for `bounds` of one scope."""
    narrow = replace(getattr(DEFAULT_LIMITS, scope), **bounds)
    return web_policy(limits=replace(DEFAULT_LIMITS, **{scope: narrow}))


class Names:
    """The resolver: names to addresses; `asked` is what it was asked, `charged` whose question each was."""

    def __init__(self, **names: tuple[IPv4Address, ...]) -> None:
        self.names = names or {"site.net": (PUBLIC,)}
        self.asked: list[tuple[str, ...]] = []
        self.charged: list[str | None] = []
        self.ttl = 60

    async def resolve(
        self, tenant: str, name: HostName, account: str | None = None, *, endpoint: str | None = None
    ) -> Resolved:
        self.asked.append(("resolve", tenant, name.text, *([account] if account else [])))
        self.charged.append(endpoint)
        if name.text not in self.names:
            raise Unresolved("name-does-not-exist", "no such name")
        return Resolved(self.names[name.text], self.ttl)

    async def pinned(
        self, tenant: str, name: HostName, address: IPv4Address, *, endpoint: str | None = None
    ) -> bool:
        self.asked.append(("pinned", tenant, name.text, str(address)))
        self.charged.append(endpoint)
        if name.text not in self.names:
            raise Unresolved("name-does-not-exist", "no such name")
        return address in self.names[name.text]


class Log:
    """The audit log, with its promise: what was claimed is written or released, once."""

    def __init__(self) -> None:
        self.records: list = []
        self.ready = True
        self.open_claims = 0
        self.held: list = []
        self.loses = False

    def claim(self):
        if not self.ready:
            raise AuditUnavailable("full")
        self.open_claims += 1
        return _Claim(self)

    def write(self, record) -> None:
        self.claim().write(record)

    def flush(self) -> None:
        held, self.held = self.held, []
        if self.loses:
            raise AuditUnavailable("lost")
        self.records += held

    @property
    def reasons(self) -> list[str]:
        return [record.reason for record in self.records]


class _Claim:
    def __init__(self, log: Log) -> None:
        self._log: Log | None = log

    def write(self, record) -> None:
        log, self._log = self._log, None
        if log is not None:
            log.open_claims -= 1
            log.records.append(record)

    def hold(self, record) -> None:
        log, self._log = self._log, None
        if log is not None:
            log.open_claims -= 1
            log.held.append(record)

    def release(self) -> None:
        log, self._log = self._log, None
        if log is not None:
            log.open_claims -= 1


class Socket:
    """What a transport's handle says of the kernel's view."""

    def __init__(self, peer, own=(str(PUBLIC), 80)) -> None:
        self.peer, self.own = peer, own
        self.mark = link_mark(ENDPOINT.id)

    def getsockopt(self, level, name):
        assert (level, name) == (socket.SOL_SOCKET, socket.SO_MARK)
        return self.mark

    def recv(self, size, flags):
        raise BlockingIOError

    def getpeername(self):
        return self.peer

    def getsockname(self):
        return self.own


class Wire(StringTransport):
    """A transport with a handle; `aborted` and `half_closed` besides what the base class records."""

    def __init__(self, peer=(str(CONTAINER), 40000), own=(str(PUBLIC), 80)) -> None:
        super().__init__()
        self.handle = Socket(peer, own)
        self.half_closed = False
        self.aborted = False

    def getHandle(self):
        return self.handle

    def setTcpNoDelay(self, enabled) -> None:
        pass

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


def worker(names: Names | None = None, policy: TenantPolicy | None = None, limits=None, **others) -> Worker:
    """A worker on a reactor that only remembers; `worker.reactor.tcpClients` are its dials."""
    table = EndpointTable()
    table.replace([ENDPOINT])
    policies = [PolicySet({"acme": policy or web_policy()}, "one")]
    arguments = {
        "reactor": MemoryReactorClock(),
        "endpoints": table,
        "policies": lambda: policies[0],
        "resolver": names or Names(),
        "audit": Log(),
        "leaves": None,
        "upstream_tls": None,
        "root_pem": lambda: b"root",
    } | others
    made = Worker(Neighbours(**arguments), *([limits] if limits else []))
    made.test_policies = policies
    return made


__all__ = ["Caps"]
