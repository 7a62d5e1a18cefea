"""Life of an endpoint: create, join, leave, delete; refused, repeated, out of order."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from driver_fakes import ENDPOINT, NET, OTHER_NET, FakeEngine, FakePlumbing, FakeSandboxes, FakeSwitch, run

from netns.driver import messages
from netns.driver.facts import NetworkFact
from netns.driver.network_driver import NetworkDriver, derived_mac
from netns.driver.network_request import Surroundings
from netns.driver.refusal import DriverRefused
from netns.plumbing import Attachment

POOL = IPv4Network("172.20.0.0/16")
GATEWAY = IPv4Address("172.20.0.1")


class World:
    def __init__(self) -> None:
        self.plumbing = FakePlumbing()
        self.engine = FakeEngine()
        self.switch = FakeSwitch()
        self.sandboxes = FakeSandboxes()
        self.driver = NetworkDriver(self.plumbing, self.engine, self.switch, self.sandboxes, self.around)

    def around(self) -> Surroundings:
        return Surroundings(
            "egress", {"acme"}, "/t", self.plumbing.networks(), IPv4Network("198.18.83.0/30"), ()
        )

    def create_network(self, driver: str = "egress") -> None:
        """As dockerd makes one: it lists the network when it has our answer, with the driver's name as given."""
        run(
            self.driver.create_network(
                messages.CreateNetwork.model_validate(
                    {
                        "NetworkID": NET,
                        "Options": {messages.GENERIC_OPTIONS: {"tenant": "acme"}},
                        "IPv4Data": [{"Pool": str(POOL), "Gateway": f"{GATEWAY}/16"}],
                    }
                )
            )
        )
        self.engine.net = [NetworkFact(NET, "acme", driver, "acme", POOL, GATEWAY)]

    def create_endpoint(self, options: dict[str, Any] | None = None, **interface: str) -> dict[str, Any]:
        body = {
            "NetworkID": NET,
            "EndpointID": ENDPOINT,
            "Interface": {"Address": "172.20.0.2/16"} | interface,
            "Options": options,
        }
        return run(self.driver.create_endpoint(messages.CreateEndpoint.model_validate(body)))

    def join(self) -> dict[str, Any]:
        return run(self.driver.join(messages.Join(NetworkID=NET, EndpointID=ENDPOINT, SandboxKey="/run/x/y")))


REFERENCE = messages.EndpointReference(NetworkID=NET, EndpointID=ENDPOINT)


@pytest.fixture
def world() -> World:
    return World()


def test_a_container_is_wired(world: World) -> None:
    world.create_network()
    assert world.create_endpoint() == {"Interface": {"MacAddress": "02:42:ac:14:00:02"}}
    assert world.join() == {
        "InterfaceName": {"SrcName": "c-eeeeeeeeeeee", "DstPrefix": "eth"},
        "Gateway": "172.20.0.1",
        "DisableGatewayService": False,
    }
    link = world.plumbing.links[ENDPOINT]
    assert (link.tenant, link.address, link.mac) == ("acme", IPv4Address("172.20.0.2"), "02:42:ac:14:00:02")
    assert world.sandboxes.log == [("joined", ENDPOINT)]


def test_a_given_mac_is_kept(world: World) -> None:
    world.create_network()
    assert world.create_endpoint(MacAddress="02:00:00:00:00:09") == {}
    world.join()
    assert world.plumbing.links[ENDPOINT].mac == "02:00:00:00:00:09"


def test_derived_mac_is_unicast_and_local() -> None:
    first = int(derived_mac(IPv4Address("255.255.255.255"))[:2], 16)
    assert first & 1 == 0
    assert first & 2 == 2


@pytest.mark.parametrize(
    ("options", "interface", "said"),
    [
        ({messages.PORT_MAP: [{"Port": 80}]}, {}, "--publish"),
        (None, {"AddressIPv6": "fd00::2/64"}, "--ip6"),
        (None, {"MacAddress": "01:00:5e:00:00:01"}, "unicast MAC"),
        (None, {"MacAddress": "ff:ff:ff:ff:ff:ff"}, "unicast MAC"),
        (None, {"MacAddress": "x"}, "unicast MAC"),
        (None, {"Address": ""}, "no IPv4 address"),
        (None, {"Address": "10.9.9.9/16"}, "cannot be a container's address"),
        (None, {"Address": "172.20.0.1/16"}, "cannot be a container's address"),
        (None, {"Address": "172.20.255.255/16"}, "cannot be a container's address"),
    ],
)
def test_an_endpoint_is_refused(
    world: World, options: dict[str, Any] | None, interface: dict[str, str], said: str
) -> None:
    world.create_network()
    with pytest.raises(DriverRefused) as refused:
        world.create_endpoint(options, **interface)
    assert said in str(refused.value)
    assert "ENDPOINT" not in world.plumbing.links


def test_exposed_ports_of_an_image_are_only_words(world: World) -> None:
    world.create_network()
    assert world.create_endpoint({"com.docker.network.endpoint.exposedports": [{"Proto": 6, "Port": 80}]})


def test_no_network_without_admission(world: World) -> None:
    world.switch.on = False
    with pytest.raises(DriverRefused):
        world.create_network()
    assert world.plumbing.net == {}


def test_no_link_when_admission_was_switched_off_later(world: World) -> None:
    world.create_network()
    world.create_endpoint()
    world.switch.on = False
    with pytest.raises(DriverRefused):
        world.join()
    assert world.plumbing.links == {}


