"""A step's text is what an error and a log line show: it names the object."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from netns import steps
from netns.state import Neighbour, Route, RouteKind, RoutingRule, Side, Table, Uplink

ADDRESS = IPv4Interface("198.18.83.2/30")
LOCAL = Route(IPv4Network("172.31.0.0/24"), "lo", RouteKind.LOCAL)


@pytest.mark.parametrize(
    ("step", "names"),
    [
        (steps.CreateNamespace("egress"), ["egress"]),
        (steps.SetSysctl(Side.GATEWAY, "net/ipv4/ip_forward", "0"), ["net.ipv4.ip_forward=0", "gateway"]),
        (steps.RemoveLink(Side.OUTSIDE, "up-egress"), ["up-egress", "outside"]),
        (steps.CreateUplink(Uplink("uplink", "up-egress", "")), ["uplink", "up-egress"]),
        (steps.SetUp(Side.GATEWAY, "t-1"), ["t-1"]),
        (steps.AddAddress(Side.GATEWAY, "uplink", ADDRESS), ["uplink", "198.18.83.2/30"]),
        (steps.RemoveAddress(Side.GATEWAY, "uplink", ADDRESS), ["uplink", "198.18.83.2/30"]),
        (steps.AddRoute(LOCAL), ["local", "172.31.0.0/24", "lo"]),
        (steps.RemoveRoute(LOCAL), ["local", "172.31.0.0/24", "lo"]),
        (steps.AddRule(RoutingRule(101, 100, 1, 1)), ["mark 1/1", "100"]),
        (
            steps.SetNeighbour(Neighbour("t-1", IPv4Address("172.31.0.2"), "02:00:00:00:00:01")),
            ["172.31.0.2", "t-1"],
        ),
        (steps.ReplaceTable(Side.GATEWAY, Table("inet", "egress", "", "")), ["inet egress"]),
        (steps.AcceptInDockerUser(("-i", "up-egress")), ["DOCKER-USER", "-i up-egress"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_step_names_its_object(step, names):
    assert all(name in str(step) for name in names)
