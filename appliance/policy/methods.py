"""HTTP methods (RFC 9110 §9, RFC 5789) of which a rule can speak; every other is denied, in any case."""

from __future__ import annotations

READING: frozenset[str] = frozenset({"GET", "HEAD"})
METHODS: tuple[str, ...] = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
# A wildcard host is no licence for these (design §8.1).
STATE_CHANGING: frozenset[str] = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# CONNECT is judged as a host; TRACE sends a request's secrets back (RFC 9110 §9.3.8).
NEVER: frozenset[str] = frozenset({"CONNECT", "TRACE"})
