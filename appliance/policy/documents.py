"""The policy documents as people write them; the JSON Schema of `egress policy schema` comes from here.

An item that is left out means the narrow default, an empty list is an error, 0 is never "unlimited".
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from appliance.addresses import never_exceptable
from appliance.names import HostName, InvalidName
from appliance.policy.caps import SIZE, parse_size
from appliance.policy.hosts import parse_pattern
from appliance.policy.methods import METHODS, NEVER
from appliance.policy.paths import PathPattern
from appliance.workload import PLATFORM, TENANT_NAME

POLICY_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
POLICY_NAME_MEND = "use up to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
_TENANT_OR_PLATFORM = re.compile(f"{TENANT_NAME.pattern}|{PLATFORM}")
_RULE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}")
_SUBPROTOCOL = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_QUERY_KEY = re.compile(r"(?:[ -$'-~]|%25|%[01][0-9A-F]|%7F|%[89A-F][0-9A-F]){1,256}")  # without % and &


def distinct(items: tuple[object, ...]) -> tuple[object, ...]:
    """The items, none of which may be there twice. Raises `ValueError`."""
    seen: set[object] = set()
    for item in items:
        if item in seen:
            raise ValueError(f"{item} is listed twice; write it once")
        seen.add(item)
    return items


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text; write it in quotes")  # noqa: TRY004 - pydantic takes ValueError
    return value


def _method(value: str) -> str:
    if value in NEVER:
        raise ValueError(f"{value} can never be allowed; write {', '.join(METHODS)} as needed")
    if value not in METHODS:
        upper = (
            f"{value.upper()} (methods are upper case)" if value.upper() in METHODS else ", ".join(METHODS)
        )
        raise ValueError(f"{value!r} is no method that can be allowed; write {upper}")
    return value


def _named(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"{value!a} is no {what}; write one that fits {pattern.pattern}")
        return value

    return AfterValidator(check)


def _host(value: str) -> str:
    # Public-suffix safety is a matter of the rule's effect: see appliance.policy.compile_rule.
    return str(parse_pattern(value, public_suffix_safe=False))


def _exact_host(value: str) -> str:
    if "*" in value:
        raise ValueError(f"{value!r} must be one name; write exact names here, no wildcard")
    return str(parse_pattern(value))


def _host_name(value: str) -> str:
    try:
        return HostName.parse(value).text
    except InvalidName as error:
        raise ValueError(f"{value!a} is no host name ({error.detail}); write db.example.com") from None


def _path(value: str) -> str:
    return PathPattern.parse(value).text


def _range(value: str) -> IPv4Network:
    try:
        return IPv4Network(value)
    except ValueError:
        raise ValueError(f"{value!a} is no IPv4 network; write it like 10.20.0.0/24") from None


def _any_network(value: str) -> str:
    return str(_range(value))


def _network(value: str) -> str:
    network = _range(value)
    if block := never_exceptable(network):
        raise ValueError(
            f"{network} reaches {block.network} ({block.source}), which nobody may except; "
            "write a range wholly inside private address space"
        )
    return str(network)


MAX_COUNT = 1_000_000
MAX_NETWORKS = 5000


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_COUNT:
        raise ValueError(
            f"{str(value)[:40]!r} is no bound; write a whole number, 1 to {MAX_COUNT} (0 is never unlimited)"
        )
    return value


Text = Annotated[str, BeforeValidator(_text)]
Count = Annotated[
    int,
    BeforeValidator(_count),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_COUNT}),
]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^{SIZE.pattern}$"}]}
    ),
]
TenantName = Annotated[Text, _named(TENANT_NAME, "tenant name")]
Tenants = Annotated[tuple[TenantName, ...], Field(min_length=1), AfterValidator(distinct)]
Ports = Annotated[tuple[Port, ...], Field(min_length=1), AfterValidator(distinct)]
NetworkText = Annotated[Text, AfterValidator(_any_network)]
Networks = Annotated[
    tuple[NetworkText, ...],
    Field(min_length=1, max_length=MAX_NETWORKS),
    AfterValidator(distinct),
]
HostText = Annotated[Text, AfterValidator(_host)]
ExactHost = Annotated[Text, AfterValidator(_exact_host)]
Hosts = Annotated[tuple[HostText, ...], Field(min_length=1), AfterValidator(distinct)]
Schemes = Annotated[tuple[Literal["http", "https"], ...], Field(min_length=1), AfterValidator(distinct)]
Methods = Annotated[
    tuple[Annotated[Text, AfterValidator(_method)], ...], Field(min_length=1), AfterValidator(distinct)
]
Paths = Annotated[
    tuple[Annotated[Text, AfterValidator(_path)], ...], Field(min_length=1), AfterValidator(distinct)
]
MediaType = Annotated[Text, _named(_MEDIA_TYPE, "media type in lower case without parameters")]
QueryKey = Annotated[Text, _named(_QUERY_KEY, "query key (decoded; only %, controls and non-ASCII as %XX)")]


QueryKeys = Annotated[tuple[QueryKey, ...], Field(min_length=1), AfterValidator(distinct)]
MediaTypes = Annotated[tuple[MediaType, ...], Field(min_length=1), AfterValidator(distinct)]
Subprotocol = Annotated[Text, _named(_SUBPROTOCOL, "WebSocket subprotocol (a token, RFC 6455 section 4.1)")]
Subprotocols = Annotated[tuple[Subprotocol, ...], Field(min_length=1), AfterValidator(distinct)]
PolicyNames = Annotated[
    tuple[Annotated[Text, _named(POLICY_NAME, "policy name")], ...],
    Field(min_length=1),
    AfterValidator(distinct),
]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CapsDocument(_Document):
    """Sizes such as 8KiB, 10MiB, 2GiB; what is left out keeps its default."""

    uri: Size | None = Field(None, description="request target (default 8KiB)")
    headers: Size | None = Field(None, description="all header fields of a request (default 16KiB)")
    request_body: Size | None = Field(None, description="body of a request (default 10MiB)")
    response_body: Size | None = Field(None, description="body of a response (default 2GiB)")


def _default_caps() -> CapsDocument:
    return CapsDocument.model_validate({})


class ScopeLimitsDocument(_Document):
    """Bounds of one scope; what is left out keeps its default."""

    connections: Count | None = Field(None, description="open at once (destination: exchanges under way)")
    new_connections_per_second: Count | None = None
    requests_per_second: Count | None = None
    bytes_out: Size | None = Field(None, description="to servers, in any window (see window_seconds)")
    bytes_in: Size | None = Field(None, description="from servers, in any window")


class LimitsDocument(_Document):
    """How much and how fast; each scope is bounded by itself, and all hold at once."""

    container: ScopeLimitsDocument | None = Field(None, description="each container of the tenant")
    tenant: ScopeLimitsDocument | None = Field(None, description="all containers of the tenant together")
    destination: ScopeLimitsDocument | None = Field(None, description="the tenant at one host and port")
    queries_per_second: Count | None = Field(None, description="DNS questions of the whole tenant")
    frames_per_second: Count | None = Field(
        None, description="WebSocket frames of each container, both ways together"
    )
    tunnel_seconds: Count | None = Field(None, description="greatest age of a passthrough or WebSocket")


class OperatorLimitsDocument(LimitsDocument):
    """Ceilings of what tenants may write; `tenants`: the ceilings, and the defaults, of single tenants."""

    window_seconds: Count | None = Field(
        None, description="length of the window of byte counts (default 3600)"
    )
    tenants: Annotated[dict[TenantName, LimitsDocument], Field(min_length=1)] | None = None


class Match(_Document):
    """What requests a rule is about. Left out: see each field; allow and deny rules differ."""

    ports: Ports | None = Field(None, description="allow: 443 (80 for http); deny: all")
    schemes: Schemes | None = Field(None, description="allow: https, http only on port 80; deny: all")
    methods: Methods | None = Field(None, description="allow: GET, HEAD; deny: all")
    paths: Paths | None = Field(
        None,
        description="`*` is one segment, `**` any number; left out: all paths; allow: as sent; deny: as any"
        " server is known to read it (`;`, `%2F`, `%40`, case)",
    )
    query: Literal["any"] | QueryKeys | None = Field(
        None,
        description="allow: keys that may occur, left out: none may; deny: keys that may not occur",
    )
    content_types: MediaTypes | None = Field(
        None, description="allow: media types of a body, left out: no body; deny: types it may not have"
    )
    encoded_slash: bool = Field(
        False, strict=True, description="allow only: `%2F` may stand in the path (scoped npm packages)"
    )
    max_body: Size | None = Field(None, description="allow only: ceiling of the request body below the cap")
    upgrade: Literal["websocket"] | None = Field(
        None,
        description="allow only: the rule allows opening a WebSocket (a GET) and nothing else; what the "
        "container sends in it counts as its body",
    )
    subprotocols: Subprotocols | None = Field(
        None, description="with upgrade: what Sec-WebSocket-Protocol may offer, left out: nothing"
    )


class Rule(Match):
    """One rule of a tenant's document or of a named policy. Deny wins over allow."""

    name: Annotated[Text, _named(_RULE_NAME, "rule name")]
    effect: Literal["allow", "deny"] = "allow"
    hosts: Hosts = Field(
        description="exact names, or *.suffix for all names below (for allow never a public suffix)"
    )
    tls: Literal["intercept", "passthrough"] = Field(
        "intercept", description="passthrough is the operator's alone, in operator.yaml"
    )


