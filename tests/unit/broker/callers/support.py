"""Callers that are no containers, at a broker whose neighbours are recorders; its database is real."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from appliance.broker.callers.connection import CallerConnection
from appliance.broker.callers.serving import CallerInterface
from appliance.broker.calls.call import Call
from appliance.broker.identity.api_keys import ApiKeys
from appliance.control import ControlError
from appliance.settings import CallersSettings
from tests.unit.broker.api.support import Answer, FromWorker
from tests.unit.broker.calls.support import Neighbours

CI, PROXY, STRANGER = 1001, 1002, 1003
"""Uids: a caller with a key, the trusted peer, and somebody else."""
START = datetime(2027, 1, 15, 8, tzinfo=UTC)
TRUSTED = {"tenant": "acme", "uids": [PROXY]}
SCOPES = ("crm-api:read", "crm-api:write")
GOOD = {
    "account": "crm", "url": "https://api.example.com/data/1?page=2", "method": "GET", "headers": {},
    "body": None,
}  # fmt: skip
ACTED = ("X-Egress-Actor: alice", "X-Egress-Scopes: crm-api:read")


async def in_thread(function, *arguments):
    return function(*arguments)


class Served:
    """An answer's head, and its body in one piece."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self._body = body

    async def read(self, most: int) -> bytes:
        piece, self._body = self._body[:most], self._body[most:]
        return piece

    def abort(self) -> None:
        self._body = b""


class Host:
    """The host's processes, before a broker; `now` goes with the clock."""

    def __init__(self, database, **settings: object) -> None:
        self.clock = Clock()
        self.neighbours = n = Neighbours()
        self.audit = n.audit
        self.database = database
        self.own: list[tuple] = []
        self.published: tuple[int, bytes] | None = None
        """Status and body of the issuer's key set."""
        self.keys = ApiKeys(database)
        calls = SimpleNamespace(
            means=n.means, dials=SimpleNamespace(any_worker=lambda: 3), requests=self,
            begin_call=lambda connection, attestation, head, means: Call(
                means, connection, attestation, head
            ),
        )  # fmt: skip
        self.interface = CallerInterface(
            self.clock, CallersSettings.model_validate({"trusted": TRUSTED} | settings), database, calls,
            policy=n.means.policy, audit=self.audit, in_thread=in_thread, now=self.now,
        )  # fmt: skip
        self.interface.start()

    async def send(self, asker, policy, account, request):
        """What the broker itself asks of a server; see `platform_requests`."""
        self.own.append((asker.worker, asker.tenant, request.method, request.url))
        if self.published is None:
            raise ConnectionError
        return Served(*self.published)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.clock.seconds())

    def key(self, *scopes: str, tenant: str = "acme", actor: str = "ci") -> str:
        return self.keys.create(tenant, actor, frozenset(scopes or SCOPES), self.now()).text

    def process(self, uid: int = CI) -> Process:
        return Process(self, uid)

    def tell(self, operation: str, **message: object):
        """The operator's word; what comes of it, or the refusal's code."""
        found: list = []

        async def told():
            outcome = self.interface.operations()[operation].answer(message, None)
            return outcome if isinstance(outcome, dict) else await outcome

        Deferred.fromCoroutine(told()).addBoth(found.append)
        if isinstance(found[0], dict):
            return found[0]
        found[0].trap(ControlError)
        return found[0].value.code

    @property
    def events(self) -> list[str]:
        return [getattr(record, "event", record.kind.value) for record in self.audit.records]


class Process:
    """A process of the host, by its uid, with the callers' socket open."""

    def __init__(self, host: Host, uid: int) -> None:
        self.host = host
        self.wire = FromWorker()
        self.wire.uid = uid
        self.connection: CallerConnection = host.interface.connections.buildProtocol(None)
        self.connection.makeConnection(self.wire)

    def say(self, octets: bytes) -> bytes:
        self.connection.dataReceived(octets)
        return self.hear()

    def hear(self) -> bytes:
        heard = self.wire.value()
        self.wire.clear()
        return heard

    def execute(self, *fields: str, line: str = "POST /execute HTTP/1.1", **changes: object) -> Answer:
        raw = json.dumps({**GOOD, **changes}).encode()
        head = [
            line, "Host: broker.egress.internal", "Content-Type: application/json",
            f"Content-Length: {len(raw)}", *fields,
        ]  # fmt: skip
        return Answer(self.say("\r\n".join([*head, "", ""]).encode() + raw))

    def by(self, key: str, **changes: object) -> Answer:
        """With an API key or a JWT."""
        return self.execute(f"Authorization: Bearer {key}", **changes)

    def answered(self) -> Answer:
        """The provider answers."""
        self.host.neighbours.answer()
        return Answer(self.hear())
