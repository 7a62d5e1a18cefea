"""A POST to a token endpoint, on the way of a call: judged addresses, a worker's socket, TLS by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, TimeoutError  # noqa: A004 - what addTimeout raises

from appliance.broker.calls import checks
from appliance.broker.calls.dials import CallRefused
from appliance.broker.credentials.outgoing import Fields, NoAnswer, TokenAnswer
from appliance.http1.framing import BodyKind, Framing
from appliance.http1.refused import ProtocolFault, Refused
from appliance.http1.response import ResponseHead
from appliance.http1.target import parse_absolute
from appliance.http1.writer import framing_field, host_text
from appliance.names import Authority, HostName

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from appliance.broker.calls.providers import Providers
    from appliance.handover import Attestation
    from appliance.outgoing.upstream import Upstream
    from appliance.policy.tenant import TenantPolicy

MAX_ANSWER = 64 * 1024
SECONDS = 20.0


class TokenEndpoints:
    """`post` is a `credentials.outgoing.Post` but for its first two arguments."""

    def __init__(self, providers: Providers, clock: IReactorTime) -> None:
        self._providers = providers
        self._clock = clock

    async def post(
        self, attestation: Attestation, policy: TenantPolicy, url: str, fields: Fields, body: bytes
    ) -> TokenAnswer:
        """The answer, whole and bounded. A redirect is an answer like another. Raises `NoAnswer`."""
        try:
            target = parse_absolute(url)
        except Refused as fault:
            raise NoAnswer from fault
        authority = target.authority
        if target.scheme != "https" or authority is None or not isinstance(authority.host, HostName):
            raise NoAnswer
        host, port = authority.host, authority.port
        try:
            addresses = await self._providers.find(attestation, host, port)
            if checks.addresses_allowed(policy, host, port, addresses) is not None:
                raise NoAnswer
            upstream = await self._providers.connect(attestation, host, port, addresses, fresh=True)
        except CallRefused as refused:
            raise NoAnswer from refused
        path = target.path if target.query is None else f"{target.path}?{target.query}"
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        upstream_host = host_text(Authority(host, port), "https").encode("ascii")
        wire = b"POST %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n%b" % (
            path.encode("ascii"), upstream_host, lines,
            framing_field(Framing(BodyKind.LENGTH, len(body))), body,
        )  # fmt: skip
        gathering = _Gathering(upstream)
        upstream.send(gathering, "POST", wire)
        try:
            return await gathering.answered.addTimeout(SECONDS, self._clock)
        except TimeoutError:
            raise NoAnswer from None
        finally:
            upstream.abort()


class _Gathering:
    """Implements `outgoing.upstream.Downstream`: keeps all of an answer, up to `MAX_ANSWER`."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._status = 0
        self._body = bytearray()
        self.answered: Deferred[TokenAnswer] = Deferred()

    def response(self, head: ResponseHead | None, pieces: list[bytes], *, done: bool) -> None:
        """More of it."""
        if head is not None:
            self._status = head.status
        for piece in pieces:
            self._body += piece
        if len(self._body) > MAX_ANSWER:
            self._upstream.abort()
            self._none()
        elif done and not self.answered.called:
            self.answered.callback(TokenAnswer(self._status, bytes(self._body)))

    def response_broken(self, fault: ProtocolFault) -> None:
        """It is no HTTP."""
        del fault
        self._none()

    def response_failed(self) -> None:
        """A mistake of ours."""
        self._none()

    def response_missing(self) -> None:
        """It hung up."""
        self._none()

    def _none(self) -> None:
        if not self.answered.called:
            self.answered.errback(NoAnswer())
