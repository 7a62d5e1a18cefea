"""Bodies by their framing, in any pieces (attack E2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.http1.body import (
    EXTENSION_ALLOWANCE,
    LAST_CHUNK,
    MAX_CHUNK_LINE,
    MAX_TRAILERS,
    BodyReader,
    ChunkedBody,
    FixedBody,
    UntilCloseBody,
    body_reader,
    encode_chunk,
)
from appliance.http1.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, BodyKind, Framing
from appliance.http1.refused import Refused, UpstreamInvalid


def read(reader: BodyReader, data: bytes, size: int) -> bytes:
    """Feed in pieces until done; what is left over is surplus, as a connection would keep it."""
    found = []
    for at in range(0, len(data), size):
        if reader.done:
            reader.surplus += data[at : at + size]
        else:
            found += reader.feed(data[at : at + size])
    assert all(found)
    return b"".join(found)


SIZES = (1, 2, 3, 5, 1000)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "wire",
    [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"05\r\nhello\r\n000\r\n\r\n",
        b'5;name=value;other="a;b"\r\nhello\r\n0;last\r\n\r\n',
        b"5\r\nhello\r\n0\r\nX-Trailer: a\r\nContent-MD5: x\r\n\r\n",
    ],
)
def test_chunked_without_extensions_and_trailers(wire: bytes, size: int) -> None:
    reader = body_reader(CHUNKED)
    assert read(reader, wire + b"GET /next", size) == b"hello"
    assert reader.done
    assert reader.surplus == b"GET /next"
    reader.end()


def test_binary_data_and_line_ends_inside_chunks() -> None:
    body = bytes(range(256)) + b"\r\n0\r\n\r\n"
    assert read(ChunkedBody(), encode_chunk(body) + LAST_CHUNK, 1) == body


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (b"\r\n", "chunk-size-invalid"),
        (b"g\r\n", "chunk-size-invalid"),
        (b"0x5\r\nhello\r\n", "chunk-size-invalid"),
        (b"+5\r\nhello\r\n", "chunk-size-invalid"),
        (b"-1\r\n", "chunk-size-invalid"),
        (b" 5\r\nhello\r\n", "chunk-size-invalid"),
        (b"5 \r\nhello\r\n", "chunk-size-invalid"),
        (b"5 ;a\r\nhello\r\n", "chunk-size-invalid"),
        (b"5_0\r\n", "chunk-size-invalid"),
        (b"5\nhello\r\n", "chunk-size-invalid"),
        (b"5\r\r\nhello\r\n", "chunk-size-invalid"),
        (b"5;a\rb\r\nhello\r\n", "chunk-size-invalid"),
        (b"5;a\x00b\r\nhello\r\n", "chunk-size-invalid"),
        (b"5;\xc3\xbc\r\nhello\r\n", "chunk-size-invalid"),
        *[
            (b"5;" + extension + b"\r\nhello\r\n", "chunk-size-invalid")
            for extension in (
                b"",
                b"a=",
                b"a:b",
                b" a=b",
                b"a =b",
                b"a= b",
                b"a b",
                b";a",
                b'a="',
                b'a="b',
                b'a="b" ;c',
            )
        ],
        (b"5;a\nhello\r\n", "chunk-size-invalid"),
        (b"1" * 16 + b"\r\n", "chunk-size-invalid"),
        (b"5;" + b"a" * MAX_CHUNK_LINE + b"\r\n", "chunk-size-invalid"),
        (b"5;" + b"a" * 3000, "chunk-size-invalid"),
        (b"5\r\nhello", None),
        (b"5\r\nhelloX\r\n", "chunk-end-missing"),
        (b"5\r\nhello0\r\n\r\n", "chunk-end-missing"),
        (b"5\r\nhello\n0\r\n\r\n", "chunk-end-missing"),
        (b"5\r\nhello\rX", "chunk-end-missing"),
        (b"0\r\nbroken\r\n\r\n", "trailer-invalid"),
        (b"0\r\n: a\r\n\r\n", "trailer-invalid"),
        (b"0\r\nA: b\r\n folded\r\n\r\n", "trailer-invalid"),
        (b"0\r\nA: b\n\r\n", "trailer-invalid"),
        (b"0\r\n\n", "trailer-invalid"),
        (b"0\r\nA: \x00\r\n\r\n", "trailer-invalid"),
        (b"0\r\nA : b\r\n\r\n", "trailer-invalid"),
        (b"0\r\nContent-Length: 3\r\n\r\n", "trailer-forbidden"),
        (b"0\r\ntransfer-encoding: chunked\r\n\r\n", "trailer-forbidden"),
        (b"0\r\nHost: evil.example\r\n\r\n", "trailer-forbidden"),
        (b"0\r\n" + b"A: b\r\n" * (MAX_TRAILERS // 6 + 1), "trailers-too-large"),
        (b"0\r\nA: " + b"b" * (MAX_TRAILERS + 1), "trailers-too-large"),
        (b"1;" + b"a" * 200 + b"\r\nx\r\n", None),
        ((b"1;" + b"a" * 200 + b"\r\nx\r\n") * (EXTENSION_ALLOWANCE // 200 + 1), "chunk-extensions"),
    ],
)
def test_chunked_broken(wire: bytes, reason: str | None, size: int) -> None:
    reader = ChunkedBody()
    if reason is None:
        read(reader, wire, size)
        assert not reader.done
        reason = "body-incomplete"
    else:
        with pytest.raises(Refused) as caught:
            read(reader, wire, size)
        assert (caught.value.reason, caught.value.status) == (reason, 400)
        with pytest.raises(Refused, match=reason):
            reader.feed(b"0\r\n\r\n")
    with pytest.raises(Refused, match=reason):
        reader.end()


def test_extensions_that_data_pays_for_are_dropped() -> None:
    wire = b"c8;" + b"a" * 200 + b"\r\n" + b"x" * 200 + b"\r\n"
    reader = ChunkedBody()
    assert len(read(reader, wire * 500, 4096)) == 100_000


@pytest.mark.parametrize("size", SIZES)
def test_fixed(size: int) -> None:
    reader = body_reader(Framing(BodyKind.LENGTH, 5))
    assert read(reader, b"helloGET /next", size) == b"hello"
    assert reader.done
    assert reader.surplus == b"GET /next"
    reader.end()


def test_fixed_cut_short() -> None:
    reader = FixedBody(5, UpstreamInvalid)
    assert reader.feed(b"hell") == [b"hell"]
    assert reader.feed(b"") == []
    assert not reader.done
    with pytest.raises(UpstreamInvalid, match="body-incomplete"):
        reader.end()


def test_no_body() -> None:
    reader = body_reader(NO_BODY)
    assert reader.done
    assert reader.feed(b"GET /next") == []
    assert reader.surplus == b"GET /next"
    reader.end()


def test_until_close() -> None:
    reader = body_reader(UNTIL_CLOSE, UpstreamInvalid)
    assert isinstance(reader, UntilCloseBody)
    assert reader.feed(b"a") == [b"a"]
    assert reader.feed(b"") == []
    assert not reader.done
    reader.end()
    assert reader.done


def test_blame_is_the_server_s_for_a_response() -> None:
    with pytest.raises(UpstreamInvalid, match="chunk-size-invalid"):
        body_reader(CHUNKED, UpstreamInvalid).feed(b"x\r\n")


def test_an_empty_chunk_is_never_written() -> None:
    with pytest.raises(ValueError, match="empty chunk"):
        encode_chunk(b"")


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    st.lists(st.integers(1, 30), min_size=1),
    st.binary(max_size=9),
)
def test_any_chunks_in_any_pieces(chunks: list[bytes], cuts: list[int], after: bytes) -> None:
    wire = b"".join(map(encode_chunk, chunks)) + LAST_CHUNK + after
    reader, found, at, turn = ChunkedBody(), b"", 0, 0
    while not reader.done:
        size = cuts[turn % len(cuts)]
        found += b"".join(reader.feed(wire[at : at + size]))
        at, turn = at + size, turn + 1
    assert found == b"".join(chunks)
    assert reader.surplus + wire[at:] == after
