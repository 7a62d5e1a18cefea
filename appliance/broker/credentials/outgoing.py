"""A request on its way to a provider, what a credential adds to it, and how the addition fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import unquote_plus

Fields = tuple[tuple[bytes, bytes], ...]

Code = Literal[
    "credential-mismatch",  # this kind of secret does not fit the definition's slot
    "credential-unusable",  # what should be sent cannot stand in the slot, or the request cannot be signed
    "slot-unclear",  # the definition does not say what the host does not say either: AWS service, region
    "body-not-known",  # the signature covers a body that is streamed
    "token-host-not-named",  # the secret's token URL leads where the account's token hosts do not
    "refresh-revoked",  # the provider has taken the grant back (RFC 6749 section 5.2, invalid_grant)
    "token-endpoint-failed",  # down, or its answer is none that can be used
    "rotation-not-stored",  # a new refresh token was issued and could not be kept
    "credential-withdrawn",  # the account was changed or removed while a token was exchanged for it
]


class CredentialError(Exception):
    """No credential, so no call. `code` is stable, `detail` a sentence of ours without any secret."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: Code = code
        self.detail = detail


class NoAnswer(Exception):
    """What a `Post` raises when no whole answer came: not connected, too late, too large, a broken head."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The request as it would go on the wire. `path` and `query` (without `?`) are canonical and escaped.

    `headers` are in lower or mixed case, without those of the connection. `body` is None when it is streamed.
    """

    method: str
    scheme: str
    host: str
    port: int
    path: str
    query: str = field(repr=False)
    headers: Fields = field(repr=False)
    body: bytes | None = field(repr=False)

    @property
    def authority(self) -> str:
        """What `Host` says: the field if there is one, else host and port, the scheme's own left out."""
        for name, value in self.headers:
            if name.lower() == b"host":
                return value.decode("ascii", "replace")
        own = self.port == {"https": 443, "http": 80}.get(self.scheme)
        return self.host if own else f"{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """The path, and `?` and the query where there is one."""
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(frozen=True, slots=True)
class Injection:
    """What a credential does to a request.

    Fields of `set_headers` and `drop_headers` (lower-case names) replace and remove all of their name.
    `add_query` is escaped already. `client_certificate` is a PEM chain and its PEM key.
    `live` is every octet string that must not come back in the answer, also in other forms (base64, hex …).
    """

    set_headers: Fields = ()
    add_query: tuple[tuple[str, str], ...] = ()
    client_certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)
    live: tuple[bytes, ...] = field(default=(), repr=False)
    drop_headers: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        names = ", ".join(name.decode() for name, _ in self.set_headers)
        return f"<Injection of {names or 'no field'}, {len(self.add_query)} query keys>"


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A token endpoint's answer: `status` and `body`, which `Post` has bounded."""

    status: int
    body: bytes = field(repr=False)


Post = Callable[[str, Fields, bytes], Awaitable[TokenAnswer]]
"""Sends a POST to an https URL with these fields and body. Judged and pinned like a call; no redirects.

Raises `NoAnswer`.
"""


def applied(outgoing: Outgoing, injection: Injection) -> Outgoing:
    """The request with the credential in it. A caller's fields and query keys of the same name are gone."""
    gone = {name.lower() for name, _ in injection.set_headers} | set(injection.drop_headers)
    kept = tuple((name, value) for name, value in outgoing.headers if name.lower() not in gone)
    query = outgoing.query
    if injection.add_query:
        keys = {unquote_plus(key) for key, _ in injection.add_query}
        pairs = [pair for pair in query.split("&") if pair and _key(pair) not in keys]
        query = "&".join([*pairs, *(f"{key}={value}" for key, value in injection.add_query)])
    return replace(outgoing, headers=kept + injection.set_headers, query=query)


def _key(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0])