def test_an_unsealed_sandbox_gets_no_link(world: World) -> None:
    """B9: when the seal cannot be put in place, the link is taken away again."""
    world.create_network()
    world.create_endpoint()
    world.sandboxes.refuse = "egress: cannot seal"
    with pytest.raises(DriverRefused, match="cannot seal"):
        world.join()
    assert world.plumbing.links == {}


def test_join_of_an_endpoint_that_nobody_created(world: World) -> None:
    world.create_network()
    with pytest.raises(DriverRefused, match="start the container again"):
        world.join()


def test_an_address_that_docker_gives_again_is_taken_from_the_one_who_had_it(world: World) -> None:
    """After `kill -9` of dockerd nobody tells us to leave, and the address comes back with a new endpoint."""
    world.create_network()
    stale = Attachment("f" * 64, NET, "acme", IPv4Address("172.20.0.2"), "02:42:ac:14:00:02")
    other = Attachment("9" * 64, NET, "acme", IPv4Address("172.20.0.3"), "02:42:ac:14:00:03")
    world.plumbing.links = {link.endpoint: link for link in (stale, other)}
    world.create_endpoint()
    world.join()
    assert set(world.plumbing.links) == {ENDPOINT, other.endpoint}
    assert ("left", stale.endpoint) in world.sandboxes.log


def test_plumbing_says_no(world: World) -> None:
    world.create_network()
    world.create_endpoint()
    world.plumbing.broken = "no gateway worker runs; run: egress up"
    with pytest.raises(DriverRefused, match="egress: no gateway worker runs"):
        world.join()


def test_leave_and_delete_come_twice_or_for_nothing(world: World) -> None:
    world.create_network()
    world.create_endpoint()
    world.join()
    for _ in range(2):
        assert run(world.driver.leave(REFERENCE)) == {}
        assert run(world.driver.delete_endpoint(REFERENCE)) == {}
        assert run(world.driver.delete_network(messages.DeleteNetwork(NetworkID=NET))) == {}
    assert world.plumbing.links == {}
    assert world.plumbing.net == {}


def test_after_a_restart_networks_come_back_from_docker(world: World) -> None:
    world.engine.net = [
        NetworkFact(NET, "acme", "egress", "acme", POOL, GATEWAY),
        NetworkFact(OTHER_NET, "web", "bridge", "", IPv4Network("172.17.0.0/16"), None),
    ]
    world.create_endpoint()
    world.join()
    assert set(world.plumbing.net) == {NET}


def test_networks_that_docker_no_longer_has_are_forgotten(world: World) -> None:
    world.create_network()
    world.engine.net = []
    run(world.driver.restore())
    assert world.plumbing.net == {}


def test_a_network_made_while_docker_is_asked_is_not_taken_for_a_stale_one(world: World) -> None:
    listing = world.engine.networks

    async def made_meanwhile() -> tuple[NetworkFact, ...]:
        found = await listing()
        world.create_network()
        return found

    world.engine.networks = made_meanwhile  # type: ignore[method-assign]
    run(world.driver.restore())
    assert set(world.plumbing.net) == {NET}


def test_an_unknown_network_while_dockerd_is_silent(world: World) -> None:
    world.engine.silent = True
    with pytest.raises(DriverRefused, match="is dockerd running"):
        world.create_endpoint()


@pytest.mark.parametrize("driver", ["./egress", "x/../egress", "linked"])
def test_a_network_of_our_driver_by_another_name_gets_no_endpoint(world: World, driver: str) -> None:
    """CreateNetwork does not tell the name by which dockerd has found us; its list does, once we have answered."""
    world.create_network(driver)
    for _ in range(2):
        with pytest.raises(DriverRefused, match=r"no network aaaaaaaaaaaa of driver egress; remove it"):
            world.create_endpoint()
    with pytest.raises(DriverRefused, match="of driver egress"):
        world.join()
    assert set(world.plumbing.net) == {NET}, "accepted it stays, so its containers are judged as ours"


def test_a_network_is_confirmed_once(world: World) -> None:
    world.create_network()
    world.create_endpoint()
    world.join()
    run(world.driver.leave(REFERENCE))
    world.create_endpoint()
    world.join()
    assert world.engine.asked == ["networks"]


@pytest.mark.parametrize("silent", [True, False])
def test_a_network_that_docker_does_not_speak_of_gets_no_endpoint_yet(world: World, *, silent: bool) -> None:
    world.create_network()
    listed, world.engine.net, world.engine.silent = world.engine.net, [], silent
    with pytest.raises(DriverRefused, match="is dockerd running" if silent else "of driver egress"):
        world.create_endpoint()
    world.engine.net, world.engine.silent = listed, False
    world.create_endpoint()


def test_after_a_restart_a_network_that_was_accepted_needs_no_word_of_docker(world: World) -> None:
    """dockerd wires containers with a restart policy before it answers a question."""
    world.create_network()
    world.engine.silent = True
    world.driver = NetworkDriver(world.plumbing, world.engine, world.switch, world.sandboxes, world.around)
    world.create_endpoint()
    world.join()


@pytest.mark.parametrize("kept", [True, False])
def test_after_a_restart_one_by_another_name_is_taken_over_and_gets_no_endpoint(
    world: World, *, kept: bool
) -> None:
    """Its links are judged as those of any network of ours; see `service.take_over`."""
    world.create_network("./egress")
    if not kept:
        world.plumbing.net.clear()
    world.driver = NetworkDriver(world.plumbing, world.engine, world.switch, world.sandboxes, world.around)
    run(world.driver.restore())
    assert set(world.plumbing.net) == {NET}
    with pytest.raises(DriverRefused, match="of driver egress"):
        world.create_endpoint()
