"""Request targets (RFC 9112 section 3.2) and their canonical form: the same text is judged and sent.

Canonical means: escapes of unreserved characters decoded, every other escape with upper-case digits (RFC 3986
section 6.2.2), plain dot segments resolved, characters outside the URI grammar escaped. Whatever two servers
are known to read in two ways is refused instead of guessed.
"""

from __future__ import annotations

import itertools
import re
import string
from enum import Enum
from functools import lru_cache
from typing import Literal, NamedTuple

from appliance.http1.refused import Refused
from appliance.names import Authority, Host, InvalidName, split_authority

Scheme = Literal["http", "https"]
Pairs = tuple[tuple[str, str], ...]

DEFAULT_PORTS: dict[Scheme, int] = {"http": 80, "https": 443}

_UNRESERVED = string.ascii_letters + string.digits + "-._~"
_ESCAPABLE = '"<>[]^`{|}'  # visible, outside the grammar of paths and queries, and yet sent by real clients
_ESCAPE_OR_OTHER = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~!$&'()*+,;=:@/?]")


def _canonical_escapes() -> dict[str, str]:
    table: dict[str, str] = {}
    for high, low in itertools.product(string.hexdigits, repeat=2):
        character = chr(int(high + low, 16))
        table[f"%{high}{low}"] = character if character in _UNRESERVED else f"%{high}{low}".upper()
    return table


_PATH_ESCAPES = {**_canonical_escapes(), **{c: f"%{ord(c):02X}" for c in _ESCAPABLE}}
_QUERY_ESCAPES = {**_PATH_ESCAPES, "\\": "%5C"}

# Already canonical and without anything to look at twice: no escape, no empty segment, no segment that begins
# with a dot or a semicolon.
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9\-_~!$&'()*+,=:@][A-Za-z0-9\-._~!$&'()*+,;=:@]*+)*/?\Z").match
_PLAIN_QUERY = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/?]*+\Z").match

_CONTROL_ESCAPE = re.compile(r"%(?:[01][0-9A-F]|7F)").search
_HIGH_ESCAPE = re.compile(r"%[89A-F]").search
_ESCAPES = re.compile(r"%([0-9A-F]{2})")
# What one more decoding, or two, would turn into a dot, slash, backslash, semicolon, '?', '#' or control.
_DOUBLE_ESCAPE = re.compile(r"%25(?:25)*(?:2[ef]|5c|3[bf]|23|7f|[01][0-9a-f])", re.IGNORECASE).search
# Some servers cut a segment at its first ';' and resolve what is left.
_DOT_PARAMETER = re.compile(r"/\.{0,2}(?:;|%3B)").search
_DOT_SEGMENT = re.compile(r"/\.{1,2}(?:/|\Z)").search
# With %2F allowed: what a server that decodes it would see beside it.
_SLASH_BESIDE_DOTS = re.compile(
    r"(?:/|%2F)\.{0,2}(?:;[^/]*?|%3B[^/]*?)?%2F|%2F\.{0,2}(?:;|%3B|/|%2F|\Z)"
).search
_ABSOLUTE = re.compile(
    r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?\Z", re.DOTALL
).match
_PRINTABLE_ESCAPE = re.compile(r"%(?:2[0-46-9A-F]|[3-6][0-9A-F]|7[0-9A-E])")  # all but %25


class TargetForm(Enum):
    """The forms of RFC 9112 section 3.2 that are taken; asterisk-form never is."""

    ORIGIN = "origin"
    ABSOLUTE = "absolute"
    AUTHORITY = "authority"


class Target(NamedTuple):
    """A judged target. `path` is canonical ("" in authority form), `query` canonical without '?', or None.

    `pairs` are the query's keys and values in order, decoded for a reader: see `query_pairs`.
    """

    form: TargetForm
    scheme: Scheme | None
    authority: Authority | None
    path: str
    query: str | None
    pairs: Pairs


