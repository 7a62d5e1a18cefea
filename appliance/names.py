"""Host names and authorities: after construction, an illegal one cannot exist.

Sources: RFC 1123 §2.1 (host names), RFC 5890 to 5892 (IDNA 2008), RFC 3986 §3.2 (authority). Stricter than
all of them where a lenient reader lets a disguised name reach an address (`tests/vectors/names.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import idna

MAX_NAME = 253
MAX_LABEL = 63
_SHOWN = 80

_LDH_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DOTTED_QUAD = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class InvalidName(ValueError):
    """A text that names no host. `reason` is a stable code, `detail` a sentence safe to print."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, order=True)
class HostName:
    """A DNS host name: lower-case LDH labels, A-label form, no trailing dot, never a number in disguise."""

    text: str

    def __post_init__(self) -> None:
        _check(self.text)

    @classmethod
    def parse(cls, text: str | bytes) -> HostName:
        """Read a name as a person (`str`, U-labels welcome) or a protocol (`bytes`, ASCII only) wrote it.

        One trailing dot is accepted and removed. Raises `InvalidName`.
        """
        name = _as_text(text).translate(_ASCII_LOWER)
        name = name.removesuffix(".")
        if not name.isascii():
            name = ".".join(_to_a_label(label) for label in name.split("."))
        return cls(name)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, leftmost first."""
        return tuple(self.text.split("."))

    def __str__(self) -> str:
        return self.text


Host = HostName | IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Authority:
    """`host:port` of RFC 3986 §3.2 without userinfo; `str()` is the canonical form, port always written."""

    host: Host
    port: int

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise InvalidName("bad-port", f"port {self.port} is not in 1…65535")

    @classmethod
    def parse(cls, text: str | bytes, default_port: int | None = None) -> Authority:
        """Read `host`, `host:port`, `[v6]` or `[v6]:port`. Raises `InvalidName`, also for a missing port."""
        host, port = split_authority(text)
        if port is None:
            port = default_port
        if port is None:
            raise InvalidName("port-missing", f"{_shown(_as_text(text))} names no port")
        return cls(host, port)

    def __str__(self) -> str:
        return f"{format_host(self.host)}:{self.port}"


def format_host(host: Host) -> str:
    """The host as it stands in a URI: IPv6 literals in brackets."""
    return f"[{host}]" if isinstance(host, IPv6Address) else str(host)


def parse_host(text: str | bytes) -> Host:
    """Read the host of RFC 3986 §3.2.2: a name, a canonical dotted quad, or an IPv6 literal in brackets.

    Raises `InvalidName`.
    """
    host = _as_text(text)
    if host.startswith("["):
        if not host.endswith("]"):
            raise InvalidName("bad-brackets", f"{_shown(host)} has no closing bracket at its end")
        return _v6(host[1:-1])
    if _DOTTED_QUAD.fullmatch(host):
        try:
            return IPv4Address(host)
        except AddressValueError:
            # Leading zeros are octal to inet_aton(3) and decimal to others: nobody may choose.
            raise InvalidName("address-form", f"{_shown(host)} is no canonical IPv4 address") from None
    return HostName.parse(text)


def split_authority(text: str | bytes) -> tuple[Host, int | None]:
    """Read `host[:port]`; the port is None when none is written. Raises `InvalidName`.

    RFC 3986 §3.2.3 allows an empty port (`host:`); we refuse it, because two readers of it may differ.
    """
    authority = _as_text(text)
    if authority.startswith("["):
        closing = authority.find("]")
        host_text, rest = authority[: closing + 1], authority[closing + 1 :]
        if closing < 0 or (rest and not rest.startswith(":")):
            raise InvalidName("bad-brackets", f"{_shown(authority)} is no bracketed address with a port")
        port_text = rest[1:] if rest else None
    else:
        if "@" in authority:
            raise InvalidName("userinfo", f"{_shown(authority)} carries userinfo before the host")
        host_text, colon, after = authority.partition(":")
        port_text = after if colon else None
    # Names in bytes stay bytes for parse_host: the wire form is ASCII only.
    host = parse_host(host_text.encode("ascii") if isinstance(text, bytes) else host_text)
    return host, None if port_text is None else _port(port_text)


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise InvalidName("bad-port", f"{_shown(text)} is no port number in 1…65535")
    return int(text)


def _v6(text: str) -> IPv6Address:
    if "%" in text:
        # RFC 6874 zone ids select an interface of ours: no business of a caller.
        raise InvalidName("zone-id", f"{_shown(text)} carries a zone id")
    try:
        return IPv6Address(text)
    except AddressValueError:
        raise InvalidName("address-form", f"{_shown(text)} is no IPv6 address") from None


def _as_text(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidName("non-ascii", "a host on the wire is ASCII; write U-labels as xn-- labels") from None


def _to_a_label(label: str) -> str:
    if label.isascii():
        return label
    try:
        # IDNA 2008 without UTS 46 mapping: `ß` stays itself and full-width digits are refused, not mapped.
        return idna.alabel(label).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise InvalidName("bad-idn", f"label {_shown(label)} is not valid in IDNA 2008") from None


def _check(name: str) -> None:
    if not name:
        raise InvalidName("empty", "the host is empty")
    if len(name) > MAX_NAME:
        raise InvalidName("too-long", f"the host has {len(name)} characters; {MAX_NAME} are allowed")
    if not _LDH_NAME.fullmatch(name):
        raise _why_not_ldh(name)
    labels = name.split(".")
    if max(map(len, labels)) > MAX_LABEL:
        raise InvalidName("label-too-long", f"a label of {_shown(name)} is over {MAX_LABEL} characters")
    if _NUMBER.fullmatch(labels[-1]):
        # inet_aton(3) and getaddrinfo(3) read such names as addresses: 127.1, 2130706433, 0x7f.1, 0177.0.0.1.
        raise InvalidName("address-form", f"{_shown(name)} ends in a number and is no host name")
    if "xn--" in name:
        for label in labels:
            if label.startswith("xn--"):
                _check_a_label(label)


def _check_a_label(label: str) -> None:
    try:
        again = idna.alabel(idna.ulabel(label)).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        again = ""
    if again != label:
        raise InvalidName("bad-idn", f"label {_shown(label)} is no valid A-label")


def _why_not_ldh(name: str) -> InvalidName:
    if not name.replace(".", "") or name.startswith(".") or name.endswith(".") or ".." in name:
        return InvalidName("empty-label", f"{_shown(name)} has an empty label (a dot too many)")
    for character in name:
        if not (character in "-." or (character.isascii() and character.isalnum())):
            return InvalidName("bad-character", f"{_shown(name)} holds {_shown(character)}")
    if name != name.translate(_ASCII_LOWER):
        return InvalidName("not-canonical", f"{_shown(name)} is not in lower case")
    return InvalidName("bad-hyphen", f"a label of {_shown(name)} begins or ends with a hyphen")


def _shown(text: str) -> str:
    """A printable, bounded form of hostile text."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


GATEWAY_NAME = HostName("gateway.egress.internal")
"""Each container's own name for its gateway: answered with the gateway's address, never asked upstream."""

INTEGRATIONS_NAME = HostName("integrations.egress.internal")
"""The same for integrations in base-URL mode."""

BROKER_NAME = HostName("broker.egress.internal")
"""The same for the broker, which the gateway lets workloads speak to."""

OWN_NAMES = frozenset({GATEWAY_NAME, INTEGRATIONS_NAME, BROKER_NAME})
"""Names that stand for the appliance itself."""
