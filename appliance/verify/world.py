"""What the battery needs of its surroundings: targets with canaries, a control, tenants, containers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.verify.case import Evidence, Image, Output, Seat


@dataclass(frozen=True, slots=True)
class Site:
    """A web server of our own, on ports 80 and 443 of its own address."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Targets:
    """Names and addresses of the canary Internet. Every address answers whoever reaches it.

    Below `zone`: `private`, `metadata` (resolve there), `mixed` (a public and a private address),
    `alias-private` (an alias of `private`), `alias-public`, `rebind` (turns private between two answers).
    Every name below `leaks` answers with `decoy`: a query that arrives is a leak that would work.
    """

    www: Site
    other: Site
    expired: Site
    self_signed: Site
    wrong_host: Site
    private: str
    metadata: str
    literal: str
    decoy: str
    public_resolver: str
    public_6: str
    zone: str
    leaks: str


class World(Protocol):
    """Where the battery runs. `tenants` maps a case's tenant to the real one.

    `reader` has the default profile (read-only-web); `lister` an allowlist with the one host `www`.
    """

    targets: Targets
    tenants: dict[str, str]

    def packets(
        self,
        address: str | None = None,
        protocol: str | None = None,
        port: int | None = None,
        version: int | None = None,
    ) -> Evidence:
        """Packets that arrived at the canary Internet; a field that is None matches all."""
        ...

    def requests(self, host: str, method: str | None = None, path: str | None = None) -> Evidence:
        """HTTP requests that a site answered; `path` without the query; ending in `*` it is a beginning."""
        ...

    def queries(self, name: str) -> Evidence:
        """DNS questions for a name that left for any server."""
        ...

    def probe(self, *arguments: str) -> bool:
        """One attempt of `appliance.verify.probe` by the control; whether the target answered."""
        ...

    def fetch(self, site: Site, path: str = "/", *options: str) -> bool:
        """Ask as the control, with curl over TLS; whether the site answered."""
        ...

    def asks(self, name: str) -> bool:
        """A DNS question by the control; whether there was an answer."""
        ...

    def run(
        self, tenant: str, command: Sequence[str], *, image: Image = Image.PYTHON, options: Sequence[str] = ()
    ) -> Output:
        """Run a command to its end in a hardened container; `options` are more words for `docker run`."""
        ...

    def run_as(self, seat: Seat, command: Sequence[str]) -> Output:
        """Run a command in the gateway namespace as one of our unprivileged processes would."""
        ...

    def settle(self) -> None:
        """Wait until all that arrived so far is on record. Raises `OSError` when the record has stopped."""
        ...
