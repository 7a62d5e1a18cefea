"""A WebSocket of an integration account, on the gateway's side: handed over, and then frames like any other's."""

from __future__ import annotations

from appliance.handover import HANDED_OVER_SECONDS, parse_attestation
from appliance.policy.set import PolicySet
from tests.unit.websocket.test_frames import frame, read
from tests.unit.websocket.test_handshake import KEY

from .carried import Carried, bound
from .support import web_policy
from .test_websocket import ASK, SWITCH


class Live(Carried):
    """A container that has asked for a WebSocket of the account `crm`."""

    def __init__(self, ask: bytes = ASK) -> None:
        super().__init__(upgrade="websocket", subprotocols=("realtime",))
        self.says(ask)

    def switch(self) -> Live:
        self.server().protocol.dataReceived(SWITCH)
        assert self.statuses == [101]
        self.asked, self.heard = len(self.server().value()), len(self.wire.value())
        return self


def test_our_word_and_the_strict_handshake_go_to_the_broker() -> None:
    ask = ASK.replace(
        b"\r\n\r\n",
        b"\r\nSec-WebSocket-Protocol: realtime\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
        b"Authorization: Bearer agentsecrets://crm-key\r\n\r\n",
    )
    talk = Live(ask)
    line, _, head = talk.server().value().partition(b"\n")
    assert parse_attestation(line).account == "crm"
    assert parse_attestation(line).withheld == "upgrade"
    assert head == (
        b"GET /live HTTP/1.1\r\nHost: site.net\r\nAuthorization: Bearer agentsecrets://crm-key\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\nSec-WebSocket-Protocol: realtime\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % KEY.encode()
    )
    assert talk.connection.deadline == HANDED_OVER_SECONDS


def test_004_39_frames_of_the_broker_are_read_and_counted_like_any_servers() -> None:
    talk = Live().switch()
    talk.says(frame(1, b"hello"))
    assert read(talk.server().value()[talk.asked :], masked=True) == [(True, 1, b"hello")]
    talk.server().protocol.dataReceived(frame(1, b"world", mask=None))
    assert read(talk.wire.value()[talk.heard :], masked=False) == [(True, 1, b"world")]
    talk.server().protocol.dataReceived(b"HTTP/1.1 200 OK\r\n\r\n")
    assert talk.records[-1] == ("failed", "upstream-protocol-error")
    assert talk.server().aborted


def test_a_101_that_does_not_answer_the_containers_key_is_none_though_the_broker_says_it() -> None:
    talk = Live()
    talk.server().protocol.dataReceived(SWITCH.replace(b"Accept: s3", b"Accept: t3"))
    assert talk.statuses == [502]
    assert talk.server().aborted


def test_the_account_that_goes_ends_it() -> None:
    talk = Live().switch()
    talk.worker.test_policies[0] = PolicySet({"acme": web_policy(bound=bound())}, "two")
    talk.connection.policy_changed()
    assert talk.records[-1] == ("denied", "policy-changed")
    assert talk.server().aborted


def test_the_brokers_own_close_is_told_to_the_container() -> None:
    talk = Live().switch()
    talk.server().protocol.dataReceived(frame(8, b"\x03\xf3scrub-failed", mask=None))
    assert read(talk.wire.value()[talk.heard :], masked=False) == [(True, 8, b"\x03\xf3scrub-failed")]
