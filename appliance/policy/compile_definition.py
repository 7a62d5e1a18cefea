"""An integration definition's document → a definition that accounts can use, or what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256

from pydantic import ValidationError

from appliance.faults import faults
from appliance.policy.body_schema import BodySchema
from appliance.policy.caps import MAX_SIZE
from appliance.policy.definition import DefinitionDocument, GroupDocument, filled, parameters_of
from appliance.policy.methods import READING
from appliance.policy.paths import PathPattern
from appliance.policy.problems import Problem, errors
from appliance.policy.redundancy import covers
from appliance.policy.rules import UNTYPED, AllowRule, allowed
from appliance.policy.slot import EXCHANGED_KINDS
from appliance.policy.verdict import Reason
from appliance.yamldoc import Document, Path_

# A tier promises what a group cannot do; POST may be a question (search, GraphQL), these never are.
_NO_QUESTION = frozenset({"PUT", "PATCH", "DELETE"})
_JSON = "application/json"
_STANDS_IN = "x"


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition without fault. `bodies`: schemas of the groups that have one; `digest`: of its content."""

    document: DefinitionDocument
    bodies: Mapping[str, BodySchema]
    digest: bytes

    @property
    def name(self) -> str:
        """What accounts call it."""
        return self.document.name


def compile_definition(document: Document, name: str) -> tuple[Definition | None, list[Problem]]:
    """The definition in `<name>.yaml`, or None when the document has errors."""
    if not isinstance(document.data, dict) or not document.data:
        return None, [
            Problem(document.at(()), "the document is empty", "write a definition, or remove the file")
        ]
    try:
        model = DefinitionDocument.model_validate(document.data)
    except ValidationError as error:
        found = faults(error, document, DefinitionDocument)
        return None, [Problem(fault.position, fault.message, fault.mend) for fault in found]
    except RecursionError:
        return None, [Problem(document.at(()), "nested too deeply", "write it flatter")]
    problems = [
        *_of_hosts(document, model, name),
        *_of_token_hosts(document, model),
        *_of_parameters(document, model),
    ]
    bodies: dict[str, BodySchema] = {}
    seen: set[str] = set()
    for index, group in enumerate(model.groups):
        place: Path_ = ("groups", index)
        if group.name in seen:
            message = f"group {group.name!r} is there twice"
            problems.append(_at(document, (*place, "name"), message, "rename one of them"))
        seen.add(group.name)
        problems += _of_group(document, place, model, group)
        if group.body is not None:
            try:
                bodies[group.name] = BodySchema(group.body)
            except ValueError as error:
                message, _, mend = str(error).partition("; ")
                problems.append(_at(document, (*place, "body"), message, mend))
    problems += _unreachable(document, model)
    if errors(problems):
        return None, problems
    text = json.dumps(model.model_dump(mode="json"), sort_keys=True)
    return Definition(model, bodies, sha256(text.encode()).digest()), problems


def group_rule(
    definition: DefinitionDocument, group: GroupDocument, paths: tuple[str, ...], label: str, account: str
) -> AllowRule:
    """What a group allows; `paths` are without parameters."""
    types = frozenset(group.content_types or ()) | ({UNTYPED} if group.untyped_body else frozenset())
    verdict = allowed(Reason.ALLOWED_BY_INTEGRATION, label, f"Integration account {account} carries it.")
    return AllowRule(
        label=label,
        services=frozenset({(definition.scheme, definition.port)}),
        methods=frozenset(group.methods),
        paths=_patterns(paths),
        query=frozenset() if group.query is None else _keys(group),
        content_types=types,
        encoded_slash=group.encoded_slash,
        max_body=group.max_body or MAX_SIZE,
        verdict=replace(verdict, upgrade=group.upgrade, account=account, group=group.name),
        upgrade=group.upgrade,
        subprotocols=frozenset(group.subprotocols or ()),
        repeatable=frozenset(group.repeatable or ()),
    )


@lru_cache(maxsize=1024)
def _patterns(paths: tuple[str, ...]) -> tuple[PathPattern, ...]:
    """One object for all accounts of a definition: most have no parameters in their paths."""
    return tuple(map(PathPattern.parse, paths))


def _keys(group: GroupDocument) -> frozenset[str]:
    return frozenset(group.query or ())


def _at(document: Document, place: Path_, message: str, mend: str) -> Problem:
    return Problem(document.at(place), message, mend)


def _of_hosts(document: Document, model: DefinitionDocument, name: str) -> Iterator[Problem]:
    if model.name != name:
        message = f"name {model.name!r} is not the file's, {name!r}"
        yield _at(document, ("name",), message, "make them the same")
    if (model.hosts is None) == (model.host is None):
        what = "host and hosts stand together" if model.hosts else "hosts is missing"
        yield _at(document, ("hosts",), what, "write hosts: […], or host: ask for accounts to say it")
    first = model.hosts[0] if model.hosts else ""
    if model.base_url is not None and ("*" in first or parameters_of(first)):
        mend = "list an exact name first, or leave base_url out"
        yield _at(document, ("base_url",), f"base_url leads to the first host, {first}", mend)


