"""Paths and queries: canonical once is canonical for good, means what was written, and hides no dot segment (E10)."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from appliance.http1.refused import Refused
from appliance.http1.target import canonical_path, canonical_query, query_pairs
from appliance.verify.smuggling import REFUSALS, TAKEN

VECTORS = tuple(
    b"\x00" + vector.request.split(b" ")[1]
    for vector in (*REFUSALS, *TAKEN)
    if vector.request.count(b" ") > 1 and vector.request.split(b" ")[1].startswith(b"/")
)
SEEDS = (
    *VECTORS,
    b"\x00/a/./b/../c/%7Ex/{y}?q=%41&a+b=c%20d",
    b"\x01/@scope%2fname",
    b"\x01/a%2f..%2fb",
    b"\x01/a/..%2f..;/b",
    b"\x00/%c0%ae%c0%ae/",
    b"\x00/%e2%82%ac/%F0%9F%98%80",
    b"\x00/a%25252e%252e/b",
)
TOKENS = (
    b"/", b"..", b"/../", b"/./", b"%2e", b"%2E", b"%2f", b"%2F", b"%5c", b"%25", b"%252e", b"%3b", b";", b"..;", b"//",
    b"\\", b"%00", b"%0a", b"%c0%af", b"%ef%bc%8f", b"?", b"&", b"=", b"+", b"%26", b"%3d", b"{", b"|",
)  # fmt: skip

_PARAMETER = re.compile(rb";.*", re.DOTALL)


def one(data: bytes) -> None:
    """Bit 0 of the first octet lets `%2F` stand."""
    if not data:
        return
    encoded_slash = bool(data[0] & 1)
    path, mark, query = data[1:].decode("latin-1").partition("?")
    try:
        canonical = canonical_path(path, encoded_slash=encoded_slash)
    except Refused as fault:
        assert fault.status == 400  # noqa: PT017 - not a test of pytest's
    else:
        _check_path(path, canonical, encoded_slash=encoded_slash)
    if mark:
        _check_query(query)


def _check_path(path: str, canonical: str, *, encoded_slash: bool) -> None:
    assert canonical_path(canonical, encoded_slash=encoded_slash) == canonical
    assert canonical.startswith("/")
    assert re.fullmatch(r"[!-~]+", canonical)
    assert not re.search(r'["#<>?\[\\\]^`{|}]', canonical)
    # It says what was written: the same octets once dots are resolved as RFC 3986 section 5.2.4 has it.
    assert unquote_to_bytes(canonical) == unquote_to_bytes(_resolved(path))
    # However often a server decodes, and whether it cuts parameters or takes '\' for '/': nothing climbs.
    octets = canonical.encode("ascii")
    for _ in range(4):
        segments = re.split(rb"[/\\]", octets)[1:]
        for cut in (segments, [_PARAMETER.sub(b"", segment) for segment in segments]):
            assert not {b".", b".."} & set(cut), canonical
        assert b"" not in segments[:-1], canonical
        assert b"\x00" not in octets
        octets = unquote_to_bytes(octets)


def _resolved(path: str) -> str:
    done: list[str] = []
    parts = path.split("/")[1:]
    for part in parts:
        if part == "..":
            done.pop()
        elif part != ".":
            done.append(part)
    return "/" + "/".join([*done, ""] if parts[-1] in {".", ".."} else done)


def _check_query(query: str) -> None:
    try:
        canonical = canonical_query(query)
    except Refused as fault:
        assert fault.status == 400  # noqa: PT017 - not a test of pytest's
        return
    assert canonical_query(canonical) == canonical
    assert unquote_to_bytes(canonical) == unquote_to_bytes(query)
    assert re.fullmatch(r"[!-~]*", canonical)
    pairs = query_pairs(canonical)
    assert len(pairs) == len([part for part in canonical.split("&") if part])
    assert all("&" not in key or "%26" in canonical for key, _ in pairs)
