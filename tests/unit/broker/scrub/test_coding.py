"""Bodies in a content coding are looked into, and what cannot be looked into does not go on (004-37)."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from appliance.broker.scrub import coding
from appliance.broker.scrub.coding import Decoding
from appliance.broker.scrub.faults import ScrubFault

TEXT = b"".join(b'{"line": %d, "text": "nothing to see"}\n' % number for number in range(2000))


def bare(data: bytes) -> bytes:
    coded = zlib.compressobj(wbits=-15)
    return coded.compress(data) + coded.flush()


CODERS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "x-gzip": (b"X-GZip", gzip.compress),
    "deflate": (b"deflate", zlib.compress),
    "deflate, bare": (b"deflate", bare),
    "br": (b"br", brotli.compress),
    "zstd": (b"zstd", zstandard.ZstdCompressor().compress),
    "gzip, br": (b"gzip, br", lambda data: brotli.compress(gzip.compress(data))),
    "identity": (b"identity", bytes),
}
CODED = [name for name in CODERS if name != "identity"]


def decoded(values: list[bytes], data: bytes, size: int = 1 << 30) -> bytes:
    decoding, out = Decoding(values), b""
    for at in range(0, len(data), size):
        out += b"".join(decoding.decode(data[at : at + size]))
    decoding.finish()
    return out


@pytest.mark.parametrize("name", CODERS)
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 30])
def test_004_37_a_coded_body_is_decoded_however_it_is_cut(name: str, size: int) -> None:
    value, encode = CODERS[name]
    for text in (TEXT[:5000] if size == 1 else TEXT, b"", b"x"):
        assert decoded([value], encode(text), size) == text


def test_two_fields_are_one_list() -> None:
    assert decoded([b"gzip", b" , zstd"], CODERS["zstd"][1](gzip.compress(TEXT))) == TEXT


@pytest.mark.parametrize("name", CODED)
def test_a_body_without_an_octet_is_no_damage(name: str) -> None:
    assert decoded([CODERS[name][0]], b"") == b""


@pytest.mark.parametrize("name", CODED)
def test_004_37_a_damaged_or_broken_off_body_is_an_error(name: str) -> None:
    value, encode = CODERS[name]
    whole = encode(TEXT)
    for data in (
        whole[:-1],
        whole[: len(whole) // 2],
        whole[:1],
        b"no such coding at all",
        whole + b"surplus",
    ):
        with pytest.raises(ScrubFault) as caught:
            decoded([value], data)
        assert caught.value.code == "content-coding-damaged", data[:20]
    if name in ("gzip", "deflate"):
        spoilt = bytearray(whole)
        spoilt[-3] ^= 1
        with pytest.raises(ScrubFault):
            decoded([value], bytes(spoilt))


def test_several_members_are_one_body() -> None:
    for name in ("gzip", "zstd"):
        value, encode = CODERS[name]
        for size in (1, 5, 1 << 30):
            assert decoded([value], encode(b"one ") + encode(b"") + encode(b"two"), size) == b"one two"


@pytest.mark.parametrize(
    "value", [b"compress", b"x-compress", b"aes128gcm", b"dcb", b"gzip;q=1", b"*", b"gzip br", b"\xff"]
)
def test_004_37_a_coding_that_is_not_known_is_refused(value: bytes) -> None:
    for values in ([value], [b"gzip", value], [value + b", gzip"]):
        with pytest.raises(ScrubFault) as caught:
            Decoding(values)
        assert caught.value.code == "content-coding-unknown"


def test_a_third_coding_is_refused() -> None:
    Decoding([b"gzip, identity, br"])
    with pytest.raises(ScrubFault) as caught:
        Decoding([b"gzip, br", b"gzip"])
    assert caught.value.code == "content-codings-too-many"


@pytest.mark.parametrize("name", CODED)
def test_a_bomb_is_stopped_in_bounded_memory(name: str) -> None:
    value, encode = CODERS[name]
    bomb = encode(bytes(64 << 20))
    decoding, given, largest = Decoding([value]), 0, 0
    tracemalloc.start()
    try:
        with pytest.raises(ScrubFault) as caught:
            for piece in decoding.decode(bomb):
                given += len(piece)
                largest = max(largest, len(piece))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code == "content-expands-too-far"
    assert given <= coding.FREE_EXPANSION + coding.MOST_RATIO * len(bomb)
    assert peak < 48 << 20
    if name != "zstd":
        assert largest <= 1 << 20


def test_what_was_flushed_is_given_at_once() -> None:
    coded = zlib.compressobj(wbits=31)
    decoding = Decoding([b"gzip"])
    for number in range(5):
        event = b"data: %d\n\n" % number
        flushed = coded.compress(event) + coded.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(decoding.decode(flushed)) == event
    compressor = zstandard.ZstdCompressor().compressobj()
    decoding = Decoding([b"zstd"])
    for number in range(5):
        event = b"data: %d\n\n" % number
        flushed = compressor.compress(event) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        assert b"".join(decoding.decode(flushed)) == event
    brotlied = brotli.Compressor()
    decoding = Decoding([b"br"])
    for number in range(5):
        event = b"data: %d\n\n" % number
        assert b"".join(decoding.decode(brotlied.process(event) + brotlied.flush())) == event


def test_a_window_larger_than_the_coding_allows_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    with pytest.raises(ScrubFault) as caught:
        decoded(
            [b"zstd"],
            zstandard.ZstdCompressor(compression_params=parameters).compressobj().compress(TEXT * 900)
            or b"x" * 99,
        )
    assert caught.value.code == "content-coding-damaged"
