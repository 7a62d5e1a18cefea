"""Section A, faults: what happens while somebody flushes rules, and while processes of ours are gone.

All of it is disruptive: for that time other tenants have no service either.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from appliance.verify.case import Case, Outcome, Output, Seat
from appliance.verify.commands import curl, probe, python
from appliance.verify.parts import HTTP, opened
from appliance.verify.tenants import eventually
from appliance.verify.world import World

REFUSED = Outcome.REFUSED
TRESPASS_SECONDS = 2.0
POWERLESS_SECONDS = 5.0
MENDED_WITHIN = 3.0  # what is promised is one second; a busy machine may take longer to be asked
FLUSHES = 2

# Everything that must go nowhere, again and again, from a workload that nothing in its own kernel holds back.
TRESPASS = """
import socket, sys, time
until, count = time.time() + float(sys.argv[1]), 0
while time.time() < until:
    streams = []
    for target in ((a, int(p)) for a, p in (w.split(":") for w in sys.argv[2:])):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            try: datagram.sendto(b"trespass", (target[0], 9999)); count += 1
            except OSError: pass
        stream = socket.socket(); stream.setblocking(False)
        try: stream.connect(target)
        except BlockingIOError: count += 1
        except OSError: pass
        streams.append(stream)
    time.sleep(0.01)
    for stream in streams:
        try: stream.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
        except OSError: pass
        stream.close()
