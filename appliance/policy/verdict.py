"""What the policy is asked and what it answers: facts in, a verdict with its reason and rule out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

from appliance.names import Host


class Reason(StrEnum):
    """Stable codes of a verdict; they stand in refusals and audit records, and tests assert them."""

    # allowed
    ALLOWED_BY_OPERATOR = "allowed-by-operator"
    ALLOWED_BY_RULE = "allowed-by-rule"
    ALLOWED_BY_PROFILE = "allowed-by-profile"
    ALLOWED_BY_INTEGRATION = "allowed-by-integration"
    ALLOWED_BY_EXCEPTION = "allowed-by-exception"
    ALLOWED_BY_PASSTHROUGH = "allowed-by-passthrough"
    ALLOWED_BY_APPLIANCE = "allowed-by-appliance"
    PUBLIC_ADDRESS = "public-address"
    # denied for who asks, and for which host
    NO_POLICY = "no-policy"
    REQUEST_MALFORMED = "request-malformed"
    HOST_DENIED_BY_OPERATOR = "host-denied-by-operator"
    HOST_DENIED_BY_RULE = "host-denied-by-rule"
    HOST_IS_ADDRESS = "host-is-address"
    HOST_NOT_LISTED = "host-not-listed"
    HOST_IS_RESOLVER = "host-is-resolver"
    NAME_NOT_PUBLIC = "name-not-public"
    PRIVATE_ADDRESS = "private-address"
    ADDRESS_DENIED = "address-denied"
    TOKEN_HOST_NOT_NAMED = "token-host-not-named"  # noqa: S105 - a code
    # denied for how the host is spoken to
    SCHEME_NOT_ALLOWED = "scheme-not-allowed"
    PORT_NOT_ALLOWED = "port-not-allowed"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    METHOD_UNKNOWN = "method-unknown"
    PATH_NOT_ALLOWED = "path-not-allowed"
    QUERY_NOT_ALLOWED = "query-not-allowed"
    CONTENT_TYPE_NOT_ALLOWED = "content-type-not-allowed"
    BODY_NOT_ALLOWED = "body-not-allowed"
    UPGRADE_NOT_ALLOWED = "upgrade-not-allowed"
    UPGRADE_REQUIRED = "upgrade-required"
    SUBPROTOCOL_NOT_ALLOWED = "subprotocol-not-allowed"
    REQUEST_DENIED_BY_OPERATOR = "request-denied-by-operator"
    REQUEST_DENIED_BY_RULE = "request-denied-by-rule"
    # denied for size
    URI_TOO_LONG = "uri-too-long"
    HEADERS_TOO_LARGE = "headers-too-large"
    BODY_TOO_LARGE = "body-too-large"


class Outcome(Enum):
    """Whether the thing asked about may happen."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision.

    `rule` says what decided (`acme.yaml:12 rules[3] 'pypi'`, `profile read-only-web`), `detail` is one
    sentence about this case, `mend` what the caller or the operator can do. `max_body` is the number of
    request body bytes that may be sent after an ALLOW of a request (0: none). `upgrade` is the protocol that
    the connection may change to after an ALLOW. `account` is the integration account that carries the
    request, `group` the one of its definition that fits; None: no secret goes with it.
    """

    outcome: Outcome
    reason: Reason
    rule: str
    detail: str
    mend: str = ""
    max_body: int = 0
    upgrade: str | None = None
    account: str | None = None
    group: str | None = None

    @property
    def allowed(self) -> bool:
        """Whether the outcome is ALLOW."""
        return self.outcome is Outcome.ALLOW


class RequestFacts(NamedTuple):
    """One request in canonical form: exactly what will go on the wire if it is allowed.

    `path` has no query; `query` holds keys and values in order, as `http1.target.query_pairs` gives them,
    `pieces` what `query_pieces` gives; `content_length` is None when no such header came; sizes are bytes of
    the request as it was received. `upgrade` is the Upgrade field in lower case, `subprotocols` what a
    WebSocket's opening offers.
    """

    method: str
    scheme: str
    host: Host
    port: int
    path: str = "/"
    query: tuple[tuple[str, str], ...] = ()
    content_type: str | None = None
    content_length: int | None = None
    chunked: bool = False
    uri_bytes: int = 0
    header_bytes: int = 0
    upgrade: str | None = None
    subprotocols: tuple[str, ...] = ()
    pieces: tuple[tuple[str, str], ...] = ()

    @property
    def has_body(self) -> bool:
        """Whether content follows the head (RFC 9112 §6.3; a length of 0 is no content)."""
        return self.chunked or bool(self.content_length)