@lru_cache(maxsize=2048)
def parse_host_field(text: str) -> tuple[Host, int | None]:
    """The value of a Host field: the port is None when none is written. Raises `Refused`."""
    try:
        return split_authority(text)
    except InvalidName as error:
        raise Refused(400, "host-invalid", f"Host is no host with an optional port: {error}") from error


@lru_cache(maxsize=2048)
def parse_authority(text: str, default_port: int | None) -> Authority:
    """`host[:port]` of a target; without `default_port` the port is mandatory.

    Raises `Refused`.
    """
    # RFC 9110 section 4.2.4: userinfo in a message is deprecated and to be treated as an attack.
    if "@" in text:
        raise Refused(400, "authority-userinfo", "an authority with userinfo ('@') is never taken")
    try:
        return Authority.parse(text, default_port)
    except InvalidName as error:
        raise Refused(400, "authority-invalid", f"not a host with an optional port: {error}") from error


def parse_target(method: str, raw: str, *, encoded_slash: bool = False) -> Target:
    """The target of a request line: `raw` holds visible ASCII only. Raises `Refused`."""
    if method == "CONNECT":
        # RFC 9110 section 9.3.6: host and port, both; there is no default port.
        return Target(TargetForm.AUTHORITY, None, parse_authority(raw, None), "", None, ())
    if raw.startswith("/"):
        path, mark, query = raw.partition("?")
        path = canonical_path(path, encoded_slash=encoded_slash)
        if not mark:
            return Target(TargetForm.ORIGIN, None, None, path, None, ())
        query = canonical_query(query)
        return Target(TargetForm.ORIGIN, None, None, path, query, query_pairs(query))
    # RFC 9112 section 3.2.4: '*' asks about the server as a whole, which no tenant may.
    if raw == "*":
        raise Refused(400, "target-asterisk", "asterisk-form is not taken")
    if "://" not in raw:
        raise Refused(400, "target-form", "the target is no path, and only CONNECT takes host:port")
    target = parse_absolute(raw, encoded_slash=encoded_slash)
    # A plain proxy that fetched https:// itself would speak TLS in the client's name: CONNECT is for that.
    if target.scheme != "http":
        raise Refused(400, "target-https-in-plain", "https:// targets need CONNECT")
    return target


def parse_absolute(url: str, *, encoded_slash: bool = False) -> Target:
    """An absolute http or https URL, without fragment. Raises `Refused`."""
    match = _ABSOLUTE(url)
    if match is None:
        raise Refused(400, "target-form", "not an absolute URL (scheme://host/path)")
    scheme, authority, path, query, fragment = match.groups()
    scheme = scheme.lower()
    if scheme not in ("http", "https"):
        raise Refused(400, "scheme-not-supported", "only http and https are carried")
    # RFC 9112 section 3.2: a fragment never stands in a request target.
    if fragment is not None:
        raise Refused(400, "target-fragment", "a request target has no fragment")
    known: Scheme = "http" if scheme == "http" else "https"
    canonical = None if query is None else canonical_query(query)
    return Target(
        TargetForm.ABSOLUTE,
        known,
        parse_authority(authority, DEFAULT_PORTS[known]),
        canonical_path(path or "/", encoded_slash=encoded_slash),
        canonical,
        () if canonical is None else query_pairs(canonical),
    )


def canonical_path(raw: str, *, encoded_slash: bool = False) -> str:
    """The one form of a path, from "/" on. Idempotent. Raises `Refused`."""
    if raw and _PLAIN_PATH(raw):
        return raw
    if not raw.startswith("/"):
        raise Refused(400, "path-relative", "a path begins with '/'")
    if "\\" in raw:
        raise Refused(400, "path-backslash", "some servers read '\\' as '/'")
    path = _escaped(raw, _PATH_ESCAPES, "path")
    if "%" in path:
        _refuse_ambiguous(path, encoded_slash=encoded_slash)
    if _DOT_PARAMETER(path):
        raise Refused(400, "path-dot-parameter", "a dot segment, or an empty one, with a ';' parameter")
    if "//" in path:
        raise Refused(400, "path-empty-segment", "'//' in a path is one thing here and another there")
    return _resolved(path, raw) if _DOT_SEGMENT(path) else path