print("sent", count, "packets" if count > 50 else "TOO FEW")
"""


def rows(world: World) -> list[Case]:
    """The cases of A20 and A21."""
    t = world.targets
    canaries = (
        opened(world, t.private, 80), opened(world, t.metadata, 80), opened(world, t.literal, 8080),
        opened(world, t.private, 9999, "udp"), opened(world, t.literal, 9999, "udp"),
    )  # fmt: skip

    def case(identifier: str, title: str, stimulus: Callable[[World], Output], *expect: str) -> Case:
        return Case(identifier, title, REFUSED, stimulus, canaries, expect=expect, forbid=("TOO FEW", "NOT MENDED", "REACHED"),
                    disruptive=True)  # fmt: skip

    powerless = [
        case("A21-powerless", "killed, and started without the capability that enforces, under fire: nobody is served, nothing gets out",
             _powerless, "said why: True", "listening: nobody", "packets", "serves"),
    ] if t.setup else []  # fmt: skip
    return [
        *(case(f"A20-{name}", f"{title}, under fire: mended, on record, and nothing got out",
               _flushed(commands, shown), "mended", "on record", "serves")
          for name, title, commands, shown in FAULTS),
        case("A20-unwatched", "the rules flushed while their keeper is gone: nothing gets out", _unwatched, "packets", "serves"),
        *(case(f"A21-without-{name or 'all'}", f"without {title}, under fire, and while it starts again",
               _without(name), "packets", "serves") for name, title in ABSENT),
        case("A21-nobody-admits", "while netd is gone, no container is started", _nobody_admits, "refused", "serves"),
        *powerless,
        Case("A21-first-packet", "a container whose first instruction sends, before any entry point", REFUSED, _at_once(world),
             canaries, forbid=("REACHED",)),
    ]  # fmt: skip


# name, title, what a tool of the host does in the gateway's namespace, how to see that all is there
FAULTS: tuple[tuple[str, str, tuple[str, ...], Callable[[World], bool]], ...] = (
    ("flush", "nft flush ruleset", ("nft flush ruleset",), lambda world: _shown(world, "nft list ruleset", "special-output")),
    ("accept", "a rule that accepts everything put in front of each chain", (
        "nft insert rule inet INSTANCE leave accept", "nft insert rule inet INSTANCE pass accept",
        "nft insert rule inet INSTANCE steer accept"), lambda world: _shown(world, "nft list chain inet INSTANCE leave", "goto", not_first="accept")),
    ("routes", "the routes that lead nowhere removed, with the rules", ("ip route flush type unreachable", "nft flush ruleset"),
     lambda world: _shown(world, "ip route show type unreachable", "10.0.0.0/8") and _shown(world, "nft list ruleset", "special-output")),
    ("steering", "the rule that steers marked packets removed", ("ip rule del pref 101",), lambda world: _shown(world, "ip rule", "101:")),
)  # fmt: skip
ABSENT = (
    ("gateway", "the workers"), ("resolver", "the resolver"), ("netd", "netd"), ("broker", "the broker"), ("", "any process"),
)  # fmt: skip


def _instance(world: World, command: str) -> tuple[str, ...]:
    return tuple(command.replace("INSTANCE", world.instance).split())


def _shown(world: World, command: str, text: str, *, not_first: str = "") -> bool:
    said = world.in_gateway(*_instance(world, command)).text
    body = [line.strip() for line in said.splitlines()]
    return text in said and not (not_first and not_first in body)


def _serves(world: World) -> str:
    """Whether an ordinary request is answered again."""
    last = Output(1, "")
    for _ in range(3):
        last = world.run("reader", curl(f"http://{world.targets.www.name}/"))
        if "status 200" in last.text:
            return "serves"
        time.sleep(1)
    return f"DOES NOT SERVE: {last.text[-300:]}"


def _under_fire(world: World, act: Callable[[], list[str]], seconds: float = TRESPASS_SECONDS) -> Output:
    """`act` while a workload with every capability trespasses without a pause."""
    t = world.targets
    said: list[str] = []
    command = python(TRESPASS, str(seconds), f"{t.private}:80", f"{t.metadata}:80", f"{t.literal}:8080")
    world.run_as(Seat.SANDBOX, ("true",))  # so that its container is there
    fire = threading.Thread(target=lambda: said.append(world.run_as(Seat.SANDBOX, command).text))
    fire.start()
    try:
        time.sleep(0.3)
        said += act()
    finally:
        fire.join()
    said.append(_serves(world))
    return Output(0, "\n".join(said))


def _flushed(commands: Sequence[str], shown: Callable[[World], bool]) -> Callable[[World], Output]:
    def stimulus(world: World) -> Output:
        def act() -> list[str]:
            lines = []
            for _ in range(FLUSHES):
                for command in commands:
                    done = world.in_gateway(*_instance(world, command))
                    lines += [f"{command}: {done.text}"] if done.status else []
                lines.append(_mended(lambda: shown(world)))
                time.sleep(0.3)
            return lines

        before = world.egress("--json", "log").text.count('"repaired"')
        done = _under_fire(world, act)
        repairs = world.egress("--json", "log").text.count('"repaired"') - before
        return Output(0, f"{done.text}\n{repairs} repairs {'on record' if repairs > 0 else 'NOT RECORDED'}")

    return stimulus


def _mended(shown: Callable[[], bool]) -> str:
    started = time.monotonic()
    while not shown():
        if time.monotonic() - started > MENDED_WITHIN:
            return "NOT MENDED"
        time.sleep(0.02)
    return f"mended after {time.monotonic() - started:.2f} s"


def _unwatched(world: World) -> Output:
    def act() -> list[str]:
        with world.without("netd"):
            done = world.in_gateway("nft", "flush", "ruleset")
            time.sleep(2)
        return [done.text]

    return _under_fire(world, act)


def _without(name: str) -> Callable[[World], Output]:
    def stimulus(world: World) -> Output:
        def act() -> list[str]:
            with world.without(*([name] if name else [])):
                time.sleep(1.5)
            return []

        return _under_fire(world, act)

    return stimulus


def _powerless(world: World) -> Output:
    """What is there stays closed, and what is started serves nobody, without the capability to enforce anything."""
    setup = world.targets.setup
    assert setup is not None

    def act() -> list[str]:
        with setup.powerless("CAP_NET_ADMIN") as said:
            refused = eventually(lambda: "cannot set capabilities" in said(), POWERLESS_SECONDS)
            asked = world.run("reader", curl(f"http://{world.targets.www.name}/canary/A21"))
            listening = world.in_gateway("ss", "-Hltun").text.strip()
        return [f"why: {said()[-1500:]}", f"said why: {refused}", f"asked: {asked.text}",
                f"listening: {listening or 'nobody'}"]  # fmt: skip

    return _under_fire(world, act, POWERLESS_SECONDS)


def _container(world: World) -> str:
    done = world.docker("run", "--rm", "--network", world.tenants["reader"], "egress/runner-python", "true")
    return f"{'refused' if done.status else 'ADMITTED'}: {done.text}"


def _nobody_admits(world: World) -> Output:
    with world.without("netd"):
        said = _container(world)
    return Output(0, f"{said}\n{_serves(world)}")


def _at_once(world: World) -> Callable[[World], Output]:
    t = world.targets
    attempts: list[tuple[str, ...]] = [
        ("tcp", a, str(p), HTTP) for a, p in ((t.private, 80), (t.metadata, 80), (t.literal, 8080))
    ]
    attempts += [("udp", a, "9999") for a in (t.private, t.literal)]
    words = probe(*attempts)
    return lambda inner: inner.run("reader", words[1:], options=("--entrypoint", words[0]))
