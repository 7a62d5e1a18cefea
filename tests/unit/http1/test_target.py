"""Canonical targets: the same text is judged and sent, and nothing with two readings is taken (E10, C7, E19)."""

from __future__ import annotations

from contextlib import suppress
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.http1.refused import Refused
from appliance.http1.target import (
    TargetForm,
    canonical_path,
    canonical_query,
    parse_absolute,
    parse_authority,
    parse_host_field,
    parse_target,
    query_pairs,
    query_pieces,
)
from appliance.names import Authority, HostName

PATH_TEXT = st.text(alphabet="/.%25aAeEfFcC0;\\#?2~b-", max_size=24).map(lambda text: "/" + text)


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("/a/./b", "/a/b"),
        ("/./a", "/a"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/../", "/a/"),
        ("/a/../b/../c", "/c"),
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/a..b/.c", "/a..b/.c"),
        ("/file%2Etxt", "/file.txt"),
        ("/%41%7a%2d", "/Az-"),
        ("/%c3%bc", "/%C3%BC"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/a%3bb", "/a%3Bb"),
        ("/100%25", "/100%25"),
        ("/%2541", "/%2541"),
        ("/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,="),
        ('/"<>[]^`{|}', "/%22%3C%3E%5B%5D%5E%60%7B%7C%7D"),
    ],
)
def test_canonical_path(raw: str, canonical: str) -> None:
    assert canonical_path(raw) == canonical
    assert canonical_path(canonical) == canonical


@pytest.mark.parametrize("raw", ["", "a", "*", "/ü", "/a b", "/a\tb", "/\x00"])
def test_no_path(raw: str) -> None:
    with pytest.raises(Refused):
        canonical_path(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "/a%2F",
        "/%2fa",
        "/a%2f%2fb",
        "/a%2f..",
        "/a%2f.%2fb",
        "/..%2fa",
        "/a%2f..;x/b",
        "/.;a%2fb",
        "/a%2f/b",
        "/a/%2fb",
    ],
)
def test_encoded_slash_beside_dots_or_nothing_is_refused_even_where_allowed(raw: str) -> None:
    with pytest.raises(Refused, match="path-"):
        canonical_path(raw, encoded_slash=True)


@pytest.mark.parametrize("raw", ["/@types%2Fnode", "/a.b%2Fc.d", "/a%2Fb/c%2Fd", "/a%2F.hidden"])
def test_encoded_slash_where_allowed(raw: str) -> None:
    assert canonical_path(raw, encoded_slash=True) == raw
    with pytest.raises(Refused, match="path-encoded-slash"):
        canonical_path(raw)


@given(raw=PATH_TEXT, encoded_slash=st.booleans())
def test_a_canonical_path_is_its_own_canonical_form(*, raw: str, encoded_slash: bool) -> None:
    try:
        canonical = canonical_path(raw, encoded_slash=encoded_slash)
    except Refused:
        return
    assert canonical_path(canonical, encoded_slash=encoded_slash) == canonical


@given(PATH_TEXT)
def test_no_second_decoding_finds_a_way_up(raw: str) -> None:
    """Whatever a server does to it (decode once, twice, cut at ';', turn backslashes), no '..' appears."""
    from urllib.parse import unquote

    try:
        path = canonical_path(raw)
    except Refused:
        return
    for _ in range(3):
        segments = [segment.partition(";")[0] for segment in path.replace("\\", "/").split("/")]
        assert ".." not in segments
        assert "." not in segments
        assert "" not in segments[1:-1]
        path = unquote(path)


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("", ""),
        ("a=b&c", "a=b&c"),
        ("%61=%2f", "a=%2F"),
        ("u=https://x/?y", "u=https://x/?y"),
        ("u=https%253A%252F", "u=https%253A%252F"),
        ("f[x]=\\", "f%5Bx%5D=%5C"),
        ("a=%0d%0a", "a=%0D%0A"),
        ("a=%ff", "a=%FF"),
    ],
)
def test_canonical_query(raw: str, canonical: str) -> None:
    assert canonical_query(raw) == canonical
    assert canonical_query(canonical) == canonical


