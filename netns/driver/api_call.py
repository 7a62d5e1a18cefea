"""Which Docker API call is this? Pure, from method and request target, as dockerd's router reads them.

Source: Docker Engine API; moby `api/server` (gorilla/mux matches the percent-decoded path, with or without
`/v1.N` before it, and redirects a path that is not clean). We are stricter: a POST whose path needs any
cleaning is refused, because nobody's client writes such a path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote_plus, unquote_to_bytes


class UnclearCall(ValueError):
    """A request target that could be read in two ways; `str()` says why."""


class Kind(Enum):
    """The calls that can make a network of ours, put a container on one, or change one that is there."""

    CREATE = "create"
    START = "start"
    EXEC_CREATE = "exec create"
    EXEC_START = "exec start"
    UPDATE = "update"
    NETWORK_CREATE = "network create"
    CONNECT = "network connect"
    BUILD = "build"
    SERVICE = "service"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ApiCall:
    """`reference` is the container, exec or network that the path names; `networks` those in a query."""

    kind: Kind
    reference: str = ""
    networks: tuple[str, ...] = ()


OTHER = ApiCall(Kind.OTHER)
OLDEST = (1, 24)  # before it, `start` took a whole HostConfig

_ROUTES = (
    (re.compile(r"/containers/create"), Kind.CREATE),
    (re.compile(r"/containers/(.+)/(?:start|restart)"), Kind.START),
    (re.compile(r"/containers/(.+)/exec"), Kind.EXEC_CREATE),
    (re.compile(r"/exec/(.+)/start"), Kind.EXEC_START),
    (re.compile(r"/containers/(.+)/update"), Kind.UPDATE),
    (re.compile(r"/networks/create"), Kind.NETWORK_CREATE),
    (re.compile(r"/networks/(.+)/connect"), Kind.CONNECT),
    (re.compile(r"/build"), Kind.BUILD),
    (re.compile(r"/services/create"), Kind.SERVICE),
    (re.compile(r"/services/(.+)/update"), Kind.SERVICE),
)
_VERSION = re.compile(r"/v([0-9.]+)(/.*)")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNCLEAN = re.compile(r"//|/\.{1,2}(?:/|$)|.+/$")
_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


def call_of(method: str, target: str) -> ApiCall:
    """What a request asks for. Raises `UnclearCall`; only POST calls change what we guard."""
    if method != "POST":
        return OTHER
    raw, _, query = target.partition("?")
    path = _path(raw)
    versioned = _VERSION.fullmatch(path)
    if versioned:
        path = versioned[2]
    for pattern, kind in _ROUTES:
        found = pattern.fullmatch(path)
        if found is None:
            continue
        if versioned and _number(versioned[1]) < OLDEST:
            raise UnclearCall(f"API version {versioned[1]} is too old; use a client of 1.24 or later")
        reference = found[1] if pattern.groups else ""
        if reference and not _REFERENCE.fullmatch(reference):
            raise UnclearCall("the path names no container, exec or network")
        return ApiCall(kind, reference, _networks(query) if kind is Kind.BUILD else ())
    return OTHER


def require_no_form(headers: Mapping[str, str]) -> None:
    """Raises `UnclearCall` for a body from which dockerd would take parameters before those of the query.

    Go's `Request.FormValue` does so with a form, by its media type as `mime.ParseMediaType` reads it; the
    authorization plugin is not shown such a body. No Content-Type is no form. Of several the plugin is shown
    the last and Go takes the first: a form may hide so, and its containers are stopped when they appear.
    """
    for name, value in headers.items():
        if name.lower() != "content-type":
            continue
        if not value.isascii():  # Go folds letters to ASCII that are none
            raise UnclearCall("its Content-Type is not ASCII; send application/x-tar")
        if value.partition(";")[0].strip().lower() in _FORMS:
            raise UnclearCall(
                "its body is a form, in which dockerd would look for networkmode first; send Content-Type: "
                "application/x-tar and all parameters in the query"
            )


def _path(raw: str) -> str:
    # RFC 9112 §3.2.2: absolute-form is meant for proxies; Go would take its path all the same.
    if not raw.startswith("/") or _ESCAPE.search(raw):
        raise UnclearCall("the request target is no plain path")
    decoded = unquote_to_bytes(raw)
    if any(octet <= 0x20 or octet >= 0x7F for octet in decoded):
        raise UnclearCall("the path has characters that no name in it can have")
    path = decoded.decode("ascii")
    if _UNCLEAN.search(path):
        raise UnclearCall("the path has empty, dot or trailing segments")
    return path


def _number(version: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in version.split("."))
    except ValueError as error:
        raise UnclearCall(f"{version!r} is no API version") from error


def _networks(query: str) -> tuple[str, ...]:
    if ";" in query:  # it separates parameters before Go 1.17, and spoils one since
        raise UnclearCall("its query has a semicolon; write %3B")
    found = []
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if unquote_plus(key) == "networkmode":
            found.append(unquote_plus(value))
    return tuple(found)
