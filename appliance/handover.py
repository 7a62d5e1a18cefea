"""What a gateway worker says to the broker before each request that it hands over: whose request it is.

One line of JSON in ASCII, then the request as it would go to the server (`http1.writer`). The line is the
gateway's own word, not a header field, so nothing that a container sends can pass for a part of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

WITHOUT_ACCOUNT = ""
"""The account of a request that the broker answers itself."""

MAX_LINE = 4096
"""Octets of the line with its end."""

ANSWER_SECONDS = 300.0
"""How long the broker waits for the next octet of a call, from either side: models think long."""

HANDED_OVER_SECONDS = ANSWER_SECONDS + 90.0
"""How long a worker waits for the broker: longer, so that the broker says what took too long.

The broker may read the last octets later than the worker wrote them, for the provider is found and connected
before: at most 30 s for its addresses, 30 s for the socket and 10 s for TLS.
"""


@dataclass(frozen=True, slots=True)
class Attestation:
    """The caller as its link says, and the account that the gateway's policy chose.

    `request_id` stands in the gateway's record, the broker's, and the answer. `endpoint` and `container` are
    Docker's ids, `run` is the label `egress.run` (the last two may be empty), `source` is `address:port`,
    `port` the one of the origin. `worker` is the number of the worker that dials for this call, `generation`
    that of the policy it judged by. `withheld` names, in lower case and separated by spaces, the fields that
    came and do not travel on, for an authority may have stood in them.
    """

    request_id: str
    tenant: str
    endpoint: str
    container: str
    run: str
    source: str
    worker: int
    account: str
    generation: str
    port: int
    withheld: str

    def line(self) -> bytes:
        """The line, with its end. Raises `ValueError` when it would be longer than anybody reads."""
        # Put together here: 5 us, and 35 by `asdict` and an encoder that is made for each line.
        members = [f'"{name}":{_WRITTEN[kind](getattr(self, name))}' for name, kind in _TYPES.items()]
        line = f"{{{','.join(members)}}}\n".encode("ascii")
        if len(line) > MAX_LINE:
            raise ValueError("the attestation is too long")
        return line


def parse_attestation(line: bytes) -> Attestation:
    """The line without its end. Raises `ValueError` for anything but exactly the agreed members."""
    found = _decoded(line.decode("ascii"))
    if not isinstance(found, dict) or found.keys() != _TYPES.keys():
        raise ValueError("an attestation has exactly the agreed members")
    for name, value in found.items():
        if type(value) is not _TYPES[name]:
            raise ValueError(f"{name} has not the agreed type")
    if not _PLAIN.fullmatch(found["request_id"]) or not _PLAIN.fullmatch(found["source"]):
        raise ValueError("what is told on is one word of ASCII")
    return Attestation(**found)


_PLAIN = re.compile(r"[!-~]{1,256}")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands twice")
    return found


_decoded = json.JSONDecoder(object_pairs_hook=_once).decode
_WRITTEN: dict[type, Callable[[Any], str]] = {int: int.__repr__, str: json.encoder.encode_basestring_ascii}
_TYPES = {field.name: int if field.type == "int" else str for field in fields(Attestation)}
