"""A process of ours that was taken over: what the kernel keeps from it, whatever it believes.

Each row runs as the uid of one of our unprivileged processes, in the gateway's namespace, without a capability. The
layers before this one are not asked at all.
"""

from __future__ import annotations

from appliance.verify.case import Canary, Case, Layer, Outcome, Output, Seat
from appliance.verify.cases_neighbours import served_by
from appliance.verify.commands import probe, python
from appliance.verify.parts import HTTP, opened
from appliance.verify.world import World

REFUSED, REACHES = Outcome.REFUSED, Outcome.REACHES
KERNEL = frozenset({Layer.KERNEL})
REACHED = ("REACHED",)
SEATS = (Seat.GATEWAY, Seat.RESOLVER, Seat.SQUID)


def rows(world: World) -> list[Case]:
    """Rows for each seat, and for each thing that it might try."""
    return [case for seat in SEATS for case in _seat(world, seat)]


def _seat(world: World, seat: Seat) -> list[Case]:
    t, who = world.targets, f"the process {seat.value}, taken over"
    special = (t.private, t.metadata, *(a for a in t.special if ":" not in a))

    def refused(identifier: str, title: str, stimulus: tuple[str, ...], *canaries: Canary) -> Case:
        return Case(f"{identifier}-taken-{seat.value}", f"{who}: {title}", REFUSED, stimulus, canaries, forbid=REACHED,
                    seat=seat, layers=KERNEL)  # fmt: skip

    def to_tenants(inner: World) -> Output:
        servers = [inner.server(tenant) for tenant in ("lister", "reader")]
        attempts: list[tuple[str, ...]] = [("tcp", s.address, str(s.port), HTTP) for s in servers]
        attempts += [("udp", s.address, "9999") for s in servers]
        return inner.run_as(seat, probe(*attempts))

    cases = [
        refused("C12", "TCP 80 and 443 of special ranges",
                probe(*(("tcp", a, port, HTTP) for a in special for port in ("80", "443"))),
                *(opened(world, a, port) for a in special for port in (80, 443))),
        refused("C13", "UDP to special ranges, echo to them",
                probe(*(("udp", a, port) for a in special for port in ("443", "9999")), *(("icmp", a) for a in special)),
                *(opened(world, a, 443, "udp") for a in special)),
        refused("A6", "UDP to the public", probe(*(("udp", t.literal, port) for port in ("123", "443", "853", "9999"))),
                *(opened(world, t.literal, port, "udp") for port in (123, 443, 853, 9999))),
        refused("A7", "echo, and raw sockets", probe(("icmp", t.literal), ("icmp", t.literal, "raw"), ("raw", t.literal, "47"),
                                                     ("raw", t.literal, "132"), ("spoofed", "10.9.8.7", t.literal, "9999")),
                Canary("echo", world.packets(t.literal, "icmp"), lambda: world.probe("icmp", t.literal)),
                Canary("gre", world.packets(t.literal, "47"), lambda: world.probe("raw", t.literal, "47"))),
        refused("A9", "IPv6", probe(("tcp", t.public_6, "443", HTTP), ("udp", t.public_6, "443")),
                Canary("any IPv6", world.packets(version=6), lambda: world.probe("tcp", t.public_6, "443", HTTP))),
        refused("B1", "a question to a name server that is not the resolver's, UDP and TCP",
                probe(("dns", t.public_resolver, f"taken.{t.leaks}"), *((("dns", t.public_resolver, f"taken.{t.leaks}", "tcp"),)
                                                                        if seat is Seat.RESOLVER else ())),
                opened(world, t.public_resolver, 53, "udp"), *((opened(world, t.public_resolver, 53),) if seat is Seat.RESOLVER else ())),
        Case(f"A19-taken-{seat.value}", f"{who}: a new connection to a container", REFUSED, to_tenants,
             (served_by(world, "lister"), served_by(world, "reader")), forbid=REACHED, seat=seat, layers=KERNEL),
        refused("A12", "rules, routes, namespaces and files of others", _others()),
    ]  # fmt: skip
    if seat is Seat.RESOLVER:
        cases.append(refused("A4", "TCP to the public: names are its only business",
                             probe(*(("tcp", t.literal, port, HTTP) for port in ("80", "443", "8080"))),
                             *(opened(world, t.literal, port) for port in (80, 443, 8080))))  # fmt: skip
    if seat is Seat.GATEWAY:
        # What makes the rows above worth something: from the same seat its own business goes through.
        reached = Canary(f"tcp {t.literal}:443", world.packets(t.literal, "tcp", 443), lambda: True)
        cases.append(Case("A4-gateway-works", "the process gateway: TCP to the public is its business", REACHES,
                          probe(("tcp", t.literal, "443", HTTP)), (reached,), seat=seat, layers=KERNEL))  # fmt: skip
    return cases


def _others() -> tuple[str, ...]:
    return python(
        "import os, subprocess\n"
        "for command in ('nft flush ruleset', 'ip route flush table main', 'ip rule add pref 1 table 100',\n"
        "                'ip link add x type dummy', 'ip link set lo down', 'unshare -n true'):\n"
        "    done = subprocess.run(command.split(), capture_output=True)\n"
        "    print('REACHED' if done.returncode == 0 else 'refused', command, done.stderr[:80])\n"
        "for name in ('/etc/shadow', '/proc/1/ns/net', '/var/run/docker.sock', '/dev/net/tun', '/proc/sys/net/ipv4/ip_forward'):\n"
        "    try: os.close(os.open(name, os.O_RDWR)); print('REACHED', name)\n"
        "    except OSError as error: print('refused', name, error.strerror)\n"
    )
