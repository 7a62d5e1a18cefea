"""A request of the broker's own, the way of a call: judged addresses, a worker's socket, TLS by name.

It goes to a token host of an account (`appliance.policy.token_hosts`) and nowhere else, on a connection that
carries nothing else. A redirect is an answer like another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from twisted.internet.defer import Deferred

from appliance.broker.calls import checks
from appliance.broker.calls.dials import CallRefused
from appliance.broker.credentials.outgoing import Fields, NoAnswer
from appliance.http1.framing import BodyKind, Framing
from appliance.http1.refused import ProtocolFault, Refused
from appliance.http1.response import ResponseHead
from appliance.http1.target import parse_absolute, query_pieces
from appliance.http1.writer import framing_field, host_text
from appliance.names import Authority, HostName
from appliance.policy.token_hosts import judge_exchange
from appliance.policy.verdict import RequestFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Address

    from appliance.broker.calls.providers import Asker, Providers
    from appliance.http1.target import Target
    from appliance.outgoing.upstream import Upstream
    from appliance.policy.tenant import TenantPolicy

    PolicyNow = Callable[[], TenantPolicy]

MAX_HELD = 256 * 1024
"""Octets of an answer that nobody has read yet."""


@dataclass(frozen=True, slots=True)
class OwnRequest:
    """What is asked of `url`, an https URL. A GET has no body."""

    method: Literal["GET", "POST"]
    url: str
    fields: Fields = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


class NotAsked(NoAnswer):
    """Nothing was sent; `reason` is the stable code of why, of policy or of the worker that connects."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OwnRequests:
    """Over connections of `providers`."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    async def send(self, asker: Asker, policy: PolicyNow, account: str, request: OwnRequest) -> OwnAnswer:
        """The answer, once its head is there; who reads its body aborts it in the end. Raises `NoAnswer`.

        `policy` is asked for the one of `asker.tenant`, in whose `account` the host is named. It is asked
        again before the request goes out: to find and to connect the host takes time.
        """
        target, at = _place(request.url)
        host, port = at
        facts = RequestFacts(
            request.method, "https", host, port, target.path, target.pairs, _content_type(request),
            len(request.body), pieces=query_pieces(target.query),
        )  # fmt: skip
        _verify(policy(), account, facts, ())
        try:
            addresses = await self._providers.find(asker, host, port, account=account)
            _verify(policy(), account, facts, addresses)
            upstream = await self._providers.connect(
                asker, host, port, addresses, fresh=True, account=account
            )
        except CallRefused as refused:
            raise NotAsked(refused.refusal.reason) from refused
        try:
            _verify(policy(), account, facts, addresses)
        except NotAsked:
            upstream.abort()
            raise
        answer = OwnAnswer(upstream)
        upstream.send(answer, request.method, _wire(request, target, Authority(host, port)))
        try:
            await answer.begun
        except BaseException:  # cancelled, too
            upstream.abort()
            raise
        return answer


class OwnAnswer:
    """Implements `outgoing.upstream.Downstream`, and `identity.bounded_answer.Answer` for its reader."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._held = bytearray()
        self._whole = self._broken = False
        self._reader: Deferred[None] | None = None
        self.status = 0
        self.begun: Deferred[None] = Deferred()
        """Fires when `status` is known; fails with `NoAnswer` if it never will be."""

    async def read(self, most: int) -> bytes:
        """The next octets of the body, `most` at most; empty at its end. Raises `NoAnswer`."""
        while not (self._held or self._whole or self._broken):
            self._reader = Deferred()
            await self._reader
        if self._broken:
            raise NoAnswer
        piece = bytes(self._held[:most])
        del self._held[:most]
        return piece

    def abort(self) -> None:
        """Nobody reads on."""
        self._upstream.abort()

    def response(self, head: ResponseHead | None, pieces: list[bytes], *, done: bool) -> None:
        """More of it."""
        if head is not None:
            self.status = head.status
        self._held += b"".join(pieces)
        self._whole = done
        if len(self._held) > MAX_HELD:
            self._upstream.abort()
            self._end()
            return
        if not self.begun.called:
            self.begun.callback(None)
        self._wake()

    def response_broken(self, fault: ProtocolFault) -> None:
        """It is no HTTP."""
        del fault
        self._end()

    def response_failed(self) -> None:
        """A mistake of ours."""
        self._end()

    def response_missing(self) -> None:
        """It hung up."""
        self._end()

    def _end(self) -> None:
        self._broken = True
        if not self.begun.called:
            self.begun.errback(NoAnswer())
        self._wake()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)  # of no effect on one that was cancelled


def _verify(
    policy: TenantPolicy, account: str, facts: RequestFacts, addresses: Sequence[IPv4Address]
) -> None:
    """Raises `NotAsked`."""
    verdict = judge_exchange(policy, account, facts)
    if not verdict.allowed:
        raise NotAsked(verdict.reason)
    assert isinstance(facts.host, HostName)
    refusal = checks.addresses_allowed(policy, facts.host, facts.port, addresses)
    if refusal is not None:
        raise NotAsked(refusal.reason)


def _place(url: str) -> tuple[Target, tuple[HostName, int]]:
    """What is asked for, and of whom. Raises `NoAnswer`."""
    try:
        target = parse_absolute(url)
    except Refused as fault:
        raise NoAnswer from fault
    authority = target.authority
    if target.scheme != "https" or authority is None or not isinstance(authority.host, HostName):
        raise NoAnswer
    return target, (authority.host, authority.port)


def _content_type(request: OwnRequest) -> str | None:
    found = (value for name, value in request.fields if name.lower() == b"content-type")
    value = next(found, None)
    return None if value is None else value.decode("latin-1")


def _wire(request: OwnRequest, target: Target, authority: Authority) -> bytes:
    path = target.path if target.query is None else f"{target.path}?{target.query}"
    lines = b"".join(b"%b: %b\r\n" % pair for pair in request.fields)
    framing = Framing(BodyKind.LENGTH, len(request.body))
    length = framing_field(framing) if request.method == "POST" else b""
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n%b" % (
        request.method.encode("ascii"), path.encode("ascii"), host_text(authority, "https").encode("ascii"),
        lines, length, request.body,
    )  # fmt: skip
