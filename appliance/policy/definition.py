"""Integration definitions as people write them; nobody but who keeps the appliance can change one.

A definition says of one provider which requests carry a secret and where it goes. Its five parts, scheme,
hosts, port, methods and paths, are always written out. What is left out else means the narrow default: no
query keys, no body, no references. `{name}` in a host or path stands for one of an account's parameters.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from appliance.names import HostName, parse_host
from appliance.policy.documents import (
    MediaTypes,
    Methods,
    Port,
    QueryKeys,
    Size,
    Subprotocols,
    Text,
    distinct,
)
from appliance.policy.hosts import HostPattern, parse_pattern
from appliance.policy.paths import PathPattern
from appliance.policy.slot import STYLES, SecretKind, Slot, Style

__all__ = [
    "STYLES",
    "DefinitionDocument",
    "GroupDocument",
    "ParameterDocument",
    "SecretKind",
    "Slot",
    "Style",
    "TokenHostDocument",
    "TokenHosts",
    "filled",
    "host_pattern",
    "parameters_of",
]

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
NAME_MEND = "use up to 32 of a-z, 0-9 and '-', a letter or digit first"
_PLACE = re.compile(r"\{([a-z0-9_]{1,32})\}")
_PARAMETER_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{1,31}")  # RFC 3986 section 3.1, in lower case
_SCOPE = re.compile(r"[!#-\[\]-~]{1,128}")  # RFC 6749 section 3.3
_STANDS_IN = "x"


def parameters_of(text: str) -> tuple[str, ...]:
    """Names of the parameters in a host or path, each once."""
    return tuple(dict.fromkeys(_PLACE.findall(text)))


def filled(text: str, values: dict[str, str]) -> str:
    """The text with its parameters' values in their places."""
    return _PLACE.sub(lambda found: values[found[1]], text)


def _sample(text: str) -> str:
    return _PLACE.sub(_STANDS_IN, text)


def host_pattern(text: str) -> HostPattern:
    """A host without parameters. Raises `ValueError` in the form "what is wrong; what to write"."""
    pattern = parse_pattern(text)  # a wildcard is public-suffix safe
    if not isinstance(parse_host(pattern.name), HostName):
        # pydantic takes ValueError, whatever the fault
        raise ValueError(f"{text!r} is an address; write a name")  # noqa: TRY004 - see above
    return pattern


def _host(value: str) -> str:
    canonical = str(host_pattern(_sample(value)))
    return value if parameters_of(value) else canonical


def _token_host(value: str) -> str:
    pattern = host_pattern(value)
    if pattern.below:
        raise ValueError(f"{value!r} stands for many hosts; write the name of each")
    return pattern.name


def _path(value: str) -> str:
    PathPattern.parse(_sample(value))
    return value


def _fits(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"{value!a} is no {what}; write one that fits {pattern.pattern}")
        return value

    return AfterValidator(check)


def _https(value: object) -> object:
    if value != "https":
        raise ValueError(f"{str(value)[:20]!a} would show the secret to the network; write https")
    return value


