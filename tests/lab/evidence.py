"""Who reached what: counted from the lab's records, apart for the control and for everybody else.

A refusal is proved by two numbers: the control's count grew when the control tried (so the canary was alive) and
the appliance's count did not when the workload tried.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from appliance.verify.case import Origin
from tests.lab import canary, company, internet, nameserver, web, witness

PROVIDERS_LOG = internet.STATE / "providers" / "seen.jsonl"
CONTROLS = frozenset({internet.CONTROL_ADDRESS, internet.CONTROL_ADDRESS_6})


class _Log:
    """A log that only grows, each line read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0
        self._rows: list[Any] = []

    def rows(self, read: Callable[[str], Any]) -> list[Any]:
        """All lines so far, as `read` understands each; none when the log was never written."""
        try:
            log = self._path.open("rb")
        except FileNotFoundError:
            return []
        with log:
            state = os.fstat(log.fileno())
            if state.st_ino != self._inode or state.st_size < self._offset:
                self._inode, self._offset, self._rows = state.st_ino, 0, []
            log.seek(self._offset)
            whole, newline, _half = log.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        self._rows += [read(line) for line in whole.decode(errors="replace").split("\n") if line]
        return self._rows


_logs: dict[Path, _Log] = {}


def _log(path: Path) -> _Log:
    return _logs.setdefault(path, _Log(path))


def forget() -> None:
    """What was read of the logs of an earlier lab."""
    _logs.clear()


def lines(path: Path) -> list[dict[str, Any]]:
    """The records of a log of JSON lines; none when it was never written."""
    return _log(path).rows(json.loads)


def _is(origin: Origin, *, control: bool) -> bool:
    return control is (origin is Origin.CONTROL)


@dataclass(frozen=True, slots=True)
class Packets:
    """Packets that arrived in the Internet namespace; a field that is None matches all."""

    address: str | None = None
    protocol: str | None = None
    port: int | None = None
    version: int | None = None

    def hits(self, origin: Origin) -> int:
        return sum(
            self._matches(line) and _is(origin, control=line["link"] == internet.CONTROL_LINK)
            for line in lines(witness.LOG)
        )

    def _matches(self, line: dict[str, Any]) -> bool:
        return (
            self.address in {None, line["destination"]}
            and self.protocol in {None, line["protocol"]}
            and self.port in {None, line["port"]}
            and self.version in {None, line["version"]}
        )


@dataclass(frozen=True, slots=True)
class Queries:
    """DNS queries for a name that left towards any server: seen as packets, and by the name server itself."""

    name: str

    def hits(self, origin: Origin) -> int:
        labels = b"".join(bytes((len(label),)) + label.encode() for label in self.name.lower().split("."))
        packets: int = sum(
            line["port"] == 53
            and labels in bytes.fromhex(line["payload"]).lower()
            and _is(origin, control=line["link"] == internet.CONTROL_LINK)
            for line in lines(witness.LOG)
        )
        return packets + sum(_is(origin, control=peer in CONTROLS) for peer in self._askers())

    def _askers(self) -> Iterator[str]:
        for words in _log(nameserver.QUERY_LOG).rows(str.split):
            # dnsmasq with log-queries=extra writes at the end: query[TYPE] NAME from ADDRESS
            if len(words) > 3 and words[-4].startswith("query[") and words[-3].lower() == self.name.lower():
                yield words[-1]


@dataclass(frozen=True, slots=True)
class Requests:
    """HTTP requests that a site of the lab answered; a path that ends in `*` is a beginning."""

    host: str
    method: str | None = None
    path: str | None = None

    def hits(self, origin: Origin) -> int:
        return sum(
            line["server"] == self.host
            and self.method in {None, line["method"]}
            and self._is_path(line["uri"].partition("?")[0])
            and _is(origin, control=line["from"] in CONTROLS)
            for line in lines(web.ACCESS_LOG)
        )

    def _is_path(self, path: str) -> bool:
        if self.path is None or self.path == path:
            return True
        return self.path.endswith("*") and path.startswith(self.path[:-1])


@dataclass(frozen=True, slots=True)
class Calls:
    """What a provider was asked; `known`: by who had the secret. A path that ends in `*` is a beginning."""

    host: str
    path: str = "*"
    known: bool = False

    def hits(self, origin: Origin) -> int:
        return sum(
            line["site"] == self.host
            and (line["known"] or not self.known)
            and fnmatchcase(line["target"].partition("?")[0], self.path)
            and _is(origin, control=line["from"] in CONTROLS)
            for line in lines(PROVIDERS_LOG)
        )


@dataclass(frozen=True, slots=True)
class Tunnels:
    """CONNECT requests for an authority that the company's proxy was sent; it ends in `*`: a beginning."""

    authority: str

    def hits(self, origin: Origin) -> int:
        return sum(
            fnmatchcase(line["authority"], self.authority) and _is(origin, control=line["from"] in CONTROLS)
            for line in lines(company.LOG)
        )


@dataclass(frozen=True, slots=True)
class HostConnections:
    """Connections to the canary on the host's own bridge address; the host itself is the control."""

    address: str

    def hits(self, origin: Origin) -> int:
        return sum(
            line["address"] == self.address and _is(origin, control=line["from"] == "127.0.0.1")
            for line in lines(canary.HOST_LOG)
        )


@dataclass(frozen=True, slots=True)
class NeighbourConnections:
    """Connections to another tenant's container, from its own record; the control asks from inside it."""

    record: Callable[[], str]

    def hits(self, origin: Origin) -> int:
        records = [json.loads(line) for line in self.record().splitlines() if line.startswith("{")]
        return sum(_is(origin, control=line["from"] == line["address"]) for line in records)
