"""What is written down about a decision: one dataclass a kind, constant field names.

Never in a record: query values, headers, bodies, secrets. Every record carries, besides its own fields,

| field      | type    | meaning                                                              |
|------------|---------|----------------------------------------------------------------------|
| `time`     | string  | RFC 3339, UTC, microseconds: `2026-01-31T23:59:59.000001Z`           |
| `kind`     | string  | `request`, `call`, `connection`, `dns`, `lifecycle`, `admission`     |
| `process`  | string  | the writing process, for example `gateway-0`                         |
| `sequence` | integer | number of the record in its process's chain, from 1                  |
| `prev`     | string  | SHA-256 of the record before (hex), 64 zeros for the first           |
| `hash`     | string  | SHA-256 of this record's own bytes without this field (see `chain`)  |

A field that does not apply is `null`; none is ever left out. Shared meanings:

| field               | type    | meaning                                                     |
|---------------------|---------|-------------------------------------------------------------|
| `tenant`            | string  | tenant that the link belongs to, `null` when unknown        |
| `endpoint`          | string  | Docker endpoint id                                          |
| `container`, `run`  | string  | Docker container id; label `egress.run`                     |
| `source`            | string  | caller, `address:port`; `uid:N` of a process of this host   |
| `outcome`           | string  | `allowed`, `denied` (by rule), `failed` (allowed, not done) |
| `reason`            | string  | stable code, for example `method-not-allowed`               |
| `rule`              | string  | where the deciding rule stands                              |
| `detail`            | string  | one sentence                                                |
| `bytes_to_upstream` | integer | octets sent on behalf of the caller, after re-serialisation |
| `bytes_to_client`   | integer | octets sent to the caller                                   |
| `duration_ms`       | number  | from the first byte to the end of the answer                |
| `status`            | integer | HTTP status that the caller saw, `null` when none was sent  |
| `query_keys`        | array   | names of the query parameters, in order, never their values |
| `count`             | integer | requests, connections or questions it stands for            |
| `signals`           | array   | remarkable, and no reason to deny: `high-entropy-target`    |
| `tls`               | string  | `none`, `intercepted`, `passthrough`                        |

Text that would take more than its bound as JSON (`MAX_TEXT`, `MAX_PATH` octets) is cut and ends in `…+N`, N
characters missing; an array over `MAX_ITEMS` ends in such an item. So a record never exceeds `MAX_RECORD`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from typing import Any, ClassVar

MOST_OCTETS, MOST_OCTETS_OF_ASCII = 12, 6  # of one character in JSON: two escapes, one escape
MAX_TEXT = 512
MAX_PATH = 2048
MAX_ITEM = 64
MAX_ITEMS = 32
MAX_RECORD = 16 * 1024
"""Octets of one record with its chain fields and the line's end; follows from the bounds above."""

_LONG = frozenset({"path"})


class Kind(StrEnum):
    """Which dataclass a record is."""

    REQUEST = "request"
    CALL = "call"
    CONNECTION = "connection"
    DNS = "dns"
    LIFECYCLE = "lifecycle"
    ADMISSION = "admission"


class Outcome(StrEnum):
    """How a decision ended."""

    ALLOWED = "allowed"
    DENIED = "denied"
    FAILED = "failed"


class Interception(StrEnum):
    """What we did with the TLS of a request."""

    NONE = "none"
    INTERCEPTED = "intercepted"
    PASSTHROUGH = "passthrough"


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """One HTTP request (or one opaque tunnel, with method CONNECT): the decision and its result.

    Nobody changes one; it is not frozen, because setting its fields would take 5 us instead of 1.
    A WebSocket has two with one `request_id`: when it is open, and when it has ended.
    """

    kind: ClassVar[Kind] = Kind.REQUEST

    request_id: str
    tenant: str | None
    endpoint: str | None
    container: str | None
    run: str | None
    source: str
    method: str
    scheme: str
    host: str
    port: int
    path: str
    query_keys: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    outcome: Outcome
    reason: str
    rule: str | None
    detail: str | None
    status: int | None
    upstream_address: str | None = None
    bytes_to_upstream: int = 0
    bytes_to_client: int = 0
    duration_ms: float
    tls: Interception
    count: int = 1


@dataclass(slots=True, kw_only=True)
class CallRecord:
    """One call to a provider, as the broker decided it. The gateway's record has the same `request_id`.

    `checks` are those that were passed, in their order; `account` and `group` of the integration; `secret`
    the name in the vault of what was decrypted, `null` when nothing was. `presented` is what stood in the
    slot: `nothing`, `handle`, `reference`, `token`, or `collision`. `principal` is who called where that was
    no container, for example `api-key:ci`. `generation` is the policy's, `inputs` the SHA-256 (hex) of what
    it was asked about, so that the decision can be made again. Not frozen, for the same 4 us as a
    `RequestRecord`; nobody changes one.
    """

    kind: ClassVar[Kind] = Kind.CALL

    request_id: str
    tenant: str | None
    endpoint: str | None
    container: str | None
    run: str | None
    principal: str | None = None
    source: str
    account: str | None
    group: str | None
    secret: str | None
    presented: str | None
    method: str
    host: str
    port: int
    path: str
    query_keys: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    outcome: Outcome
    reason: str
    rule: str | None
    detail: str | None
    status: int | None
    upstream_address: str | None = None
    duration_ms: float
    generation: str | None
    inputs: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRecord:
    """A connection that ended before it carried a request. `host`: from CONNECT or ClientHello, if any."""

    kind: ClassVar[Kind] = Kind.CONNECTION

    connection_id: str
    tenant: str | None
    endpoint: str | None
    container: str | None
    run: str | None
    source: str
    destination: str
    host: str | None = None
    outcome: Outcome
    reason: str
    rule: str | None
    detail: str | None
    status: int | None = None
    bytes_to_client: int = 0
    duration_ms: float
    count: int = 1


