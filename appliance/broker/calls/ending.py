"""The end of an execution that collided: what it holds dies at once, its container goes, everybody hears.

Handles, and whatever is asked on any link of the container, are refused from that moment on, by what this
process remembers; certificates and sessions as soon as the database has it, for every process and for good.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger

from appliance.audit.log import AuditLog, AuditUnavailable
from appliance.audit.record import LifecycleRecord, Outcome
from appliance.ipc import Message
from appliance.json_lines import JsonLines

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IDelayedCall
    from twisted.python.failure import Failure

    from appliance.broker.handles import Handles
    from appliance.endpoints import Endpoint, EndpointTable
    from appliance.handover import Attestation

SECONDS = 30
TRIES, AGAIN = 60, 2.0
"""How often netd, and the database, are told, every so many seconds: each may be between two of its lives."""
REMEMBERED = 65536
"""Endpoints that were killed; netd gives each its own id."""

Expel = Callable[[str, str, str], Awaitable[object]]
"""Ends certificates and sessions for good: of an endpoint, by tenant, endpoint and container."""

_log = Logger()


class Ending:
    """`control` is the path of netd's control socket, `endpoints` netd's table."""

    def __init__(
        self,
        reactor: Any,
        control: str,
        handles: Handles,
        audit: AuditLog,
        *,
        endpoints: EndpointTable,
        expel: Expel,
        ended: Callable[[str, str], None],
    ) -> None:
        """`ended` hears of each endpoint, and of the request that it is ended for."""
        self._reactor = reactor
        self._netd = UNIXClientEndpoint(reactor, control, timeout=SECONDS)  # type: ignore[no-untyped-call]  # Twisted
        self._handles = handles
        self._audit = audit
        self._endpoints = endpoints
        self._expel = expel
        self._others_end = ended
        self._ended: dict[str, None] = {}
        self.told: Deferred[Any] = succeed(None)
        """Fires when netd was reached for the last wish, or was not."""
        self._waiting: set[IDelayedCall] = set()
        self._closed = False

    def close(self) -> None:
        """Tell netd nothing more."""
        self._closed = True
        for waiting in self._waiting:
            if waiting.active():
                waiting.cancel()
        self._waiting.clear()

    def is_over(self, endpoint: str) -> bool:
        """Whether it was killed: it makes no call any more, also where netd could not stop it."""
        return endpoint in self._ended

    def kill(self, attestation: Attestation, reason: str, why: str) -> None:
        """Revoke at once, then have the container stopped. Never raises: the call is refused anyway.

        Once for each: whatever else it had under way collides as well.
        """
        if self.is_over(attestation.endpoint):
            return
        links = self._links(attestation)
        for link in links:
            self._ended[link] = None
            if len(self._ended) > REMEMBERED:
                del self._ended[next(iter(self._ended))]
        dead = sum(self._handles.revoke_all(link) for link in links)
        _log.critical(
            "execution on {endpoint} of {tenant} is ended: {reason}; {dead} handles revoked",
            endpoint=attestation.endpoint, tenant=attestation.tenant, reason=reason, dead=dead,
        )  # fmt: skip
        try:
            self._audit.write(
                LifecycleRecord(
                    event="execution-killed",
                    subject=attestation.container or attestation.endpoint,
                    tenant=attestation.tenant,
                    outcome=Outcome.DENIED,
                    reason=reason,
                    detail=why,
                )
            )
        except AuditUnavailable:
            _log.critical("the end of an execution could not be recorded")
        for link in links:
            self._others_end(link, attestation.request_id)
            self._revoke(attestation, link, TRIES)
        self._stop(attestation, reason, why)

    def _links(self, attestation: Attestation) -> list[str]:
        """The container's endpoints: what it holds on one of them, it can use on another."""

        def is_its(endpoint: Endpoint) -> bool:
            return endpoint.tenant == attestation.tenant and endpoint.container == attestation.container != ""

        others = [endpoint.id for endpoint in self._endpoints if is_its(endpoint)]
        return list(dict.fromkeys((attestation.endpoint, *others)))

    def _revoke(self, attestation: Attestation, link: str, tries: int) -> None:
        Deferred.fromCoroutine(self._revoke_in_table(attestation, link, tries))

    async def _revoke_in_table(self, attestation: Attestation, link: str, tries: int) -> None:
        try:
            await self._expel(attestation.tenant, link, attestation.container)
        except Exception as error:  # noqa: BLE001 - it is tried again; until then the link is refused
            kind = type(error).__name__
            _log.critical("what an execution holds could not be revoked in the database: {kind}", kind=kind)
            self._again(tries - 1, self._revoke, attestation, link)

    def _stop(self, attestation: Attestation, reason: str, why: str) -> None:
        wish = {"op": "stop-container", "endpoint": attestation.endpoint, "reason": reason, "why": why}
        self._tell(wish, TRIES)

    def _tell(self, wish: Message, tries: int) -> None:
        wishes = _Wishes(wish, lambda why: self._untold(wish, tries - 1, why))
        self.told = connecting = self._netd.connect(wishes)  # type: ignore[no-untyped-call]  # Twisted
        connecting.addErrback(lambda failure: self._untold(wish, tries - 1, failure.getErrorMessage()))

    def _untold(self, wish: Message, tries: int, why: str) -> None:
        _log.critical("netd could not be told to stop the container: {why}", why=why)
        self._again(tries, self._tell, wish)

    def _again(self, tries: int, act: Callable[..., None], *arguments: object) -> None:
        self._waiting = {waiting for waiting in self._waiting if waiting.active()}
        if tries > 0 and not self._closed:
            self._waiting.add(self._reactor.callLater(AGAIN, act, *arguments, tries))


class _Wish(JsonLines):
    """One wish, one answer."""

    def __init__(self, wish: Message, untold: Callable[[str], None]) -> None:
        self._wish = wish
        self._untold = untold
        self._answered = False

    def connectionMade(self) -> None:
        self.send(self._wish)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._answered:
            self._untold(reason.getErrorMessage())

    def message_received(self, message: Message) -> None:
        self._answered = message.get("ok") is True or message.get("error") == "endpoint-unknown"
        if not self._answered:
            _log.critical("netd did not stop the container: {why}", why=str(message.get("detail")))
        self.close()


class _Wishes(Factory):
    noisy = False

    def __init__(self, wish: Message, untold: Callable[[str], None]) -> None:
        self._wish = wish
        self._untold = untold

    def buildProtocol(self, addr: IAddress | None) -> _Wish:
        del addr
        return _Wish(self._wish, self._untold)
