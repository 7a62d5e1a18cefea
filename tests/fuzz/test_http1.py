"""Whatever bytes come, we either send on one message that llhttp and h11 read exactly as we do, or refuse with a
4xx or 5xx; never another exception. `EGRESS_FUZZ_EXAMPLES` makes the search longer.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.verify.smuggling import REFUSALS, TAKEN
from tests.fuzz.agreement import check_request, check_response
from tests.fuzz.readers import relay_request, relay_response

EXAMPLES = int(os.environ.get("EGRESS_FUZZ_EXAMPLES", "1500"))
SEARCH = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SMUGGLED = b"DELETE /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n"

GOOD_METHODS = [b"GET", b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH"]
BAD_METHODS = [b"get", b"FOO", b"M-SEARCH", b"CONNECT", b"PRI", b"GE(", b"", b"GET\t"]
GOOD_TARGETS = [
    b"/",
    b"/a/../b?c=d",
    b"/%7e%c3%bc",
    b"/{x}",
    b"http://ok.example/a",
    b"/?a=\\&b=[%5b]",
    b"/a;b/./c",
]
BAD_TARGETS = [
    b"*", b"http://evil.example/", b"https://ok.example/", b"ok.example:443", b"//x", b"/a b", b"/\xff",
    b"/a%2fb", b"/#f", b"/..", b"/%2e%2e/", b"", b"http://ok.example@evil.example/",
]  # fmt: skip
BAD_VERSIONS = [
    b"HTTP/1.0",
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"http/1.1",
    b"HTTP/1.1 ",
    b"HTTP/01.1",
    b"HTTP/1.1\t",
    b"",
]
BAD_ENDS = [b"\n", b"\r", b"\r\r\n", b"\r\n ", b"\r\n\t", b" \r\n", b"\t\r\n", b"\x0b\r\n", b"", b"\r\n\r\n"]
BAD_COLONS = [b":", b" :", b":\t", b"", b"::", b"\t: ", b": \t ", b":  "]
GOOD_FIELDS = [
    (b"X-A", b"b"), (b"Accept", b"*/*"), (b"Connection", b"close"), (b"Connection", b"x-a, keep-alive"), (b"X-Empty", b""),
    (b"X-Forwarded-For", b"1"), (b"Cookie", b"a=b; c"), (b"TE", b"trailers"), (b"Expect", b"100-continue"),
    (b"Upgrade", b"websocket"), (b"Content-Type", b"text/plain"),
]  # fmt: skip
BAD_NAMES = [
    b"Content-Length", b"content-length", b"Transfer-Encoding", b"transfer-encoding", b"Host", b"Connection", b"Upgrade",
    b"Content_Length", b"Content-Length ", b"Transfer-Encoding\t", b"", b"\x00", b"X\xff", b" X", b"Expect", b"HTTP2-Settings",
]  # fmt: skip
BAD_VALUES = [
    b"0", b"1", b"5", b"+5", b"5, 5", b"05", b"0x5", b"5 ", b"chunked", b"Chunked", b"chunked, identity", b"gzip, chunked",
    b"identity", b"xchunked", b"ok.example", b"ok.example:80", b"evil.example", b"close", b"keep-alive, Host", b"x-a",
    b"h2c", b"websocket", b"100-continue", b"", b"a\x00b", b"\xfc", b"a\rb", b"a\nb", b"18446744073709551617",
]  # fmt: skip
BAD_SIZES = [b"05", b"0", b"3", b"6", b"-5", b"0x5", b"F", b"5_0", b" 5", b"5 ", b""]
EXTENSIONS = [b"", b"", b";a=b", b';a="b"', b" ;a", b";\n", b";" + b"x" * 300]
TRAILERS = [b"", b"", b"X-T: a\r\n", b"Content-Length: 3\r\n", b"broken\r\n", b"A: b\n", b" folded\r\n"]


class Flawed:
    """Draws what is good, but for a few places where it draws what is not."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._flaws = draw(st.sets(st.integers(0, 30), max_size=2))
        self._place = 0

    def pick(self, good: list[bytes], bad: list[bytes]) -> bytes:
        self._place += 1
        return self._draw(st.sampled_from(bad if self._place in self._flaws else good))

    def line(self, name: bytes, value: bytes) -> bytes:
        return (
            self.pick([name], BAD_NAMES)
            + self.pick([b": "], BAD_COLONS)
            + self.pick([value], BAD_VALUES)
            + self.pick([b"\r\n"], BAD_ENDS)
        )

    def fields_and_body(self, host: list[tuple[bytes, bytes]], framings: list[str]) -> bytes:
        fields = host + self._draw(
            st.lists(st.sampled_from(GOOD_FIELDS), max_size=2, unique_by=lambda field: field[0])
        )
        framing = self._draw(st.sampled_from(framings))
        if framing == "length":
            fields.append((b"Content-Length", b"5"))
        elif framing == "chunked":
            fields.append((b"Transfer-Encoding", b"chunked"))
        head = b"".join(self.line(*field) for field in self._draw(st.permutations(fields))) + b"\r\n"
        if framing == "length":
            return head + self.pick([b"hello"], [b"hell", b"hello!", b""])
        if framing == "chunked":
            chunks = [self.chunk() for _ in range(self._draw(st.integers(0, 2)))]
            return head + b"".join(chunks) + b"0\r\n" + self._draw(st.sampled_from(TRAILERS)) + b"\r\n"
        return head

    def chunk(self) -> bytes:
        return (
            self.pick([b"5"], BAD_SIZES)
            + self.pick(EXTENSIONS[:4], EXTENSIONS)
            + self.pick([b"\r\n"], BAD_ENDS)
            + self.pick([b"hello", b"\r\n0\r\n"], [b"", b"hel"])
            + self.pick([b"\r\n"], BAD_ENDS)
        )


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Mostly untouched; else a few octets changed, dropped or put in."""
    if draw(st.integers(0, 3)):
        return data
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(changed) - 1, 0)))
        octet = draw(st.sampled_from(b"\r\n\t \x00:;,+-_0159aAfFxX/%.\x0b\x7f\x80\xff"))
        kind = draw(st.integers(0, 2))
        changed[place : place + (kind != 0)] = b"" if kind == 2 else bytes([octet])
    return bytes(changed)


VECTORS = [vector.request for vector in (*REFUSALS, *TAKEN) if len(vector.request) < 600]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    after = draw(st.sampled_from([SMUGGLED, b""]))
    if draw(st.integers(0, 5)) == 0:
        return draw(mutated(draw(st.sampled_from(VECTORS)))) + after
    flawed = Flawed(draw)
    line = (
        flawed.pick(GOOD_METHODS, BAD_METHODS)
        + flawed.pick([b" "], [b"", b"  ", b"\t", b"\x0b"])
        + flawed.pick(GOOD_TARGETS, BAD_TARGETS)
        + flawed.pick([b" "], [b"", b"  ", b"\t"])
        + flawed.pick([b"HTTP/1.1"], BAD_VERSIONS)
        + flawed.pick([b"\r\n"], BAD_ENDS)
    )
    rest = flawed.fields_and_body([(b"Host", b"ok.example")], ["none", "length", "chunked"])
    return draw(mutated(line + rest)) + after


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    flawed = Flawed(draw)
    interim = flawed.pick(
        [b"", b"HTTP/1.1 100 Continue\r\n\r\n"],
        [b"HTTP/1.1 103 E\r\nLink: a\r\n\r\n" * 9, b"HTTP/1.1 101 S\r\n\r\n"],
    )
    line = (
        flawed.pick([b"HTTP/1.1"], BAD_VERSIONS)
        + flawed.pick([b" "], [b"", b"  ", b"\t"])
        + flawed.pick(
            [b"200 OK", b"404 Not Found", b"500"],
            [b"204 No", b"304 Not", b"099 X", b"700 X", b"20", b"+20", b"101 S"],
        )
        + flawed.pick([b"\r\n"], BAD_ENDS)
    )
    rest = flawed.fields_and_body([], ["none", "length", "chunked"])
    return interim + draw(mutated(line + rest))


@SEARCH
@given(data=requests(), size=st.integers(1, 40))
def test_one_request_or_a_refusal(data: bytes, size: int) -> None:
    check_request(data, size)


@SEARCH
@given(data=st.binary(max_size=300), size=st.integers(1, 40))
def test_any_bytes_as_a_request(data: bytes, size: int) -> None:
    check_request(data, size)


@SEARCH
@given(data=responses(), size=st.integers(1, 40), verb=st.sampled_from(["GET", "HEAD", "POST"]))
def test_one_response_or_a_refusal(data: bytes, size: int, verb: str) -> None:
    check_response(data, size, verb)


@SEARCH
@given(data=st.binary(max_size=300), size=st.integers(1, 40))
def test_any_bytes_as_a_response(data: bytes, size: int) -> None:
    check_response(data, size, "GET")


@pytest.mark.parametrize("strategy", [requests(), responses()], ids=["requests", "responses"])
def test_the_search_meets_every_outcome(strategy: st.SearchStrategy[bytes]) -> None:
    """The control: a generator that is always refused would prove nothing."""
    outcomes = {"sent": 0, "refused": 0, "body": 0, "incomplete": 0}

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(data=strategy)
    def count(data: bytes) -> None:
        ours = relay_response(data, 1000, "GET") if data.startswith(b"HTTP/") else relay_request(data, 1000)
        outcomes["sent"] += ours.sent is not None
        outcomes["refused"] += ours.fault is not None
        outcomes["body"] += bool(ours.read.body)
        outcomes["incomplete"] += ours.sent is None and ours.fault is None

    count()
    assert outcomes["sent"] > 60, outcomes
    assert outcomes["refused"] > 60, outcomes
    assert outcomes["body"] > 20, outcomes


def test_a_smuggled_request_is_never_part_of_what_is_sent() -> None:
    for vector in TAKEN:
        rest = {"length": b"hello", "chunked": b"5\r\nhello\r\n0\r\n\r\n"}.get(vector.name, b"")
        ours = check_request(vector.request + rest + SMUGGLED, 7)
        assert ours.sent is not None
        assert b"smuggled" not in ours.sent
        assert ours.read.rest == SMUGGLED