@dataclass(slots=True, kw_only=True)
class DnsRecord:
    """One DNS question. `type` and `rcode` are mnemonics (`A`, `REFUSED`).

    `transport` is `udp`, `tcp`, or `control`: a worker asked for an address to connect to. `name` and `type`
    are empty where the question was not read. Not frozen, for the same 4 us as a `RequestRecord`; nobody
    changes one.
    """

    kind: ClassVar[Kind] = Kind.DNS

    tenant: str | None
    endpoint: str | None
    container: str | None
    run: str | None
    source: str
    destination: str
    transport: str
    name: str
    type: str
    outcome: Outcome
    reason: str
    rule: str | None
    detail: str | None
    rcode: str
    addresses: tuple[str, ...] = ()
    ttl: int | None = None
    duration_ms: float
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleRecord:
    """Something that happened to the appliance itself.

    `event` is a stable word (`started`, `stopped`, `policy-reloaded`, `intermediate-signed`, `repaired`,
    `records-lost`), `subject` what it happened to (a file, a worker, a policy's generation).
    """

    kind: ClassVar[Kind] = Kind.LIFECYCLE

    event: str
    subject: str | None = None
    tenant: str | None = None
    outcome: Outcome = Outcome.ALLOWED
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRecord:
    """A Docker API call that was refused, or a container that was stopped.

    `operation` is `create`, `start`, `exec create`, `exec start`, `update`, `network create`,
    `network connect`, `build`, `service`, `other` (a call that cannot be read), or `run`: a container
    that was running already.
    """

    kind: ClassVar[Kind] = Kind.ADMISSION

    operation: str
    tenant: str | None
    container: str | None
    image: str | None
    user: str | None
    outcome: Outcome
    reason: str
    rule: str | None
    detail: str | None


Record = RequestRecord | CallRecord | ConnectionRecord | DnsRecord | LifecycleRecord | AdmissionRecord


def compose(record: Record, process: str, seconds: float) -> dict[str, Any]:
    """The record as JSON data in its fixed field order, without the chain's fields.

    `seconds` is Unix time. Every text is cut to its bound here, so that no caller can make a record too long.
    """
    composed: dict[str, Any] = {"time": timestamp(seconds), "kind": record.kind.value, "process": process}
    names, values_of = _FIELDS[type(record)]
    # Most values are short texts, numbers and None: told by their exact type, which costs least.
    for name, value in zip(names, values_of(record), strict=True):
        exact = type(value)
        if exact is int or value is None or (exact is str and len(value) * MOST_OCTETS <= MAX_TEXT):
            composed[name] = value
        elif isinstance(value, str):
            composed[name] = bounded(value, MAX_PATH if name in _LONG else MAX_TEXT)
        elif isinstance(value, tuple):
            composed[name] = bounded_items(value)
        elif isinstance(value, float):
            composed[name] = round(value, 3)
        else:
            composed[name] = value
    return composed


def timestamp(seconds: float) -> str:
    """RFC 3339 §5.6 date-time in UTC with six fractional digits and `Z`, so that text order is time order."""
    fraction, whole = math.modf(seconds)
    # Rounded as `datetime.fromtimestamp` does; formatting the second, once a second, is what takes time.
    micros = round(fraction * 1e6)
    if micros == 1_000_000:
        whole, micros = whole + 1, 0
    return f"{_second(int(whole))}.{micros:06d}Z"


@lru_cache(maxsize=2)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def bounded(text: str, limit: int) -> str:
    """`text`, cut and marked where it would take more than `limit` octets as JSON."""
    if len(text) * MOST_OCTETS <= limit:
        return text
    most = len(text) * (MOST_OCTETS_OF_ASCII if text.isascii() else MOST_OCTETS)
    if most <= limit or (len(text) <= limit and len(_escaped(text)) <= limit):
        return text
    room = limit - 16  # for the mark
    kept = text[:room]
    while len(escaped := _escaped(kept)) > room:
        kept = kept[: min(len(kept) - 1, len(kept) * room // len(escaped))]
    return f"{kept}…+{len(text) - len(kept)}"


def bounded_items(items: tuple[str, ...]) -> list[str]:
    """The items, each bounded, and a mark for those that are too many."""
    kept = [bounded(item, MAX_ITEM) for item in items[:MAX_ITEMS]]
    if len(items) > MAX_ITEMS:
        kept.append(f"…+{len(items) - MAX_ITEMS}")
    return kept


_escaped = json.encoder.encode_basestring_ascii

_NAMES: dict[type[Any], tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind))
    for kind in (RequestRecord, CallRecord, ConnectionRecord, DnsRecord, LifecycleRecord, AdmissionRecord)
}
_FIELDS = {kind: (names, attrgetter(*names)) for kind, names in _NAMES.items()}
