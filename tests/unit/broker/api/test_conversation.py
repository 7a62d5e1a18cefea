"""HTTP inside workloads' TLS: who goes, and what then ends."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from appliance.broker.api.server_connection import MAX_WAITING
from tests.unit.broker.api.support import Broker

WISH = json.dumps({"ttl": 60}).encode()
OPEN = b"POST /v1/session HTTP/1.1\r\nHost: broker.egress.internal\r\nContent-Type: application/json\r\n"
WHOLE = OPEN + b"Content-Length: %d\r\n\r\n" % len(WISH) + WISH


def test_who_goes_while_it_is_answered_leaves_nothing_behind(broker: Broker) -> None:
    waiting, client = [], broker.workload()
    gone = []

    class Answering:
        def begin(self, asked, route, talk):
            waiting.append(talk)
            talk.abandoned = lambda: gone.append(True)
            return Deferred()

    client.connect()
    talk = client.connection._tls.inside
    talk._answering = Answering()
    client.say(WHOLE)
    client.say(b"x" * (MAX_WAITING + 1))
    assert client.wire.aborted
    client.connection.connectionLost(Failure(ConnectionLost()))
    assert gone == [True]
    waiting[0].reply(b"late")
    assert client.wire.value() == b""
