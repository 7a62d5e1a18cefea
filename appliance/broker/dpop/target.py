"""The target URI of a request and of `htu`, normalised by RFC 3986 sections 6.2.2 and 6.2.3, for comparison.

Query and fragment are left away (RFC 9449 section 4.3, check 9). What the gateway never takes as a path is no
target here either, so that no two spellings meet that a server could read in two ways.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from appliance.http1.refused import Refused
from appliance.http1.target import canonical_path
from appliance.names import InvalidName, format_host, split_authority

MAX_TARGET = 8 * 1024
"""Characters."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?[^#]*)?(?:#.*)?")
_VISIBLE = re.compile(r"[!-~]+")
_LAST_DOT = re.compile(r"[^:]*\.(?::.*)?")


class InvalidTarget(ValueError):
    """A text that names no target. `reason` is a stable code, `detail` one sentence without the text."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class TargetUri:
    """`scheme://host[:port]/path`; the port is not written where it is the scheme's own. Use `parse`."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an absolute http or https URI. Raises `InvalidTarget`."""
        found = _URI.fullmatch(text) if len(text) <= MAX_TARGET and _VISIBLE.fullmatch(text) else None
        if found is None:
            raise InvalidTarget("htu_invalid", "not an absolute URI of visible ASCII")
        scheme, authority, path = found[1].lower(), found[2], found[3]
        if scheme not in _DEFAULT_PORTS:
            raise InvalidTarget("htu_scheme", "the scheme is neither http nor https")
        # RFC 9110 section 4.2.4: userinfo is to be treated as an error.
        if "@" in authority:
            raise InvalidTarget("htu_userinfo", "the authority holds userinfo")
        # RFC 3986 section 6.2.3: an empty port is none. A name with a last dot is left another name.
        authority = authority.removesuffix(":")
        if _LAST_DOT.fullmatch(authority):
            raise InvalidTarget("htu_invalid", "the host ends with a dot")
        try:
            host, port = split_authority(authority.encode("ascii"))
            path = canonical_path(path or "/", encoded_slash=True)
        except (InvalidName, Refused):
            raise InvalidTarget("htu_invalid", "no host, port or path that is taken") from None
        written = "" if port in (None, _DEFAULT_PORTS[scheme]) else f":{port}"
        return cls(f"{scheme}://{format_host(host)}{written}{path}")
