"""Bodies that have to be whole: how much of them is in memory."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred

from appliance.broker.calls.keeping import MOST, Keeping
from tests.unit.broker.calls.support import SCHEMA, Neighbours, account

HEAD = "POST /data/1 HTTP/1.1\nHost: api.example.com\nContent-Type: application/json\n"


def reason(said: bytes) -> str:
    return json.loads(said.partition(b"\r\n\r\n")[2])["reason"]


def strict(keeping: Keeping) -> Neighbours:
    n = Neighbours(account(schema=SCHEMA))
    object.__setattr__(n.means, "keeping", keeping)
    return n


def test_a_tenant_has_its_share_and_all_have_theirs() -> None:
    keeping = Keeping(of_tenant=10, in_all=15)
    assert keeping.take("acme", 10)
    assert not keeping.take("acme", 1)
    assert keeping.take("globex", 5)
    assert not keeping.take("globex", 1)
    keeping.give_back("acme", 10)
    assert keeping.take("globex", 5)
    assert dict(keeping._promised) == {"globex": 10}


def test_an_announced_body_is_promised_at_once_and_given_back() -> None:
    keeping = Keeping(of_tenant=20, in_all=20)
    n = strict(keeping)
    n.call(HEAD + "Content-Length: 13", b'{"tit')
    assert not keeping.take("acme", 8)
    n.connection.dataReceived(b'le":"a"}')
    n.answer()
    assert n.record.outcome == "allowed"
    assert keeping.take("acme", 20)


def test_where_there_is_no_room_nothing_is_gathered() -> None:
    n = strict(Keeping(of_tenant=12, in_all=20))
    n.call(HEAD + "Content-Length: 13", b'{"tit')
    assert reason(n.said) == "bodies-too-large"
    assert n.audit.open_claims == 0
    assert n.log == []


def test_a_body_of_unknown_length_takes_room_as_it_grows() -> None:
    keeping = Keeping(of_tenant=12, in_all=20)
    n = strict(keeping)
    n.call(HEAD + "Transfer-Encoding: chunked", b'4\r\n{"ti\r\n')
    n.connection.dataReceived(b'8\r\ntle":"a"\r\n')
    assert n.said == b""
    n.connection.dataReceived(b"1\r\n \r\n")
    assert reason(n.said) == "bodies-too-large"
    assert keeping.take("acme", 12)


def test_who_goes_gives_back_what_was_promised() -> None:
    keeping = Keeping(of_tenant=20, in_all=20)
    n = strict(keeping)
    n.call(HEAD + "Content-Length: 13", b"{")
    n.connection.connectionLost()
    assert keeping.take("acme", 20)


def test_one_body_has_a_bound_of_its_own() -> None:
    n = strict(Keeping())
    n.call(HEAD + f"Content-Length: {MOST + 1}", b"{")
    assert reason(n.said) == "body-too-large"


def test_a_body_that_is_streamed_takes_no_room() -> None:
    n = Neighbours()
    object.__setattr__(n.means, "keeping", Keeping(of_tenant=0, in_all=0))
    n.waits = waits = Deferred()
    n.call(HEAD + "Content-Length: 4", b"ab")
    waits.callback(None)
    n.connection.dataReceived(b"cd")
    n.answer()
    assert n.record.outcome == "allowed"
