from __future__ import annotations

import re
from pathlib import Path

import pytest

import appliance.verify.live as package
from appliance.addresses import classify
from appliance.names import parse_host
from appliance.settings import Settings
from appliance.verify.case import Image, Layer, Origin, Outcome, Seat
from appliance.verify.live import packets, world
from appliance.verify.live.canaries import UPLINK, Visit
from appliance.verify.live.containers import Engine
from appliance.verify.live.ground import CONTROL, GroundError
from appliance.verify.live.packets import IPV4, Packet
from appliance.verify.live.world import CANARIES, LiveWorld, targets

OWN = "198.18.83.2"


@pytest.fixture
def live() -> LiveWorld:
    engine = Engine(Path("/nowhere"), "egress", "image", lambda _network: [])
    return LiveWorld(Settings(), engine, "acme", None, CANARIES)


def packet(data: bytes, link: str, *, control: bool = False) -> Packet:
    found = packets.read(data, IPV4, link, control=control)
    assert found is not None
    return found


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


def test_a_packet_on_the_uplink_is_the_workloads_unless_the_control_wrote_it(live: LiveWorld) -> None:
    evidence = live.packets(CANARIES[0], "tcp", 80)
    syn = packets.opening(CANARIES[0], 80, OWN)
    live.witness.packets.append(packet(syn, UPLINK))
    assert (evidence.hits(Origin.WORKLOAD), evidence.hits(Origin.CONTROL)) == (1, 0)
    live.witness.packets.append(packet(packets.opening(CANARIES[0], 81, OWN), UPLINK))
    live.witness.packets.append(packet(packets.opening(CANARIES[1], 80, OWN), UPLINK))
    assert evidence.hits(Origin.WORKLOAD) == 1


def test_the_control_counts_when_both_ends_saw_it(live: LiveWorld) -> None:
    evidence = live.packets(CANARIES[0], "tcp", 80)
    syn = packets.opening(CANARIES[0], 80, OWN)
    live.witness.packets.append(packet(syn, CONTROL, control=True))
    assert evidence.hits(Origin.CONTROL) == 0
    live.witness.packets.append(packet(syn, UPLINK, control=True))
    assert (evidence.hits(Origin.CONTROL), evidence.hits(Origin.WORKLOAD)) == (1, 0)


def test_a_name_in_a_packet_that_leaves_is_a_question(live: LiveWorld) -> None:
    name = f"b3.{live.targets.leaks}"
    evidence = live.queries(name)
    live.witness.packets.append(packet(packets.as_sent(("dns", "9.9.9.9", name), OWN), UPLINK))
    live.witness.packets.append(packet(packets.as_sent(("dns", "9.9.9.9", "www.example.com"), OWN), UPLINK))
    assert (evidence.hits(Origin.WORKLOAD), evidence.hits(Origin.CONTROL)) == (1, 0)


def test_a_request_is_one_that_came_or_whatever_left_for_its_site(live: LiveWorld) -> None:
    www = live.targets.www
    evidence = live.requests(www.name, "GET", "/canary/x*")
    live.witness.visits.append(Visit(False, www.address, 80, "GET", www.name, "/canary/xy?z"))
    live.witness.visits.append(Visit(False, www.address, 80, "POST", www.name, "/canary/x"))
    assert evidence.hits(Origin.WORKLOAD) == 1
    live.witness.packets.append(packet(packets.as_sent(("dns", "9.9.9.9", www.name), OWN), UPLINK))
    live.witness.packets.append(packet(packets.opening(www.address, 443, OWN), UPLINK))
    assert evidence.hits(Origin.WORKLOAD) == 3
    assert evidence.hits(Origin.CONTROL) == 0


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
    assert Outcome.REFUSED
