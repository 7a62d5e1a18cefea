from __future__ import annotations

import re
from pathlib import Path

import pytest

import appliance.verify.live as package
from appliance.addresses import classify
from appliance.names import parse_host
from appliance.settings import Settings
from appliance.verify.case import Image, Layer, Output, Seat
from appliance.verify.live import world
from appliance.verify.live.containers import Engine
from appliance.verify.live.ground import GroundError
from appliance.verify.live.world import CANARIES, LiveWorld, targets

OWN = "198.18.83.2"


@pytest.fixture
def live() -> LiveWorld:
    engine = Engine(Path("/nowhere"), "egress", "image", lambda _network: [])
    return LiveWorld(Settings(), engine, "acme", None, CANARIES)


def test_no_canary_is_public_and_no_name_is_anybodys() -> None:
    made = targets(CANARIES, "0123")
    for address in (*CANARIES, made.public_6):
        assert not classify(parse_host(address if ":" not in address else f"[{address}]")).is_public  # type: ignore[arg-type]
    for site in (made.www, made.other, made.liar):
        assert site.name.endswith(".verify-0123.invalid")
    assert made.leaks.endswith(".invalid")


def test_two_addresses_do_for_all() -> None:
    made = targets(CANARIES[:2], "0123")
    assert {made.private, made.metadata, made.literal, made.www.address} == set(CANARIES[:2])


def test_what_would_need_a_trial_is_not_to_be_had(live: LiveWorld) -> None:
    for asked in (
        lambda: live.egress("policy", "reload"),
        lambda: live.in_gateway("nft", "flush", "ruleset"),
        lambda: live.without("netd"),
        lambda: live.at(Layer.SQUID),
        lambda: live.server("lister"),
        lambda: live.run("reader", ("true",), image=Image.NODE),
        live.settle,
    ):
        with pytest.raises((GroundError, OSError)):
            asked()


def test_a_taken_process_has_its_uid_and_nothing_else(
    live: LiveWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(world.containers, "run", lambda words, **_more: ran.append(tuple(words)))
    live.run_as(Seat.RESOLVER, ("true",))
    (words,) = ran
    assert words[:3] == ("nsenter", "--net=/run/netns/egress", "--")
    assert {"setpriv", "64102", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"} <= set(words)


def test_nothing_of_it_comes_from_the_tests() -> None:
    """It works from an installed package."""
    for file in Path(package.__path__[0]).glob("*.py"):
        assert not re.search(r"^\s*(from|import) tests", file.read_text(), re.MULTILINE), file.name


class Busy:
    """A container whose tenant is over a limit for some time."""

    alive = True

    def __init__(self, times: int) -> None:
        self.times = times

    def run(self, _command: tuple[str, ...]) -> Output:
        self.times -= 1
        return Output(0, "429 requests-per-second-exceeded" if self.times >= 0 else "403 host-is-address")


def test_a_tenant_over_its_own_limits_is_asked_again_and_never_judged(
    live: LiveWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.time, "sleep", lambda _seconds: None)
    live._residents["reader"] = Busy(2)  # type: ignore[assignment]
    assert live.run("reader", ("true",)).text == "403 host-is-address"
    live._residents["reader"] = Busy(99)  # type: ignore[assignment]
    with pytest.raises(GroundError, match="own limits"):
        live.run("lister", ("true",))