@pytest.mark.parametrize("raw", ["a b", "\x00", "ü", "#", "a=%", "a=%g0", "%00", "\x7f"])
def test_no_query(raw: str) -> None:
    with pytest.raises(Refused):
        canonical_query(raw)


def test_query_pairs_are_split_at_ampersands_alone_and_decoded() -> None:
    query = canonical_query("a=1;b=2&%63=%26%3d&d+e=f%20g&&h&i=j=k&%E4%25%0a=%C3")
    assert query_pairs(query) == (
        ("a", "1;b=2"),
        ("c", "&="),
        ("d e", "f g"),
        ("h", ""),
        ("i", "j=k"),
        ("%E4%25%0A", "%C3"),
    )


def test_query_pieces_are_the_other_reading() -> None:
    assert query_pieces("a=1;b=2&c;;d") == (("a", "1"), ("b", "2"), ("c", ""), ("d", ""))
    assert query_pieces("a=1%3Bb=2&c=d") == ()  # nobody splits at what is escaped
    assert query_pieces(None) == ()


@given(st.text(alphabet="a%25+ b", max_size=6), st.text(alphabet="a%25+ b", max_size=6))
def test_different_keys_stay_different(one: str, two: str) -> None:
    """Decoding is what a form decoder does, and never makes one key of two that the server tells apart."""
    from urllib.parse import unquote_plus

    try:
        first, second = canonical_query(one), canonical_query(two)
    except Refused:
        return
    if unquote_plus(first) != unquote_plus(second):
        assert query_pairs(first) != query_pairs(second)


def test_absolute() -> None:
    target = parse_absolute("HTTPS://OK.example:444/a/../b?c=%64")
    assert (target.form, target.scheme) == (TargetForm.ABSOLUTE, "https")
    assert target.authority == Authority(HostName("ok.example"), 444)
    assert (target.path, target.query, target.pairs) == ("/b", "c=d", (("c", "d"),))
    assert parse_absolute("https://ok.example").path == "/"
    authority = parse_absolute("http://ok.example").authority
    assert authority is not None
    assert authority.port == 80


@pytest.mark.parametrize(
    "url",
    [
        "ok.example",
        "//ok.example/",
        "https:/ok.example",
        "https:ok.example",
        "ftp://ok.example/",
        "://a",
        "http://ok.example#evil.example",
        "http://ok.example/#",
        "http://a@b/",
        "http://ok.example:x/",
        "http://ok.example\t.evil.example/",
        "http://ok.example\n/",
        "http://",
        "http://?",
        "h\x00ttp://a/",
        "",
    ],
)
def test_no_absolute_url(url: str) -> None:
    """C7 and the trap of the standard library's splitter, which drops tabs."""
    with pytest.raises(Refused):
        parse_absolute(url)


def test_target_by_method() -> None:
    assert parse_target("CONNECT", "[2001:db8::1]:443").form is TargetForm.AUTHORITY
    assert parse_target("GET", "/a?").query == ""
    assert parse_target("GET", "/a").query is None


def test_authority_and_host_field() -> None:
    assert parse_host_field("OK.example") == (HostName("ok.example"), None)
    assert parse_authority("ok.example", 80).port == 80
    with pytest.raises(Refused, match="authority-invalid"):
        parse_authority("ok.example", None)


@pytest.mark.parametrize(
    "path", ["/a" * 4000, "/a/.." * 1300, "/%41" * 2000, "/." * 4000, "/" + ";" * 8000, "/" + "%25" * 2600]
)
def test_long_paths_take_linear_time(path: str) -> None:
    started = process_time()
    for _ in range(10):
        with suppress(Refused):
            canonical_path(path + "/%41")
    assert process_time() - started < 1
