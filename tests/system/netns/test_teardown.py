"""On a host: NAT for the uplink alone, nothing let in, Docker's chain used and left as it was.

The "host" is a namespace of its own, with Docker's chains as dockerd makes them, so that no rule of the real
host is touched.
"""

import socket
from pathlib import Path

import pytest

from appliance.privilege import owning_files_as
from appliance.settings import Settings
from netns import namespaces, nft
from netns.kernel import Kernel
from netns.teardown import teardown

pytestmark = pytest.mark.system

PUBLIC, HOST_ON_INTERNET = "93.184.216.34", "100.99.1.2"


@pytest.fixture
def settings(rig, tmp_path):
    return Settings.model_validate(
        {
            "instance": f"nh{rig.tag}",
            "docker": {"socket": str(tmp_path / "no.sock"), "plugin_dir": str(tmp_path)},
        }
    )


@pytest.fixture
def on_host(host, settings):
    with namespaces.entered(host):
        kernel = Kernel(settings, lambda: ())
        try:
            kernel.start()
            yield kernel
        finally:
            kernel.close()
            teardown(settings)


def docker_user(rig, host):
    return rig.run("ip", "netns", "exec", host, "iptables", "-S", "DOCKER-USER").splitlines()


def connect(namespace, host, port, uid=0, wait=3.0):
    with namespaces.entered(namespace), owning_files_as(uid):
        opened = socket.socket()
    with opened:
        opened.settimeout(wait)
        opened.connect((host, port))
        return opened.recv(100)


def test_the_gateway_reaches_the_public_through_the_hosts_nat(rig, host, settings, on_host):
    assert connect(settings.namespace, PUBLIC, 8080, settings.uids.gateway) == b'"canary"'
    assert rig.canary.seen[0][2][0] == HOST_ON_INTERNET


def test_what_docker_drops_needs_our_two_rules(rig, host, settings, on_host):
    """The control of the test above: without them Docker's policy drops the same connection."""
    rig.run("ip", "netns", "exec", host, "iptables", "-F", "DOCKER-USER")
    with pytest.raises(OSError):
        connect(settings.namespace, PUBLIC, 8080, settings.uids.gateway, wait=0.4)
    assert len(on_host.converge().steps) == 2
    assert connect(settings.namespace, PUBLIC, 8080, settings.uids.gateway) == b'"canary"'


def test_applying_twice_adds_no_second_rule(rig, host, settings, on_host):
    again = Kernel(settings, lambda: ())
    assert again.start().steps == ()
    again.close()
    ours = [rule for rule in docker_user(rig, host) if "egress-appliance" in rule]
    assert len(ours) == 2


def test_the_host_itself_is_not_reached_by_the_uplink(rig, host, settings, on_host):
    with namespaces.entered(host), socket.socket() as listening:
        listening.bind(("198.18.83.1", 9999))
        listening.listen()
        with namespaces.entered(settings.namespace):
            nft.change("flush ruleset\n")  # the worst case: our own namespace no longer holds anything back
        with pytest.raises(OSError):
            connect(settings.namespace, "198.18.83.1", 9999, wait=0.4)
        nft.delete_table("ip", f"{settings.instance}_host")
        listening.settimeout(3)
        with namespaces.entered(settings.namespace), socket.socket() as control:
            control.settimeout(3)
            control.connect(("198.18.83.1", 9999))


def test_only_the_gateways_own_address_is_forwarded(rig, host, settings, on_host):
    with namespaces.entered(settings.namespace):
        nft.change("flush ruleset\n")
    rig.run("ip", "-n", settings.namespace, "address", "add", "172.31.0.9/32", "dev", "lo")
    with namespaces.entered(settings.namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as spoofing:
        spoofing.bind(("172.31.0.9", 0))
        spoofing.sendto(b"x", (PUBLIC, 8080))
    assert connect(settings.namespace, PUBLIC, 8080) == b'"canary"'
    assert [kind for kind, *_ in rig.canary.seen] == ["tcp"]


def test_teardown_leaves_the_host_as_it_was_and_can_be_repeated(rig, host, settings, on_host):
    settings.plugin_socket.touch()
    teardown(settings)
    teardown(settings)
    assert docker_user(rig, host) == ["-N DOCKER-USER", "-A DOCKER-USER -j RETURN"]
    assert "_host" not in rig.run("ip", "netns", "exec", host, "nft", "list", "tables")
    links = rig.run("ip", "-n", host, "-br", "link").splitlines()
    assert {line.split()[0].split("@")[0] for line in links} == {"lo", "eth0"}
    assert not namespaces.path(settings.namespace).exists()
    assert not settings.plugin_socket.exists()


def test_an_unrelated_link_of_our_name_is_refused_not_taken(rig, host, settings, tmp_path):
    from netns.plumbing import PlumbingError

    rig.run("ip", "-n", host, "link", "add", f"up-{settings.instance}", "type", "bridge")
    rig.run("ip", "-n", host, "link", "set", f"up-{settings.instance}", "alias", "somebody's bridge")
    with namespaces.entered(host):
        kernel = Kernel(settings, lambda: ())
        try:
            with pytest.raises(PlumbingError, match="is not ours"):
                kernel.start()
        finally:
            kernel.close()
            teardown(settings)
    assert f"up-{settings.instance}" in rig.run("ip", "-n", host, "-br", "link")


def test_in_a_lab_teardown_takes_the_containers_links_along(rig, kernel, container):
    teardown(rig.settings)
    teardown(rig.settings)
    assert not namespaces.path(rig.settings.namespace).exists()
    assert rig.settings.instance not in rig.run("ip", "-n", rig.outside, "link")
    with namespaces.entered(container.namespace):
        assert "eth0" not in Path("/proc/thread-self/net/dev").read_text()
