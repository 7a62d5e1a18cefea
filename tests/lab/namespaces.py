"""Make and remove the lab's network namespaces, and prove that they are closed."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import threading
from typing import Any

from tests.lab import internet

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(RuntimeError):
    """The lab cannot be put up; `str()` says which step failed."""


def run(*argv: str, check: bool = True, timeout: float = 30, stdin: str | None = None) -> str:
    """Standard output of a short command. Raises `LabError` with its standard error, or after `timeout`.

    Without `check` (used when cleaning up) it never raises, so that one thing that hangs keeps nothing else.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, input=stdin)
    except subprocess.TimeoutExpired:
        if check:
            raise LabError(f"{' '.join(argv)}: no answer within {timeout:.0f} s") from None
        return ""
    if check and done.returncode != 0:
        raise LabError(
            f"{' '.join(argv)}: status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout


def inside(namespace: str, *argv: str) -> tuple[str, ...]:
    """The command that runs `argv` in `namespace`."""
    return ("nsenter", f"--net={internet.namespace_path(namespace)}", *argv)


def socket_in(namespace: str, kind: socket.SocketKind) -> socket.socket:
    """An IPv4 socket that belongs to `namespace`. Raises `LabError`."""
    found: list[socket.socket | OSError] = []

    def open_there() -> None:  # setns(2) moves the calling thread alone, and this one ends at once
        with internet.namespace_path(namespace).open("rb") as place:
            if _libc.setns(place.fileno(), CLONE_NEWNET) != 0:
                found.append(OSError(ctypes.get_errno(), "setns"))
                return
        found.append(socket.socket(socket.AF_INET, kind))

    thread = threading.Thread(target=open_there)
    thread.start()
    thread.join()
    if not found or isinstance(found[0], OSError):
        raise LabError(f"no socket in {namespace}: {found}")
    return found[0]


def existing() -> list[str]:
    """Names of the lab's namespaces that exist."""
    listing = json.loads(run("ip", "-j", "netns", "list") or "[]")
    return [row["name"] for row in listing if row["name"].startswith(internet.PREFIX)]


def create() -> None:
    """Both namespaces and the link between them. Nothing here touches the host's own links or routes."""
    peer, control = internet.CONTROL_LINK, "link0"
    for name in (internet.INTERNET, internet.CONTROL):
        run("ip", "netns", "add", name)
    run("ip", "-n", internet.INTERNET, "link", "add", peer, "type", "veth", "peer", "name", control,
        "netns", internet.CONTROL)  # fmt: skip
    in_internet = f"""
        link set lo up
        addr add {internet.CONTROL_PEER}/30 dev {peer}
        addr add {internet.CONTROL_PEER_6}/64 dev {peer} nodad
        link set {peer} up
        route add local 0.0.0.0/0 dev lo table main
        -6 route add local ::/0 dev lo table main
    """
    in_control = f"""
        link set lo up
        addr add {internet.CONTROL_ADDRESS}/30 dev {control}
        addr add {internet.CONTROL_ADDRESS_6}/64 dev {control} nodad
        link set {control} up
        route add default via {internet.CONTROL_PEER}
        -6 route add default via {internet.CONTROL_PEER_6}
    """
    for name, lines in ((internet.INTERNET, in_internet), (internet.CONTROL, in_control)):
        for line in filter(None, map(str.strip, lines.splitlines())):
            run("ip", "-n", name, *line.split())
    settings = (
        "net.ipv4.ip_forward=0",
        "net.ipv6.conf.all.forwarding=0",
        "net.ipv6.ip_nonlocal_bind=1",  # bind(2) wants more than the local route that IPv4 is content with
        "net.ipv4.conf.all.rp_filter=0",
        "net.ipv4.conf.default.rp_filter=0",  # also for the uplink that the appliance moves in later
        "net.ipv4.icmp_ratelimit=0",
        "net.ipv4.ping_group_range=0 2147483647",  # as Docker sets it in containers
        "net.ipv4.icmp_echo_ignore_all=0",
    )
    for name in (internet.INTERNET, internet.CONTROL):
        run(*inside(name, "sysctl", "-qw", *settings))


def remove() -> None:
    """End every process inside the lab's namespaces, then the namespaces. Safe to repeat."""
    for name in existing():
        for pid in map(int, run("ip", "netns", "pids", name, check=False).split()):
            if pid != os.getpid():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        run("ip", "netns", "del", name, check=False)


def _links(namespace: str) -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = json.loads(run("ip", "-n", namespace, "-d", "-j", "link"))
    return links


def openings(namespace: str, allowed_peers: frozenset[str]) -> list[str]:
    """Every way out of `namespace` to anything but the namespaces `allowed_peers`; empty when it is closed.

    A link leads out when it is neither loopback nor a veth whose other end is in an allowed namespace. A route
    leads out when its device does, or when forwarding would carry packets between links.
    """
    ids = {
        row["nsid"]: row["name"]
        for row in json.loads(run("ip", "-n", namespace, "-j", "netns", "list-id") or "[]")
        if "name" in row
    }
    found = []
    for link in _links(namespace):
        kind = link.get("linkinfo", {}).get("info_kind", link.get("link_type"))
        if kind == "loopback":
            continue
        peer = ids.get(link.get("link_netnsid"))
        if kind != "veth" or peer not in allowed_peers:
            found.append(f"link {link['ifname']} ({kind}, peer namespace {peer or 'host or unknown'})")
    settings = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
    values = {setting: run(*inside(namespace, "sysctl", "-n", setting)).strip() for setting in settings}
    return [*found, *(f"{setting} is on" for setting, value in values.items() if value != "0")]
