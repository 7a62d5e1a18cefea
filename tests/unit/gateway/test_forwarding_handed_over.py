"""How long a request may take that was handed over, and that others have the times they had."""

from __future__ import annotations

from appliance.gateway.limits import DEFAULT_LIMITS
from appliance.handover import ANSWER_SECONDS, HANDED_OVER_SECONDS

from .carried import Carried
from .test_session import GET, Talk

BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok"


def test_the_broker_has_longer_than_it_waits_for_the_provider_itself() -> None:
    talk = Carried()
    talk.says(GET)
    assert talk.server().value().startswith(b'{"request_id":')
    assert talk.connection.deadline == HANDED_OVER_SECONDS > ANSWER_SECONDS
    talk.server().protocol.dataReceived(BEGUN)
    assert talk.connection.deadline == HANDED_OVER_SECONDS


def test_a_broker_that_says_nothing_is_given_up() -> None:
    talk = Carried()
    talk.says(GET)
    talk.worker.deadlines.start()
    talk.worker.reactor.pump([1.0] * int(HANDED_OVER_SECONDS - 1))
    assert talk.statuses == []
    talk.worker.reactor.pump([1.0] * 3)
    assert talk.statuses == [504]
    assert talk.records == [("failed", "upstream-response-timeout")]


def test_a_server_that_is_asked_directly_has_the_usual_time() -> None:
    talk = Talk()
    talk.says(GET)
    server = talk.server()
    assert talk.connection.deadline == DEFAULT_LIMITS.response_head_seconds < ANSWER_SECONDS
    server.protocol.dataReceived(BEGUN)
    assert talk.connection.deadline == DEFAULT_LIMITS.response_idle_seconds < ANSWER_SECONDS
