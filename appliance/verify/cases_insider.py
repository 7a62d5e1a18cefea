"""Section H, from within: a worker that was taken over, and others of the host, speak to the broker's sockets.

What the gateway attests the broker compares with netd's word and with its own policy; whom it is connected to it
asks the kernel. See `cases_broker.py` for the rest of the section.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from appliance.verify import insider
from appliance.verify.attempts import get
from appliance.verify.case import Case, Layer, Outcome, Output, Seat
from appliance.verify.cases_broker import called
from appliance.verify.parts import requested
from appliance.verify.tenants import told
from appliance.verify.world import Accounts, World

REFUSED, REACHES = Outcome.REFUSED, Outcome.REACHES
KERNEL = frozenset({Layer.KERNEL})
REACHED = ("REACHED",)
RESTING = 6
"""Calls that close the connection which they use: no connection of an earlier case is left to be used again."""
INSIDER = Path(insider.__file__).read_text(encoding="utf-8")


def rows(world: World) -> list[Case]:
    """None where there is no account with a secret of ours."""
    accounts = world.targets.accounts
    if accounts is None:
        return []
    mirror, theirs = accounts.mirror, accounts.theirs
    elsewhere = get(world.targets.www.name, "/canary/insider").decode()
    at_theirs = get(theirs.site.name, "/insider/plain").decode()

    def words(inner: World) -> dict[str, dict[str, object]]:
        lister = inner.tenants["lister"]
        return {
            "container that is not there": {"endpoint": "0" * 64},
            "another address": {"source": "10.9.8.7:40000"},
            "another tenant's link": {"tenant": lister, "account": theirs.name, "request": at_theirs},
            "another tenant's account": {"account": theirs.name, "request": at_theirs},
            "an account for another host": {"request": elsewhere},
            "another port": {"port": 8443},
            "no account of that name": {"account": "nobody"},
        }

    def calls(inner: World) -> Output:
        return inner.run_as(Seat.GATEWAY, _insider("call", inner, accounts, words=words(inner)))

    def works(inner: World) -> Output:
        return inner.run_as(Seat.GATEWAY, _insider("call", inner, accounts, words={"as a worker": {}}))

    def lies(inner: World) -> Output:
        lie = secrets.token_hex(32)
        said = inner.run_as(
            Seat.GATEWAY, _insider("call", inner, accounts, words={"lie": {"container": lie}})
        )
        log = inner.egress("--json", "log", "--kind", "call", "-n", "100").text
        told = "NOT ON RECORD" if "/insider/plain" not in log else "LIED" if lie in log else "as netd says"
        return Output(said.status, f"{said.text}on record: {told}\n")

    def sealed(inner: World) -> Output:
        before = _decryptions(inner)
        said = calls(inner)
        after = _decryptions(inner)
        return Output(
            said.status, f"{said.text}decrypted: {before}, {after} {'DECRYPTED' if before != after else ''}\n"
        )

    def as_root(inner: World) -> Output:
        return inner.in_gateway(*_insider("call", inner, accounts, words={"root": {}}))

    def as_resolver(inner: World) -> Output:
        return inner.run_as(Seat.RESOLVER, _insider("call", inner, accounts, words={"resolver": {}}))

    def as_squid(inner: World) -> Output:
        return inner.run_as(Seat.SQUID, _insider("call", inner, accounts, words={"squid": {}}))

    def dials(**how: object) -> Any:
        closing = [get(mirror.site.name, "/works/close").decode()] * RESTING
        return lambda inner: inner.run_as(
            Seat.GATEWAY, _insider("dial", inner, accounts, before=closing, **how)
        )

    address, private = mirror.site.address, world.targets.private
    canaries = (called(world, mirror, "/insider/*"), called(world, theirs, "/insider/*"),
                requested(world, world.targets.www, "/canary/insider"))  # fmt: skip

    def refused(identifier: str, title: str, stimulus: Any, seat: Seat = Seat.GATEWAY) -> Case:
        return Case(identifier, title, REFUSED, stimulus, canaries, forbid=REACHED, seat=seat, layers=KERNEL)

    def served(identifier: str, title: str, stimulus: Any) -> Case:
        return Case(identifier, title, REACHES, stimulus, canaries[:1], seat=Seat.GATEWAY, layers=KERNEL)

    who = "the process gateway, taken over"
    return [
        served("H10-works", f"{who}: a call for a container that is there is its business", works),
        served("H10-dials-work", f"{who}: so is dialling for the broker", dials(found=[address], lead=address)),
        Case("H10-record", f"{who}: it says that another container calls: the record has netd's word", REACHES, lies, canaries[:1],
             forbid=("LIED", "NOT ON RECORD"), seat=Seat.GATEWAY, layers=KERNEL),
        refused("H10-calls", f"{who}: calls for who is not there, or another's, or to another host", calls),
        Case("H10-sealed", f"{who}: for a call that is refused no secret is decrypted", REFUSED, sealed, canaries,
             forbid=(*REACHED, "DECRYPTED"), seat=Seat.GATEWAY, layers=KERNEL),
        refused("H10-dials-elsewhere", f"{who}: it connects the broker to somebody else than it said", dials(found=[address], lead=world.targets.literal, unheard=True)),
        refused("H10-finds-inward", f"{who}: it finds a private address for a provider", dials(found=[private], unwanted=True)),
        refused("H10-finds-mixed", f"{who}: or one among public ones", dials(found=[address, private], unwanted=True)),
        refused("H10-resolver", "the process resolver, taken over: a call", as_resolver, Seat.RESOLVER),
        refused("H10-squid", "the process squid, taken over: a call", as_squid, Seat.SQUID),
        refused("H10-root", "root, which may open the socket, and is no worker: a call", as_root),
    ]  # fmt: skip


def _decryptions(world: World) -> int:
    """How often the broker has opened a secret. Raises `OSError`."""
    return int(told(world.egress("--json", "vault", "status"))["decryptions"])


def _insider(way: str, world: World, accounts: Accounts, **further: object) -> tuple[str, ...]:
    """A way of `appliance.verify.insider`, for a container of the reader that is there. Raises `OSError`."""
    mirror = accounts.mirror
    address = world.server("reader").address
    listed = world.docker("ps", "-q", "--filter", f"network={world.tenants['reader']}").text.split()
    facts = json.loads(world.docker("inspect", *listed).text)
    found = [
        (each["Id"], link["EndpointID"])
        for each in facts
        for link in each["NetworkSettings"]["Networks"].values()
        if link["IPAddress"] == address
    ]
    if len(found) != 1:
        raise OSError(f"{len(found)} containers have the address {address}")
    ((container, endpoint),) = found
    word = {
        "request_id": f"verify-{secrets.token_hex(6)}", "tenant": world.tenants["reader"], "endpoint": endpoint,
        "container": container, "run": "", "source": f"{address}:40000", "worker": 0, "account": mirror.name,
        "generation": "verify", "port": 443, "withheld": "",
    }  # fmt: skip
    spec = {"calls": accounts.calls, "dials": accounts.dials, "word": word,
            "request": get(mirror.site.name, "/insider/plain").decode(), **further}  # fmt: skip
    return ("python3", "-c", INSIDER, way, json.dumps(spec))
