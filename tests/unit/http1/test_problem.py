"""Refusals as the client reads them (RFC 9457, RFC 9209)."""

from __future__ import annotations

import json

import h11
import pytest

from appliance.http1.problem import problem_response

ID = "0191e1d2-0000-7000-8000-000000000001"


def read(raw: bytes, method: str = "GET") -> tuple[h11.Response, bytes]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.receive_data(raw)
    client.receive_data(b"")
    head = client.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return head, body


def test_problem_document() -> None:
    head, body = read(
        problem_response(
            403,
            "method-not-allowed",
            "Method not allowed",
            "POST is not.",
            ID,
            extra={"rule": "r", "status": 1},
        )
    )
    fields = dict(head.headers.raw_items())
    assert head.status_code == 403
    assert fields[b"Content-Type"] == b"application/problem+json"
    assert fields[b"Cache-Control"] == b"no-store"
    assert fields[b"Connection"] == b"close"
    assert fields[b"Proxy-Status"] == b'egress; error=http_request_denied; details="method-not-allowed"'
    assert json.loads(body) == {
        "type": "urn:egress:refusal:method-not-allowed",
        "title": "Method not allowed",
        "status": 403,
        "detail": "POST is not.",
        "instance": ID,
        "reason": "method-not-allowed",
        "rule": "r",
    }


def test_answer_to_head_has_no_body_but_its_length() -> None:
    head, body = read(problem_response(403, "a", "b", "c", "d", head_only=True), "HEAD")
    assert body == b""
    assert int(dict(head.headers)[b"content-length"]) > 0


def test_connection_may_stay() -> None:
    assert b"Connection" not in problem_response(403, "a", "b", "c", "d", close=False)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, "http_request_error"), (403, "http_request_denied"), (429, "http_request_denied"),
     (500, "proxy_internal_error"), (501, "http_request_error"), (503, "proxy_internal_error")],
)  # fmt: skip
def test_proxy_status_by_status(status: int, error: str) -> None:
    assert f"error={error};".encode() in problem_response(status, "a", "b", "c", "d")


def test_proxy_error_and_fields_of_ours() -> None:
    raw = problem_response(
        502, "a", "b", "c", "d", proxy_error="tls_certificate_error", headers=(("Retry-After", "1"),)
    )
    assert b"error=tls_certificate_error;" in raw
    assert b"\r\nRetry-After: 1\r\n" in raw


def test_hostile_text_stays_inside_the_document() -> None:
    """Detail and title repeat what a caller sent: no header and no second response can come of it."""
    evil = 'x"\\\r\n\r\nHTTP/1.1 200 OK\r\n\r\n\x00ü\ud800'
    raw = problem_response(400, evil, evil, evil, evil, extra={"url": evil}, headers=(("X-A", evil),))
    assert raw.count(b"\r\n\r\n") == 1
    head, body = read(raw)
    assert json.loads(body)["detail"] == evil
    assert dict(head.headers)[b"proxy-status"].count(b'"') == 2
