"""Containers and networks come and go; what contradicts is refused; what fails leaves nothing."""

import json

import pytest

from netns import namespaces, nft
from netns.plumbing import PlumbingError

pytestmark = pytest.mark.system


def test_a_container_that_died_is_noticed(rig, kernel, container):
    rig.in_gateway("ip", "link", "del", container.live.interface)
    done = kernel.converge()
    assert done.vanished == (container.attachment.endpoint,)
    assert kernel.links == ()
    assert kernel.converge().steps == ()


def test_drift_is_told_and_nothing_is_changed(rig, kernel, container):
    assert kernel.drift() == ()
    rig.in_gateway("ip", "link", "set", container.live.interface, "mtu", "1400")
    rig.in_gateway("ip", "rule", "del", "fwmark", "1/1")
    before = rig.in_gateway("ip", "rule")
    steps = kernel.drift()
    assert any("rule" in str(step) for step in steps)
    assert rig.in_gateway("ip", "rule") == before
    assert kernel.drift() == steps
    kernel.converge()
    assert kernel.drift() == ()


def test_drift_leaves_the_end_of_a_dead_container_to_the_comparison(rig, kernel, container):
    rig.in_gateway("ip", "link", "del", container.live.interface)
    kernel.drift()
    assert len(kernel.links) == 1
    assert kernel.converge().vanished == (container.attachment.endpoint,)


def test_attach_is_idempotent_and_detach_leaves_nothing(rig, kernel):
    network = rig.network()
    kernel.add_network(network)
    baseline = snapshot(rig)
    attachment = rig.attachment(network)
    live = kernel.attach(attachment)
    assert kernel.attach(attachment) == live
    assert kernel.converge().steps == ()
    assert kernel.detach(attachment.endpoint)
    assert not kernel.detach(attachment.endpoint)
    assert snapshot(rig) == baseline
    assert kernel.converge().steps == ()


def snapshot(rig):
    with namespaces.entered(rig.settings.namespace):
        table = nft.listing("inet", rig.settings.instance)
    routes = json.loads(rig.in_gateway("ip", "-j", "route", "show", "table", "all"))
    links = [link["ifname"] for link in json.loads(rig.in_gateway("ip", "-j", "link"))]
    return table, sorted(map(str, routes)), sorted(links)


def test_a_failed_attach_leaves_nothing(rig, kernel, monkeypatch):
    network = rig.network()
    kernel.add_network(network)
    baseline = snapshot(rig)
    monkeypatch.setattr("netns.kernel.alias", lambda _: "x" * 300)
    with pytest.raises(PlumbingError, match="cannot make link"):
        kernel.attach(rig.attachment(network))
    assert snapshot(rig) == baseline
    assert kernel.links == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, a: {"network": "f" * 64}, "unknown"),
        (lambda n, a: {"tenant": "globex"}, "tenant acme's"),
        (lambda n, a: {"address": n.gateway}, "no container address"),
        (lambda n, a: {"address": n.pool[0] - 1}, "no container address"),
        (lambda n, a: {"mac": "03:00:00:00:00:01"}, "no MAC"),
        (lambda n, a: {"endpoint": "e" * 64}, "is endpoint"),
    ],
)
def test_what_contradicts_is_refused(rig, kernel, change, message):
    from dataclasses import replace

    network = rig.network()
    kernel.add_network(network)
    attachment = rig.attachment(network)
    kernel.attach(attachment)
    other = rig.attachment(network, 3)
    changed = change(network, attachment)
    asked = replace(attachment if "endpoint" in changed else other, **changed)
    with pytest.raises(PlumbingError, match=message):
        kernel.attach(asked)


def test_networks_are_accepted_once_without_overlap_and_forgotten_when_empty(rig, kernel):
    network = rig.network()
    kernel.add_network(network)
    kernel.add_network(network)
    clash = rig.network("globex")
    with pytest.raises(PlumbingError, match="overlaps"):
        kernel.add_network(clash)
    attachment = rig.attachment(network)
    kernel.attach(attachment)
    with pytest.raises(PlumbingError, match="attached"):
        kernel.remove_network(network.id)
    kernel.detach(attachment.endpoint)
    kernel.remove_network(network.id)
    kernel.remove_network(network.id)
    assert kernel.networks == ()
    assert kernel.converge().steps == ()


def test_fifty_containers_come_and_go_without_a_trace(rig, kernel):
    """Measured too: the kernel's share of `docker run`."""
    from time import perf_counter

    network = rig.network()
    kernel.add_network(network)
    baseline = snapshot(rig)
    attachments = [rig.attachment(network, host) for host in range(2, 52)]
    begun = perf_counter()
    for attachment in attachments:
        kernel.attach(attachment)
    each = (perf_counter() - begun) / len(attachments)
    print(f"attach: {each * 1000:.1f} ms each")
    assert kernel.converge().steps == ()
    for attachment in attachments:
        kernel.detach(attachment.endpoint)
    assert snapshot(rig) == baseline
    assert kernel.converge().steps == ()
    assert each < 0.5
