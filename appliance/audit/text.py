"""A record as the JSON text of its line, without the chain's fields and the closing brace.

Requests and calls are nearly all of the records, so theirs are put together from parts: what is said of the
caller, of the origin and of the decision is the same in one record after the other, and is made once. 5 us
instead of 24; the text is octet for octet that of `record.compose` as compact JSON, which a test compares.
"""

from __future__ import annotations

import json
from functools import lru_cache
from math import isfinite

from appliance.audit.record import (
    MAX_PATH,
    MAX_TEXT,
    MOST_OCTETS_OF_ASCII,
    CallRecord,
    Interception,
    Outcome,
    Record,
    RequestRecord,
    bounded,
    bounded_items,
    compose,
    timestamp,
)

PARTS = 1024
"""Parts of each kind that are remembered; what makes them is bounded by who makes records."""

encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode
_escaped = json.encoder.encode_basestring_ascii


def text_of(record: Record, process: str, seconds: float) -> str:
    """The text of a record that `process` writes at `seconds` (Unix time)."""
    if isinstance(record, RequestRecord):
        return _request(record, process, seconds)
    if isinstance(record, CallRecord):
        return _call(record, process, seconds)
    return encode(compose(record, process, seconds))[:-1]


def _request(record: RequestRecord, process: str, seconds: float) -> str:
    address = record.upstream_address
    return (
        f'{{"time":"{timestamp(seconds)}","kind":"request","process":{_known(process)}'
        f',"request_id":{_escaped(bounded(record.request_id, MAX_TEXT))}'
        f"{_caller(record.tenant, record.endpoint, record.container, record.run, record.source)}"
        f"{_origin(record.method, record.scheme, record.host, record.port)}"
        f',"path":{_path(record.path)}'
        f',"query_keys":{_items(record.query_keys)},"signals":{_items(record.signals)}'
        f"{_decision(record.outcome, record.reason, record.rule, record.detail)}"
        f',"status":{"null" if record.status is None else record.status}'
        f',"upstream_address":{"null" if address is None else _known(address)}'
        f',"bytes_to_upstream":{record.bytes_to_upstream},"bytes_to_client":{record.bytes_to_client}'
        f',"duration_ms":{_number(record.duration_ms)}'
        f',"tls":{_TLS[record.tls]},"count":{record.count}'
    )


def _call(record: CallRecord, process: str, seconds: float) -> str:
    address, generation, inputs = record.upstream_address, record.generation, record.inputs
    run, principal = record.run, record.principal
    return (
        f'{{"time":"{timestamp(seconds)}","kind":"call","process":{_known(process)}'
        f',"request_id":{_escaped(bounded(record.request_id, MAX_TEXT))}'
        f"{_calling(record.tenant, record.endpoint, record.container, run, principal, record.source)}"
        f"{_account(record.account, record.group, record.secret, record.presented)}"
        f"{_called(record.method, record.host, record.port)}"
        f',"path":{_path(record.path)}'
        f',"query_keys":{_items(record.query_keys)},"checks":{_passed(record.checks)}'
        f"{_decision(record.outcome, record.reason, record.rule, record.detail)}"
        f',"status":{"null" if record.status is None else record.status}'
        f',"upstream_address":{"null" if address is None else _known(address)}'
        f',"duration_ms":{_number(record.duration_ms)}'
        f',"generation":{"null" if generation is None else _known(generation)}'
        f',"inputs":{"null" if inputs is None else _text(inputs)}'
    )


@lru_cache(PARTS)
def _known(value: str) -> str:
    return _text(value)


def _text(value: str, limit: int = MAX_TEXT) -> str:
    return _escaped(bounded(value, limit))


def _path(value: str) -> str:
    if len(value) * MOST_OCTETS_OF_ASCII <= MAX_PATH and value.isascii():
        return _escaped(value)
    return _text(value, MAX_PATH)


def _items(items: tuple[str, ...]) -> str:
    return encode(bounded_items(items)) if items else "[]"


def _number(value: float) -> str:
    return repr(round(value, 3)) if isfinite(value) else encode(value)  # which refuses it


def _part(**values: str | int | None) -> str:
    """Fields behind others: each text bounded, each with its comma."""
    composed = {
        key: bounded(value, MAX_TEXT) if isinstance(value, str) else value for key, value in values.items()
    }
    return "," + encode(composed)[1:-1]


@lru_cache(PARTS)
def _caller(
    tenant: str | None, endpoint: str | None, container: str | None, run: str | None, source: str
) -> str:
    return _part(tenant=tenant, endpoint=endpoint, container=container, run=run, source=source)


@lru_cache(PARTS)
def _calling(  # noqa: PLR0917 - what says who calls
    tenant: str | None,
    endpoint: str | None,
    container: str | None,
    run: str | None,
    principal: str | None,
    source: str,
) -> str:
    return _part(
        tenant=tenant, endpoint=endpoint, container=container, run=run, principal=principal, source=source
    )


@lru_cache(PARTS)
def _account(account: str | None, group: str | None, secret: str | None, presented: str | None) -> str:
    return _part(account=account, group=group, secret=secret, presented=presented)


@lru_cache(PARTS)
def _called(method: str, host: str, port: int) -> str:
    return _part(method=method, host=host, port=port)


@lru_cache(PARTS)
def _passed(checks: tuple[str, ...]) -> str:
    return _items(checks)


@lru_cache(PARTS)
def _origin(method: str, scheme: str, host: str, port: int) -> str:
    return _part(method=method, scheme=scheme, host=host, port=port)


@lru_cache(PARTS)
def _decision(outcome: Outcome, reason: str, rule: str | None, detail: str | None) -> str:
    return _part(outcome=outcome.value, reason=reason, rule=rule, detail=detail)


_TLS = {kind: encode(kind.value) for kind in Interception}
