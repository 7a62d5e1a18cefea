from __future__ import annotations

import pytest

from appliance.gateway.exchange import Exchange
from appliance.gateway.relay import CONTINUE, Cut, Relay
from appliance.http1.response import ResponseHead, parse_response_head
from appliance.outgoing.pool import Key
from appliance.outgoing.upstream import Upstream

from .support import PUBLIC, SITE, Wire, request


def relay(*lines: str, method: str = "POST", max_request: int = 100, max_response: int = 100):
    upstream = Upstream(Key("acme", secure=False, host=SITE, port=80), PUBLIC, lambda _: None)
    upstream.makeConnection(Wire())
    client = Wire()
    exchange = Exchange("id", request("/", "site.net", method, *lines), 0.0)
    return Relay(exchange, client, upstream, max_request, max_response), client, upstream.transport, exchange


def answer(text: str, method: str = "GET") -> ResponseHead:
    head = parse_response_head((text.replace("\n", "\r\n") + "\r\n\r\n").encode(), method)
    assert isinstance(head, ResponseHead)
    return head


def test_a_body_of_known_length_goes_through_and_what_follows_stays() -> None:
    moving, _, server, exchange = relay("Content-Length: 5")
    moving.start_body()
    assert moving.request_data(b"abc") is None
    assert moving.request_data(b"deNEXT") == b"NEXT"
    assert server.value() == b"abcde"
    assert not moving.sending
    assert server.producer is None
    assert exchange.to_upstream == 5


def test_chunks_are_written_anew_without_extensions() -> None:
    moving, _, server, _ = relay("Transfer-Encoding: chunked")
    moving.start_body()
    assert moving.request_data(b"3;evil=1\r\nabc\r\n0\r\nTrailer: x\r\n\r\nNEXT") == b"NEXT"
    assert server.value() == b"3\r\nabc\r\n0\r\n\r\n"


def test_the_cap_of_the_rule_holds_for_chunks() -> None:
    moving, _, server, _ = relay("Transfer-Encoding: chunked", max_request=4)
    moving.start_body()
    moving.request_data(b"3\r\nabc\r\n")
    with pytest.raises(Cut) as caught:
        moving.request_data(b"2\r\nde\r\n")
    assert caught.value.refusal.reason == "body-too-large"
    assert b"de" not in server.value()


@pytest.mark.parametrize("cap", [(50, 50), (4, 50), (2, 50)])
def test_of_two_caps_the_lower_holds(cap) -> None:
    moving, _, server, _ = relay("Transfer-Encoding: chunked", max_request=4, max_response=4)
    moving.start_body()
    moving.request_data(b"3\r\nabc\r\n")
    moving.response_data(answer("HTTP/1.1 200 OK\nTransfer-Encoding: chunked"), [b"abc"], done=False)
    moving.lower_caps(*cap)
    with pytest.raises(Cut) as caught:
        moving.request_data(b"2\r\nde\r\n")
    assert caught.value.refusal.reason == "body-too-large"
    assert b"de" not in server.value()
    moving.lower_caps(*reversed(cap))
    with pytest.raises(Cut) as caught:
        moving.response_data(None, [b"de"], done=False)
    assert caught.value.refusal.reason == "response-too-large"


def test_a_broken_chunk_is_the_clients_fault() -> None:
    moving, *_ = relay("Transfer-Encoding: chunked")
    moving.start_body()
    with pytest.raises(Cut) as caught:
        moving.request_data(b"zz\r\n")
    assert caught.value.refusal.status == 400


def test_continue_is_said_when_the_body_may_come() -> None:
    moving, client, _, _ = relay("Content-Length: 5", "Expect: 100-continue")
    assert client.value() == b""
    moving.start_body()
    assert client.value() == CONTINUE


def test_a_server_that_does_not_take_the_body_stops_the_client() -> None:
    moving, client, server, _ = relay("Content-Length: 5")
    moving.start_body()
    server.producer.pauseProducing()
    assert client.producerState == "paused"
    moving.release()
    assert client.producerState == "producing"
    assert server.producer is None


def test_a_client_that_does_not_read_stops_the_server() -> None:
    moving, _, server, _ = relay(method="GET")
    moving.pause_response()
    assert server.producerState == "paused"
    moving.resume_response()
    assert server.producerState == "producing"
    moving.pause_response()
    moving.release()
    assert server.producerState == "producing"


def test_the_end_of_one_transport_does_not_end_the_other_by_itself() -> None:
    moving, client, server, _ = relay("Content-Length: 5")
    moving.start_body()
    server.producer.stopProducing()
    assert not client.disconnecting


def test_the_response_cap_holds_for_announced_and_for_counted_bytes() -> None:
    moving, *_ = relay(method="GET", max_response=3)
    with pytest.raises(Cut):
        moving.response_data(answer("HTTP/1.1 200 OK\nContent-Length: 4"), [], done=False)
    moving, *_ = relay(method="GET", max_response=3)
    moving.response_data(answer("HTTP/1.1 200 OK\nTransfer-Encoding: chunked"), [b"abc"], done=False)
    with pytest.raises(Cut) as caught:
        moving.response_data(None, [b"d"], done=False)
    assert caught.value.refusal.reason == "response-too-large"


def test_a_body_until_close_becomes_chunks() -> None:
    moving, _, _, exchange = relay(method="GET")
    wire = moving.response_data(answer("HTTP/1.1 200 OK"), [b"abc"], done=False)
    assert b"Transfer-Encoding: chunked\r\n" in wire
    assert wire.endswith(b"\r\n\r\n3\r\nabc\r\n")
    assert moving.response_data(None, [], done=True) == b"0\r\n\r\n"
    assert exchange.keep_alive
    assert exchange.status == 200


def test_an_answer_before_the_end_of_the_request_ends_the_connection() -> None:
    moving, _, _, exchange = relay("Content-Length: 5")
    moving.start_body()
    wire = moving.response_data(answer("HTTP/1.1 200 OK\nContent-Length: 0"), [], done=True)
    assert b"Connection: close" in wire
    assert not exchange.keep_alive