def _resolved(path: str, raw: str) -> str:
    """`path` without its dot segments, none of which may have been escaped in `raw`."""
    segments = path.split("/")[1:]
    written = raw.split("/")[1:]
    last = len(segments) - 1
    resolved: list[str] = []
    for index, segment in enumerate(segments):
        if segment not in {".", ".."}:
            resolved.append(segment)
            continue
        if written[index] != segment:
            raise Refused(400, "path-encoded-dot", "a dot segment written with escapes")
        # RFC 3986 section 5.2.4, but climbing above the root is refused instead of ignored.
        if segment == "..":
            if not resolved:
                raise Refused(400, "path-above-root", "'..' climbs above the root")
            resolved.pop()
        if index == last:
            resolved.append("")
    return "/" + "/".join(resolved)


def canonical_query(raw: str) -> str:
    """The one form of a query, without its '?'. Idempotent. Raises `Refused`."""
    if _PLAIN_QUERY(raw):
        return raw
    canonical = _escaped(raw, _QUERY_ESCAPES, "query")
    if "%00" in canonical:
        raise Refused(400, "query-nul", "an escaped NUL in the query")
    return canonical


def query_pairs(canonical: str) -> Pairs:
    """Keys and values of a canonical query, split at '&' alone (';' is part of a value: see `query_pieces`).

    Decoded as a form is ('+' and %20 are a space, printable ASCII plain), except that %25, controls and bytes
    over 0x7f stay escaped, so that different keys stay different.
    """
    pairs = []
    for part in canonical.split("&"):
        if part:
            key, _, value = part.partition("=")
            pairs.append((_plain(key), _plain(value)))
    return tuple(pairs)


def query_pieces(canonical: str | None) -> Pairs:
    """The same for who splits at ';' as well; () where that is no other reading.

    HTML 4.01 (B.2.2) wished that servers did, the URL standard's forms do not. What is judged by keys must
    hold in both readings.
    """
    if canonical is None or ";" not in canonical:
        return ()
    return query_pairs(canonical.replace(";", "&"))


def _plain(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    if "%" in text:
        text = _PRINTABLE_ESCAPE.sub(lambda match: chr(int(match.group()[1:], 16)), text)
    return text


def _escaped(text: str, table: dict[str, str], part: str) -> str:
    try:
        return _ESCAPE_OR_OTHER.sub(lambda match: table[match.group()], text)
    except KeyError as error:
        found = str(error.args[0])
    if found == "#":
        raise Refused(400, "target-fragment", "a request target has no fragment")
    if found == "%":
        raise Refused(400, f"{part}-escape-invalid", "'%' without two hexadecimal digits")
    raise Refused(400, f"{part}-character", f"character {ord(found):#04x} cannot stand in a {part}")


def _refuse_ambiguous(path: str, *, encoded_slash: bool) -> None:
    if _CONTROL_ESCAPE(path):
        raise Refused(400, "path-control", "an escaped control character in the path")
    if "%5C" in path:
        raise Refused(400, "path-encoded-backslash", "%5C in a path")
    if _DOUBLE_ESCAPE(path):
        raise Refused(400, "path-double-escape", "an escape that decodes to the escape of a delimiter")
    if _HIGH_ESCAPE(path):
        # Overlong forms are how '.' and '/' used to be smuggled past decoders (RFC 3629 section 10).
        try:
            _ESCAPES.sub(lambda match: chr(int(match.group(1), 16)), path).encode("latin-1").decode()
        except UnicodeDecodeError:
            raise Refused(400, "path-not-utf-8", "the path's escapes are no UTF-8") from None
    if "%2F" in path:
        if not encoded_slash:
            raise Refused(400, "path-encoded-slash", "%2F in a path")
        if _SLASH_BESIDE_DOTS(path):
            raise Refused(400, "path-encoded-slash", "%2F beside an empty or dot segment")
