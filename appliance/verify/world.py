"""What the battery needs of its surroundings: targets with canaries, a control, tenants, containers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from appliance.verify.case import Evidence, Image, Layer, Output, Seat


@dataclass(frozen=True, slots=True)
class Site:
    """A web server of our own, on ports 80 and 443 of its own address.

    Below `/canary/` it answers every method but TRACE and CONNECT with what it saw, a line `name=value` each:
    `method`, `host`, `uri`, `from` (address:port of the connection), `length` and `coding` (the framing
    fields), and the fields that `cases_requests.py` asks for. `/redirect-private`, `-other`, `-plain` and
    `-file` answer 302: to the private address, to `other` (`/canary/redirected`), to its own http port, to a
    file.
    Below `/canary/submit/` a request is read whole before it is answered, `length` being what its body has.
    """

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Server:
    """Something that serves whoever reaches it on a TCP port, and how its control reaches it."""

    address: str
    port: int
    evidence: Evidence
    touch: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Packages:
    """Package servers with one package of that name, and a git server with the repository `greeting`."""

    name: str
    pypi: Site
    npm: Site
    git: Site


@dataclass(frozen=True, slots=True)
class UplinkProxy:
    """A company's proxy at a private address, which opens by CONNECT whatever it is asked for.

    `asked` is how often for an authority (ending in `*`: a beginning); with `touch` the control asks for one,
    and is told whether the canary there answered.
    """

    address: str
    port: int
    asked: Callable[[str], Evidence]
    touch: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Account:
    """An integration account, and the site of its provider, which knows `secret` and repeats what it is sent.

    It answers 401 to whoever has another authority. See `cases_broker.py` for what its paths mean.
    """

    name: str
    site: Site
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Accounts:
    """Those of the tenant `reader`, `mirror` (a REST interface) and `chat` (OpenAI's), and one of `lister`.

    `calls` and `dials` are the sockets on which the broker hears the gateway's workers.
    """

    mirror: Account
    chat: Account
    theirs: Account
    calls: str
    dials: str


class Setup(Protocol):
    """The appliance put up in another way for a while, where nobody else depends on it."""

    @property
    def proxy(self) -> UplinkProxy:
        """What stands on its uplink when it is `behind_proxy`."""
        ...

    def behind_proxy(self) -> AbstractContextManager[None]:
        """Killed, and started with a proxy on its uplink; as it was afterwards."""
        ...

    def powerless(self, capability: str) -> AbstractContextManager[Callable[[], str]]:
        """Every process killed, and started by somebody who has any capability but this one (CAP_…).

        Gives what they have said since. Meanwhile containers that were there before are used. As it was
        afterwards.
        """
        ...


@dataclass(frozen=True, slots=True)
class Targets:
    """Names and addresses of the canary Internet. Every address answers whoever reaches it.

    Below `zone`: `private`, `metadata` (resolve there), `mixed` (a public and a private address),
    `alias-private` (an alias of `private`), `alias-public`, `rebind` (turns private between two answers).
    Below `hostile.` there every answer is wrong as the first label says; `is-10-0-0-1` is that address.
    Every name below `leaks` answers with `decoy`: a query that arrives is a leak that would work. `pki` there
    is what every certificate of the sites names for its revocation. `www` serves 8 MiB at `/big.bin`.
    `issuer` is in the name of who signed the sites' own certificates.
    `special` are more addresses of ranges that are not public, of either version. At `host_port` (TCP) of
    each of the host's own addresses there is a canary. `liar` answers below `/canary/` as the last segment of
    the path says: as no server may (see `cases_framing.py`), or, for `raw`, with the bytes that it was asked
    with; what a lie would smuggle in is the word `smuggled`. Below
    `/canary/ws/` it opens WebSockets, as the next segment says (see `cases_websockets.py`); every frame of
    data that it is sent there is a request of the method FRAME, for the path, `/` and the payload.
    `setup` is there where the appliance is the battery's own, `accounts` where its vault has secrets of ours.
    On port 443 `old_tls` speaks TLS 1.1 at best, and `asks_who` wants a client's certificate.
    """

    www: Site
    other: Site
    expired: Site
    self_signed: Site
    wrong_host: Site
    liar: Site
    old_tls: Site
    asks_who: Site
    private: str
    metadata: str
    literal: str
    decoy: str
    public_resolver: str
    public_6: str
    zone: str
    leaks: str
    issuer: str = ""
    packages: Packages | None = None
    special: tuple[str, ...] = ()
    host_port: int = 8080
    setup: Setup | None = None
    accounts: Accounts | None = None


class World(Protocol):
    """Where the battery runs. `tenants` maps a case's tenant to the real one; another is called as it is.

    `reader` has the default profile (read-only-web) and may POST text/plain of at most 4 KiB to
    `/canary/submit/*` of `www` and `liar`, and open WebSockets at `/canary/ws/**` of `liar`, plain and in
    TLS, with no subprotocol but `chat` and at most 4 KiB sent; `lister` has an allowlist with the one host
    `www`.
    """

    targets: Targets
    tenants: dict[str, str]

    @property
    def instance(self) -> str:
        """The appliance's name, which is that of its nft table."""
        ...

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

    def calls(self, account: Account, path: str = "*", *, known: bool = False) -> Evidence:
        """What an account's provider was asked; `path` as for `requests`. `known`: with the secret alone."""
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

    def run_as(self, seat: Seat, command: Sequence[str], tenant: str = "reader") -> Output:
        """Run a command where a container has no seat; `tenant` is whose container a sandbox belongs to."""
        ...

    def server(self, tenant: str) -> Server:
        """A server in a container of a tenant; the same one each time."""
        ...

    def host_addresses(self) -> Sequence[str]:
        """Every IPv4 address of the host but loopback."""
        ...

    def host_server(self) -> Server:
        """A server of our own on the host itself, at the address of Docker's bridge."""
        ...

    def egress(self, *words: str) -> Output:
        """The operator's command on this appliance."""
        ...

    def docker(self, *words: str) -> Output:
        """The engine's command: what whoever may use the engine could ask of it."""
        ...

    def in_gateway(self, *command: str) -> Output:
        """Run a command as root in the gateway's network namespace, as another tool of the host might."""
        ...

    def without(self, *names: str) -> AbstractContextManager[None]:
        """Processes of ours whose names begin so are killed, and kept from coming back; none: all of them.

        At the end they are started again, and the appliance is ready. Meanwhile no container can be
        started: `run` uses one that was started before, of `Image.PYTHON`.
        """
        ...

    def at(self, layer: Layer) -> AbstractContextManager[None]:
        """The layers before `layer` taken away."""
        ...

    def settle(self) -> None:
        """Wait until all that arrived so far is on record. Raises `OSError` when the record has stopped."""
        ...
