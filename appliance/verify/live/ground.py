"""Where live canaries stand: two network namespaces without a name, joined to where the uplink ends.

They belong to this process alone, and so do the links and the routes that lead there: the kernel removes all
of it when the process ends, however it ends. Linux only; everything here needs root.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
RUN_NETNS = Path("/run/netns")
OWN = Path(f"/proc/{os.getpid()}/ns/net")
LINK = "egress-verify"  # the one link that stands in somebody else's namespace
OUTSIDE, CONTROL = "out", "ctl"  # links of the canaries' namespace: to the uplink's end, and to the control
ABSENT_SECONDS = 5.0
NEXT_HOP = "198.19.255.250"
CONTROL_ADDRESS, CONTROL_PEER = "198.19.255.254", "198.19.255.253"
CONTROL_ADDRESS_6, CONTROL_PEER_6 = "fd83:1ac::2", "fd83:1ac::1"
_libc = ctypes.CDLL(None, use_errno=True)


class GroundError(RuntimeError):
    """The canaries cannot be put up; `str()` says why and what to do."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Paths of the namespaces: of the canaries, of the control, and the one in which the uplink ends."""

    canaries: Path
    control: Path
    outside: Path


def inside(namespace: Path, act: Callable[[], T]) -> T:
    """What `act` returns in a network namespace: its sockets belong there. Raises what it raises."""
    return _elsewhere(lambda: _enter(namespace), act)


def _elsewhere(move: Callable[[], None], act: Callable[[], T]) -> T:
    """A thread of its own moves there and ends: setns(2) and unshare(2) move the calling thread alone."""
    found: list[T] = []
    broken: list[BaseException] = []

    def there() -> None:
        try:
            move()
            found.append(act())
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
            broken.append(error)

    thread = threading.Thread(target=there)
    thread.start()
    thread.join()
    if broken:
        raise broken[0]
    return found[0]


def _enter(namespace: Path) -> None:
    with namespace.open("rb") as place:
        _check(_libc.setns(place.fileno(), CLONE_NEWNET), f"setns {namespace}")


def _leave_all() -> None:
    _check(_libc.unshare(CLONE_NEWNET), "unshare")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


class Namespace:
    """A new network namespace, held by an open file alone."""

    def __init__(self) -> None:
        self._held = _elsewhere(_leave_all, lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        self.path = Path(f"/proc/{os.getpid()}/fd/{self._held}")

    def close(self) -> None:
        """The kernel removes it, with every link in it."""
        os.close(self._held)


def command(*words: str, within: float = 20.0) -> str:
    """Standard output of a short command. Raises `GroundError`."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=within, check=False, cwd="/")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GroundError(f"{' '.join(words)}: {error}") from error
    if done.returncode != 0:
        raise GroundError(f"{' '.join(words)}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


def entered(namespace: Path, *words: str) -> tuple[str, ...]:
    """The command that runs `words` there."""
    return ("nsenter", f"--net={namespace}", "--", *words)


def _ip(namespace: Path, lines: str) -> None:
    for line in filter(None, map(str.strip, lines.splitlines())):
        command(*entered(namespace, "ip", *line.split()))


def in_use(
    namespace: Path, addresses: Iterable[IPv4Address], pools: Iterable[tuple[IPv4Network, str]]
) -> str:
    """Which of the addresses is somebody's, and whose; "" when none is. A default route makes nobody's."""
    known = list(pools)
    for address in addresses:
        for pool, whose in known:
            if address in pool:
                return f"{address} is in {pool}, {whose}"
        listing = command(
            *entered(namespace, "ip", "-j", "-4", "route", "show", "table", "all", "match", str(address))
        )
        for route in json.loads(listing or "[]"):
            if not _is_default(route):
                return f"{address} is in {route['dst']}, to which the host has a route"
    return ""


def _is_default(route: dict[str, Any]) -> bool:
    return route.get("dst") in {"default", "0.0.0.0/0"}


def stand(
    canaries: Namespace, control: Namespace, outside: Path, addresses: Sequence[str], address_6: str
) -> Ground:
    """Join the two namespaces to each other and to `outside`, with routes to the addresses.

    Raises `GroundError`.
    """
    _await_absence(outside)
    ground = Ground(canaries.path, control.path, outside)
    own = "\n".join(f"addr add {address}/32 dev lo" for address in dict.fromkeys(addresses))
    _ip(ground.canaries, f"""
        link set lo up
        {own}
        -6 addr add {address_6}/128 dev lo nodad
        link add {CONTROL} type veth peer name {CONTROL} netns {ground.control}
        addr add {CONTROL_PEER}/30 dev {CONTROL}
        -6 addr add {CONTROL_PEER_6}/64 dev {CONTROL} nodad
        link set {CONTROL} up
    """)  # fmt: skip
    _ip(ground.control, f"""
        link set lo up
        addr add {CONTROL_ADDRESS}/30 dev {CONTROL}
        -6 addr add {CONTROL_ADDRESS_6}/64 dev {CONTROL} nodad
        link set {CONTROL} up
        route add default via {CONTROL_PEER}
        -6 route add default via {CONTROL_PEER_6}
    """)  # fmt: skip
    inside(ground.canaries, lambda: _set("net/ipv4/icmp_ratelimit", "0"))
    inside(ground.control, lambda: _set("net/ipv4/ping_group_range", "0 2147483647"))
    _ip(ground.outside, f"link add {LINK} type veth peer name {OUTSIDE} netns {ground.canaries}")
    # Answers go to the other end whoever asked: it answers ARP for its own addresses alone.
    (far,) = json.loads(command(*entered(outside, "ip", "-j", "link", "show", "dev", LINK)))
    _ip(
        ground.canaries,
        f"""
        link set {OUTSIDE} up
        neigh add {NEXT_HOP} lladdr {far["address"]} dev {OUTSIDE} nud permanent
        route add default via {NEXT_HOP} dev {OUTSIDE} onlink
    """,
    )
    to_canaries = "\n".join(f"route add {address}/32 dev {LINK}" for address in dict.fromkeys(addresses))
    _ip(ground.outside, f"link set {LINK} up\n{to_canaries}")
    return ground


def other_end(namespace: Path, link: str, outside: Path) -> bytes:
    """The hardware address of the other end of a veth pair. Raises `GroundError`."""
    (near,) = json.loads(command(*entered(namespace, "ip", "-j", "link", "show", "dev", link)))
    for far in json.loads(command(*entered(outside, "ip", "-j", "link"))):
        if far["ifindex"] == near.get("link_index"):
            return bytes.fromhex(far["address"].replace(":", ""))
    raise GroundError(f"the other end of {link} is not where the settings say (uplink.peer_namespace)")


def _await_absence(namespace: Path) -> None:
    """The kernel takes a moment to remove what a killed run left. Raises `GroundError`."""
    deadline = time.monotonic() + ABSENT_SECONDS
    while any(
        link["ifname"] == LINK for link in json.loads(command(*entered(namespace, "ip", "-j", "link")))
    ):
        if time.monotonic() > deadline:
            raise GroundError(f"a link {LINK} is there and is not ours; remove it: ip link del {LINK}")
        time.sleep(0.1)


def _set(name: str, value: str) -> None:
    (Path("/proc/sys") / name).write_text(value, encoding="ascii")


def host_addresses(listing: str) -> dict[str, str]:
    """Every IPv4 address but loopback in the output of `ip -j -4 addr`, with its interface (pure)."""
    return {
        entry["local"]: link["ifname"]
        for link in json.loads(listing)
        for entry in link.get("addr_info", [])
        if link["ifname"] not in {"lo", LINK} and entry.get("local")
    }