def _of_token_hosts(document: Document, model: DefinitionDocument) -> Iterator[Problem]:
    exchanged = [kind for kind in model.secrets if kind in EXCHANGED_KINDS]
    if model.token_hosts is not None and model.token_host is not None:
        mend = "write token_hosts: […], or token_host: ask for accounts to say it"
        yield _at(document, ("token_hosts",), "token_host and token_hosts stand together", mend)
    named = "token_hosts" if model.token_hosts is not None else "token_host"
    has_hosts = (model.token_hosts, model.token_host) != (None, None)
    if has_hosts and not exchanged:
        message = f"none of {', '.join(model.secrets)} is exchanged for a token"
        yield _at(document, (named,), message, f"leave {named} out")
    if exchanged and not has_hosts:
        message = f"a secret of kind {exchanged[0]} is exchanged for a token, and nobody says where"
        mend = "write token_hosts: [{host: …, port: 443}], or token_host: ask for accounts to say it"
        yield _at(document, ("secrets", model.secrets.index(exchanged[0])), message, mend)


def _of_parameters(document: Document, model: DefinitionDocument) -> Iterator[Problem]:
    written = model.parameters or {}
    used: dict[str, Path_] = {}
    for number, host in enumerate(model.hosts or ()):
        used |= dict.fromkeys(parameters_of(host), ("hosts", number))
    for index, group in enumerate(model.groups):
        for number, path in enumerate(group.paths):
            used |= dict.fromkeys(parameters_of(path), ("groups", index, "paths", number))
    for parameter, place in used.items():
        if parameter not in written:
            mend = f"describe it below parameters, or write a name for {{{parameter}}}"
            yield _at(document, place, f"parameter {parameter!r} is not described", mend)
    for parameter, described in written.items():
        if parameter not in used:
            message = f"no host and no path has {{{parameter}}}"
            yield _at(document, ("parameters", parameter), message, "leave it out")
        if described.default is not None and described.optional:
            yield _at(
                document, ("parameters", parameter), "what has a default is never left out",
                "leave optional or default out",
            )  # fmt: skip


def _of_group(
    document: Document, place: Path_, model: DefinitionDocument, group: GroupDocument
) -> Iterator[Problem]:
    for number, host in enumerate(group.hosts or ()):
        if host not in (model.hosts or ()):
            mend = "list it there too, or leave the group's hosts out"
            yield _at(document, (*place, "hosts", number), f"{host} is none of the definition's hosts", mend)
    if group.risk == "read" and (changing := _NO_QUESTION.intersection(group.methods)):
        yield _at(
            document, (*place, "risk"), f"a group that only reads has no {', '.join(sorted(changing))}",
            "write risk: write or destructive, or take the method out",
        )  # fmt: skip
    if strangers := set(group.repeatable or ()) - _keys(group):
        yield _at(
            document, (*place, "repeatable"), f"{min(strangers)!r} may not occur at all", "add it to query"
        )
    if group.upgrade is not None and group.methods != ("GET",):
        yield _at(document, (*place, "methods"), "a WebSocket is opened by GET", "write methods: [GET]")
    if group.subprotocols is not None and group.upgrade is None:
        yield _at(
            document, (*place, "subprotocols"), "subprotocols without upgrade", "write upgrade: websocket"
        )
    yield from _of_body(document, place, group)
    for kind in model.secrets:
        slot = model.slot_of(group)
        if kind not in slot.kinds:
            where = (*place, "slot") if group.slot else ("slot",)
            fit = ", ".join(sorted(slot.kinds))
            yield _at(document, where, f"a secret of kind {kind} fits no slot of style {slot.style}",
                      f"write secrets: some of {fit}, or another style")  # fmt: skip


def _of_body(document: Document, place: Path_, group: GroupDocument) -> Iterator[Problem]:
    has_body = group.content_types is not None or group.untyped_body
    if has_body and READING.issuperset(group.methods):
        yield _at(document, (*place, "content_types"), "GET and HEAD carry no body", "leave it out")
    if group.max_body is not None and not has_body and group.upgrade is None:
        mend = "write content_types: […]"
        yield _at(document, (*place, "max_body"), "max_body without content_types", mend)
    if group.body is not None and (group.content_types != (_JSON,) or group.untyped_body):
        mend = f"write content_types: [{_JSON}], and no untyped_body"
        yield _at(document, (*place, "body"), "a schema is for JSON bodies alone", mend)


def _unreachable(document: Document, model: DefinitionDocument) -> Iterator[Problem]:
    """Of groups that allow the same request the first counts; so none may leave a later one nothing."""
    rules = [(group, _sample_rule(model, group)) for group in model.groups]
    for index, (group, rule) in enumerate(rules):
        for other, wide in rules[:index]:
            reach = set(group.hosts or model.hosts or ()) <= set(other.hosts or model.hosts or ())
            if reach and covers(wide, rule):
                message = f"group {other.name!r} before it allows all that {group.name!r} does"
                mend = "put the narrower one first, or leave it out"
                yield _at(document, ("groups", index, "name"), message, mend)
                break


def _sample_rule(model: DefinitionDocument, group: GroupDocument) -> AllowRule:
    paths = tuple(filled(path, dict.fromkeys(parameters_of(path), _STANDS_IN)) for path in group.paths)
    return group_rule(model, group, paths, group.name, "")
