"""appliance.http1.section: field lines that were judged are known again by their octets, and by nothing else."""

from __future__ import annotations

import pytest

from appliance.http1 import head as heads
from appliance.http1.head import RequestHead, parse_request_head
from appliance.http1.refused import Refused
from appliance.http1.section import FieldSection

FIELDS = b"Host: ok.example\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n"
FIRST = b"GET /a HTTP/1.1\r\n" + FIELDS


def read(data: bytes, known: FieldSection | None = None) -> RequestHead:
    head = parse_request_head(data, known=known)
    assert isinstance(head, RequestHead)
    return head


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The octets of every section that is judged."""
    seen: list[bytes] = []
    judge = heads.judge_fields

    def watched(octets: bytes, lines: list[tuple[bytes, bytes]], *, http_11: bool) -> FieldSection:
        seen.append(octets)
        return judge(octets, lines, http_11=http_11)

    monkeypatch.setattr(heads, "judge_fields", watched)
    return seen


def test_the_same_octets_are_judged_once(judged: list[bytes]) -> None:
    known = read(FIRST).section
    again = read(b"GET /b?c=d HTTP/1.1\r\n" + FIELDS, known)
    assert judged == [b"\r\n" + FIELDS]
    assert (again.path, again.query, again.host, again.section) == ("/b", "c=d", known.host, known)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /a HTTP/1.1\r\nHost: other.example\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: ok.example\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: ok.example\r\nUser-Agent: x\r\nAccept: */*\r\nContent-Length: 5\r\n\r\n",
        b"GET /a HTTP/1.0\r\n" + FIELDS,
    ],
)
def test_others_are_judged(data: bytes, judged: list[bytes]) -> None:
    known = read(FIRST).section
    assert read(data, known) == read(data)
    assert len(judged) == 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"GET http://other.example/ HTTP/1.1\r\n", "host-mismatch"),
        (b"CONNECT other.example:443 HTTP/1.1\r\n", "host-mismatch"),
        (b"GET /\x01 HTTP/1.1\r\n", "octet-invalid"),
    ],
)
def test_the_request_line_is_judged_with_known_fields(line: bytes, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        read(line + FIELDS, read(FIRST).section)
    assert refused.value.reason == reason


def test_a_body_after_connect_is_refused_with_known_fields() -> None:
    fields = b"Host: ok.example:443\r\nContent-Length: 5\r\n\r\n"
    known = read(b"POST / HTTP/1.1\r\n" + fields).section
    with pytest.raises(Refused) as refused:
        read(b"CONNECT ok.example:443 HTTP/1.1\r\n" + fields, known)
    assert refused.value.reason == "connect-with-body"


def test_only_end_to_end_fields_are_passed_on() -> None:
    head = read(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1 \r\nConnection: x-b\r\nX-B: 2\r\nX-Forwarded-For: 3\r\nTE: trailers\r\n\r\n"
    )
    assert head.section.passed_on == b"X-A: 1\r\n"
