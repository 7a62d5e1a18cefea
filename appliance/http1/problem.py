"""A refusal as the client sees it: problem details (RFC 9457) with the proxy's own account (RFC 9209)."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any

PROXY_NAME = "egress"
TYPE_PREFIX = "urn:egress:refusal:"
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_STRING_UNSAFE = re.compile(r'[^\x20-\x7e]|["\\]')

# RFC 9110 section 15: how the request itself is at fault.
_REQUEST_ERRORS = frozenset({400, 408, 411, 413, 414, 417, 431, 501, 505})


def problem_response(
    status: int,
    reason: str,
    title: str,
    detail: str,
    instance: str,
    *,
    extra: dict[str, Any] | None = None,
    close: bool = True,
    head_only: bool = False,
    proxy_error: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """A whole response: `reason` is the stable code, `instance` the request id, `extra` members besides.

    `title` is one line, `detail` one sentence; both may hold hostile text, which JSON keeps inert.
    `head_only` leaves the body out (the answer to HEAD). `proxy_error` is a type of RFC 9209
    section 2.3 where the status does not say enough: without one, a request is at fault or denied by our
    rules, and from 500 upwards the fault is our own. `headers` are further fields of ours (Retry-After …).
    """
    members: dict[str, Any] = {
        "type": TYPE_PREFIX + reason,
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "reason": reason,
    }
    members.update({key: value for key, value in (extra or {}).items() if key not in members})
    body = json.dumps(members, separators=(",", ":")).encode("ascii") + b"\n"
    error = proxy_error or _proxy_error(status)
    lines = [
        f"HTTP/1.1 {status} {_PHRASES.get(status, '')}",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        f'Proxy-Status: {PROXY_NAME}; error={error}; details="{_quoted(reason)}"',
        "X-Content-Type-Options: nosniff",
        *(f"{name}: {_visible(value)}" for name, value in headers),
    ]
    if close:
        lines.append("Connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
    return head if head_only else head + body


def _proxy_error(status: int) -> str:
    if status in _REQUEST_ERRORS:
        return "http_request_error"
    return "http_request_denied" if status < 500 else "proxy_internal_error"


def _quoted(text: str) -> str:
    """The inside of an sf-string (RFC 8941 section 3.3.3): printable ASCII, no quote, no backslash."""
    return _STRING_UNSAFE.sub("?", text)


def _visible(text: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", text)
