"""Removes an instance: namespace, links, the host's table, our rules in Docker's chain, the plugin socket.

What an operator said of the fallback ends with it.
"""

from __future__ import annotations

from pyroute2.netlink.exceptions import NetlinkError

from appliance.settings import Settings
from netns import hostrules, namespaces, nft
from netns.apply import reason
from netns.fallback_mode import ModeFile
from netns.naming import uplink_peer
from netns.observe import has_docker_user, iptables, links
from netns.plan import uplink_alias
from netns.plumbing import PlumbingError
from netns.rtnetlink import Sockets, delete_link
from netns.state import Side


def teardown(settings: Settings) -> None:
    """Remove everything that `netns.kernel` made; what is absent is no error. Raises `PlumbingError`.

    `net.ipv4.ip_forward` of the host stays as it is: Docker and others rely on it too.
    """
    sockets = Sockets(settings.namespace, settings.uplink.peer_namespace)
    try:
        _links(settings, sockets)
        namespaces.remove(settings.namespace)
        settings.plugin_socket.unlink(missing_ok=True)
        ModeFile(settings.run_dir).forget()
        if settings.uplink.peer_namespace is None:
            _host(settings)
    except (NetlinkError, OSError, nft.NftError) as error:
        raise PlumbingError(f"cannot remove instance {settings.instance}: {reason(error)}") from error
    finally:
        sockets.close()


def _links(settings: Settings, sockets: Sockets) -> None:
    # A namespace lives on, with all links, while a process is in it: its links go first, by name.
    if sockets.exists(Side.GATEWAY):
        gateway = sockets.of(Side.GATEWAY)
        for link in links(gateway).values():
            if link.name.startswith("t-") or link.name == settings.uplink_interface:
                delete_link(gateway, link.index)
    if sockets.exists(Side.OUTSIDE):
        outside = sockets.of(Side.OUTSIDE)
        peer = links(outside).get(uplink_peer(settings.instance))
        if peer is not None and peer.alias == uplink_alias(settings):
            delete_link(outside, peer.index)


def _host(settings: Settings) -> None:
    nft.delete_table("ip", hostrules.table_name(settings.instance))
    if not has_docker_user():
        return
    for rule in hostrules.docker_user_rules(settings.instance, uplink_peer(settings.instance)):
        while iptables("-C", "DOCKER-USER", *rule).returncode == 0:
            done = iptables("-D", "DOCKER-USER", *rule)
            if done.returncode:
                raise OSError(f"iptables: {done.stderr.strip()}")
