"""The scrubber of one call: all that leaves towards a caller or a log passes through it.

It holds the secrets that are live in the call, and is thrown away with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from appliance.broker.scrub.body import Body
from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.forms import pieces
from appliance.broker.scrub.headers import (
    Fields,
    answer_fields,
    content_encoding,
    scrubbed_fields,
    verify_readable,
)
from appliance.broker.scrub.patterns import BUILT_IN, Pattern
from appliance.broker.scrub.rules import SECRET, LiveRules, Rules, pattern_rules
from appliance.broker.scrub.stream import Stream, marker
from appliance.broker.scrub.text import scrub_error, scrub_text, scrub_value
from appliance.broker.scrub.websocket import ServerFrames


class Scrubber:
    """`live`: the secrets, as octets; `patterns`: from `patterns.with_own`.

    Raises `ScrubFault` when a secret cannot be scrubbed: then the call is not made.
    """

    def __init__(self, live: Iterable[bytes] = (), patterns: tuple[Pattern, ...] = BUILT_IN) -> None:
        secrets = tuple(live)
        markers = _markers(patterns)
        if any(secret in text for secret in secrets if secret for text in markers):
            raise ScrubFault("scrub-secret-plain", "a secret is part of what would stand in its place")
        self._rules: list[Rules] = [pattern_rules(patterns)]
        self._live: list[Rules] = []
        if searched := pieces(secrets):
            self._live = [LiveRules(searched)]
            self._rules = self._live + self._rules

    @property
    def longest_held(self) -> int:
        """Octets that a stream holds back at most."""
        return sum(rules.window for rules in self._rules)

    def stream(self) -> Stream:
        """For octets that arrive in pieces."""
        return Stream(self._rules)

    def body(self, fields: Iterable[tuple[bytes, bytes]]) -> Body:
        """For the body of an answer with these header fields. Raises `ScrubFault`."""
        fields = tuple(fields)
        verify_readable(fields)
        return Body(content_encoding(fields), self.stream())

    def websocket(self) -> ServerFrames:
        """For what a server sends after its 101."""
        return ServerFrames(self.stream)

    def octets(self, data: bytes) -> bytes:
        """Octets that are there as a whole."""
        return self.stream().whole(data)

    def without_live(self, data: bytes) -> bytes:
        """Octets that are there as a whole, without live secrets: for who looks for the patterns himself."""
        return Stream(self._live).whole(data)

    def answer_fields(self, fields: Iterable[tuple[bytes, bytes]]) -> Fields:
        """The header fields that go on before a body from `body`."""
        return answer_fields(fields, self.octets)

    def fields(self, fields: Iterable[tuple[bytes, bytes]]) -> Fields:
        """Trailers, or header fields where no body follows."""
        return scrubbed_fields(fields, self.octets)

    def text(self, text: str) -> str:
        """A message, a line of a log, a label of a metric."""
        return scrub_text(text, self.octets)

    def value(self, value: Any) -> Any:
        """A record of the audit log, or what it is made of."""
        return scrub_value(value, self.octets)

    def error(self, error: BaseException) -> str:
        """The traceback of an exception."""
        return scrub_error(error, self.octets)


@lru_cache(maxsize=8)
def _markers(patterns: tuple[Pattern, ...]) -> tuple[bytes, ...]:
    return tuple(marker(name) for name in (SECRET, *(pattern.name for pattern in patterns)))