Name = Annotated[Text, _fits(NAME, "name")]
_Host = Annotated[Text, AfterValidator(_host)]
_Hosts = Annotated[tuple[_Host, ...], Field(min_length=1), AfterValidator(distinct)]
_Paths = Annotated[
    tuple[Annotated[Text, AfterValidator(_path)], ...], Field(min_length=1), AfterValidator(distinct)
]
_Scopes = Annotated[
    tuple[Annotated[Text, _fits(_SCOPE, "scope")], ...], Field(min_length=1), AfterValidator(distinct)
]
_Kinds = Annotated[tuple[SecretKind, ...], Field(min_length=1), AfterValidator(distinct)]
ParameterValue = Annotated[Text, _fits(re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}"), "parameter value")]
ParameterValues = Annotated[
    tuple[ParameterValue, ...],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    Field(min_length=1, max_length=64),
    AfterValidator(distinct),
]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TokenHostDocument(_Document):
    """A server that takes a secret and gives a token for it: its exact name, and its port."""

    host: Annotated[Text, AfterValidator(_token_host)]
    port: Port

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


TokenHosts = Annotated[
    tuple[TokenHostDocument, ...], Field(min_length=1, max_length=8), AfterValidator(distinct)
]


class ParameterDocument(_Document):
    """What an account may, or must, say; a list of values stands for that many hosts or paths."""

    description: str
    default: ParameterValues | None = None
    never: ParameterValues | None = Field(
        None, description="values that no account may give: what they name answers with credentials, say"
    )
    optional: bool = Field(
        False, strict=True, description="left out by an account: no host or path that names it"
    )


class GroupDocument(_Document):
    """Requests that belong together: what they are, and what they can do."""

    name: Name
    description: str = ""
    risk: Literal["read", "write", "destructive"]
    methods: Methods
    paths: _Paths = Field(description="as in rules: `*` is one segment, `**` any number")
    hosts: _Hosts | None = Field(None, description="some of the definition's hosts; left out: all")
    query: QueryKeys | None = Field(None, description="keys that may occur, each once; left out: none")
    repeatable: QueryKeys | None = Field(None, description="those of them that may occur more than once")
    content_types: MediaTypes | None = Field(None, description="media types of a body; left out: no body")
    untyped_body: bool = Field(
        False, strict=True, description="a body may come without Content-Type, as S3's clients send it"
    )
    max_body: Size | None = None
    body: dict[str, Any] | None = Field(None, description="JSON Schema (draft 2020-12) of a JSON body")
    encoded_slash: bool = Field(False, strict=True, description="`%2F` may stand in the path")
    upgrade: Literal["websocket"] | None = None
    subprotocols: Subprotocols | None = None
    scopes: _Scopes | None = Field(None, description="what the provider calls the permission that is needed")
    slot: Slot | None = Field(None, description="where the secret goes, if not where the definition says")


class AnswersDocument(_Document):
    """What holds for answers. A redirect is handed to the caller, never followed."""

    stream: MediaTypes | None = Field(None, description="media types that are scrubbed as they come")
    redirects: Literal["never"] = "never"


def _answers() -> AnswersDocument:
    return AnswersDocument.model_validate({})


class DefinitionDocument(_Document):
    """`<name>.yaml` of a definition."""

    name: Name
    title: Text
    description: str = ""
    scheme: Annotated[Literal["https"], BeforeValidator(_https)]
    hosts: _Hosts | None = Field(None, description="exact names, or *.suffix that is safe by public suffixes")
    host: Literal["ask"] | None = Field(None, description="in the place of hosts: each account says its own")
    port: Port
    parameters: dict[Annotated[Text, _fits(_PARAMETER_NAME, "parameter name")], ParameterDocument] | None = (
        None
    )
    slot: Slot
    secrets: _Kinds = Field(description="kinds of secrets that fit")
    token_hosts: TokenHosts | None = Field(
        None, description="where a secret is exchanged for a token; the broker alone asks there"
    )
    token_host: Literal["ask"] | None = Field(
        None, description="in the place of token_hosts: each account says its own, or means its own host"
    )
    groups: Annotated[tuple[GroupDocument, ...], Field(min_length=1)]
    answers: AnswersDocument = Field(default_factory=_answers)
    base_url: Name | None = Field(None, description="in base-URL mode, /<base_url>/… is the first host")
    references: bool = Field(
        False, strict=True, description="a reference by name may stand in the slot instead of a handle"
    )
    reference_scheme: Annotated[Text, _fits(_SCHEME, "URI scheme")] = "agentsecrets"

    def slot_of(self, group: GroupDocument) -> Slot:
        """Where the secret goes in a group's requests; a place of authority elsewhere is one here as well."""
        own, base = group.slot, self.slot
        if own is None:
            return base
        fields = dict.fromkeys(
            (*(own.authority_fields or ()), *(base.authority_fields or ()), *(base.placeholder_fields or ()))
        )
        query = dict.fromkeys((*(own.authority_query or ()), *(base.authority_query or ())))
        if base.name is not None:
            (query if base.style == "query" else fields)[base.name] = None
        (query if own.style == "query" else fields).pop(own.name or "", None)
        return own.model_copy(
            update={"authority_fields": tuple(fields) or None, "authority_query": tuple(query) or None}
        )
