"""A world of numbers: what the control and the workload leave is what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from appliance.verify.case import Canary, Case, Image, Layer, Origin, Outcome, Output, Seat
from appliance.verify.world import Account, Accounts, Site, Targets, UplinkProxy


class Counts:
    """Evidence that a test moves."""

    def __init__(self) -> None:
        self.of = {Origin.CONTROL: 0, Origin.WORKLOAD: 0}

    def hits(self, origin: Origin) -> int:
        return self.of[origin]


class FakeSetup:
    """Another appliance that nobody puts up."""

    proxy = UplinkProxy("10.8.0.6", 3128, lambda _authority: Counts(), lambda _authority: True)

    def behind_proxy(self) -> Any:
        raise NotImplementedError

    def powerless(self, capability: str) -> Any:
        raise NotImplementedError


TARGETS = Targets(
    www=Site("www.example.com", "93.184.215.10"),
    other=Site("other.example.com", "93.184.215.11"),
    expired=Site("expired.example.net", "93.184.215.31"),
    self_signed=Site("self-signed.example.net", "93.184.215.32"),
    wrong_host=Site("wrong-host.example.net", "93.184.215.33"),
    liar=Site("liar.example.net", "93.184.215.40"),
    old_tls=Site("old-tls.example.net", "93.184.215.41"),
    asks_who=Site("asks-who.example.net", "93.184.215.42"),
    private="10.0.1.5",
    metadata="169.254.169.254",
    literal="45.33.32.156",
    decoy="45.33.32.99",
    public_resolver="8.8.8.8",
    public_6="2606:2800:220:1:248:1893:25c8:1946",
    zone="example.net",
    leaks="exfil.example.com",
    setup=FakeSetup(),
    accounts=Accounts(
        Account("mirror", Site("reflector.example.com", "93.184.215.68"), "Zr8-of-mirror/1+q"),
        Account("chat", Site("api.openai.com", "93.184.215.60"), "Zr8-of-chat/2+q"),
        Account("theirs", Site("reflector.example.net", "93.184.215.69"), "Zr8-of-theirs/3+q"),
        "/run/broker-calls.sock",
        "/run/broker-dials.sock",
    ),
)


class FakeWorld:
    """As far as the battery uses it; anything else is evidence that nobody ever leaves."""

    def __init__(self, workload: Callable[[], Output] = lambda: Output(0, "")) -> None:
        self.targets = TARGETS
        self.instance = "egressfake"
        self.tenants = {"reader": "acme", "lister": "globex"}
        self.workload = workload
        self.ran: list[tuple[Any, ...]] = []
        self.at_layer: list[Layer] = []
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        return lambda *_words, **_options: Counts()

    def settle(self) -> None:
        if self.broken:
            raise OSError("the record has stopped")

    def run(
        self, tenant: str, command: Sequence[str], *, image: Image = Image.PYTHON, options: Sequence[str] = ()
    ) -> Output:
        self.ran.append((tenant, tuple(command), image))
        return self.workload()

    def run_as(self, seat: Seat, command: Sequence[str], tenant: str = "reader") -> Output:
        self.ran.append((seat, tuple(command), tenant))
        return self.workload()

    @contextmanager
    def at(self, layer: Layer) -> Iterator[None]:
        if self.broken:
            raise RuntimeError("no such layer")
        self.at_layer.append(layer)
        yield


def canary(counts: Counts, *, answers: bool = True, records: bool = True) -> Canary:
    """A target that the control reaches as a test says."""

    def touch() -> bool:
        counts.of[Origin.CONTROL] += records
        return answers

    return Canary("it", counts, touch)


def case(*canaries: Canary, **fields: Any) -> Case:
    """A refusal, unless `fields` say otherwise."""
    wanted = {"outcome": Outcome.REFUSED, "stimulus": ("true",), **fields}
    return Case(
        wanted.pop("id", "A1-x"), "a title", wanted.pop("outcome"), wanted.pop("stimulus"), canaries, **wanted
    )