class OperatorRule(Match):
    """One item of the operator's `allow` or `deny`; it stands above every tenant's rules."""

    name: Annotated[Text, _named(_RULE_NAME, "rule name")] | None = None
    hosts: Hosts


class ExceptionDocument(_Document):
    """One private range that a tenant may reach on one port; with `name`, only under that name.

    Tenant `@platform` is the broker, where it asks for itself.
    """

    tenant: Annotated[Text, _named(_TENANT_OR_PLATFORM, "tenant name")]
    cidr: Annotated[Text, AfterValidator(_network)]
    port: Port
    name: Annotated[Text, AfterValidator(_host_name)] | None = None


class PassthroughDocument(_Document):
    """Hosts whose TLS is relayed unread; only what the operator trusts with anything."""

    hosts: Annotated[tuple[ExactHost, ...], Field(min_length=1), AfterValidator(distinct)]
    ports: Ports = (443,)
    tenants: Tenants | None = Field(None, description="left out: every tenant")


class TenantDocument(_Document):
    """`tenants/<tenant>.yaml`."""

    description: str = ""
    profile: Literal["read-only-web", "allowlist"] = Field(
        "read-only-web",
        description="read-only-web: GET and HEAD to any public name; allowlist: only what a rule allows",
    )
    use: PolicyNames | None = Field(None, description="named policies of policies/<name>.yaml")
    caps: CapsDocument = Field(default_factory=_default_caps)
    limits: LimitsDocument | None = None
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)] | None = None


class NamedPolicyDocument(_Document):
    """`policies/<name>.yaml`: rules that tenants' documents may use by name."""

    description: str = ""
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]


class OperatorDocument(_Document):
    """`operator.yaml`: operator deny > operator allow > tenant deny > tenant allow > profile."""

    description: str = ""
    caps: CapsDocument = Field(
        default_factory=lambda: CapsDocument.model_validate({}),
        description="ceilings of what tenants' caps may say",
    )
    limits: OperatorLimitsDocument | None = None
    allow: Annotated[tuple[OperatorRule, ...], Field(min_length=1)] | None = None
    deny: Annotated[tuple[OperatorRule, ...], Field(min_length=1)] | None = None
    deny_addresses: Networks | None = Field(
        None, description="IPv4 networks that nobody may reach, whatever the name; above every exception"
    )
    exceptions: Annotated[tuple[ExceptionDocument, ...], Field(min_length=1)] | None = None
    passthrough: Annotated[tuple[PassthroughDocument, ...], Field(min_length=1)] | None = None
