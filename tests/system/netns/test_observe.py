"""netd keeps no file: what it knew, the kernel tells its successor."""

import pytest

pytestmark = pytest.mark.system


def test_killed_netd_finds_everything_in_the_kernel(rig, kernel, container):
    successor = rig.kernel()
    assert successor.start().steps == ()
    assert successor.networks == kernel.networks
    assert successor.links == kernel.links
    assert container.tcp("93.184.216.34", 80)["destination"] == ["93.184.216.34", 80]


def test_a_flush_while_netd_is_dead_costs_no_container_its_link(rig, kernel, container):
    rig.in_gateway("nft", "flush", "ruleset")
    successor = rig.kernel()
    assert successor.start().steps
    successor.add_network(kernel.networks[0])
    assert successor.links == kernel.links
    assert container.tcp("93.184.216.34", 80)["destination"] == ["93.184.216.34", 80]
