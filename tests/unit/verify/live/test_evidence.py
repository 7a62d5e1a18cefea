from __future__ import annotations

from pathlib import Path

import pytest

from appliance.settings import Settings
from appliance.verify.case import Origin
from appliance.verify.live import packets
from appliance.verify.live.canaries import UPLINK, Visit
from appliance.verify.live.containers import Engine
from appliance.verify.live.evidence import ResidentVisits
from appliance.verify.live.ground import CONTROL
from appliance.verify.live.packets import IPV4, Packet
from appliance.verify.live.world import CANARIES, LiveWorld

OWN = "198.18.83.2"


@pytest.fixture
def live() -> LiveWorld:
    engine = Engine(Path("/nowhere"), "egress", "image", lambda _network: [])
    return LiveWorld(Settings(), engine, "acme", None, CANARIES)


def packet(data: bytes, link: str, *, control: bool = False) -> Packet:
    found = packets.read(data, IPV4, link, control=control)
    assert found is not None
    return found


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


def test_a_neighbour_is_asked_by_the_control_from_inside() -> None:
    visits = [("172.30.0.2", "172.30.0.2"), ("172.30.0.1", "172.30.0.2")]
    evidence = ResidentVisits(visits)
    assert (evidence.hits(Origin.CONTROL), evidence.hits(Origin.WORKLOAD)) == (1, 1)
    visits.append(("172.30.0.1", "172.30.0.2"))
    assert evidence.hits(Origin.WORKLOAD) == 2


def test_at_the_host_a_connection_counts_and_a_packet_for_its_port(live: LiveWorld) -> None:
    live.witness.host_port = 40001
    live._host = {"172.17.0.1": "docker0"}
    evidence = live.packets("172.17.0.1", "tcp", 40001)
    live.witness.visits.append(Visit(True, "172.17.0.1", 40001))
    assert (evidence.hits(Origin.CONTROL), evidence.hits(Origin.WORKLOAD)) == (1, 0)
    live.witness.visits.append(Visit(False, "172.17.0.1", 40001))
    live.witness.visits.append(Visit(False, "172.17.0.2", 40001))
    live.witness.packets.append(packet(packets.opening("172.17.0.1", 40001, OWN), UPLINK))
    assert evidence.hits(Origin.WORKLOAD) == 2
