"""What rows are made of: errands of a workload as commands, canaries with their control."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path

from appliance.verify import client
from appliance.verify.case import Canary
from appliance.verify.world import Site, World

CLIENT = Path(client.__file__).read_text(encoding="utf-8")
HTTP = "GET / HTTP/1.0\\r\\n\\r\\n"


def errand(way: Callable[..., None], what: object, *further: object) -> tuple[str, ...]:
    """One way of `appliance.verify.client` as a command for a container, or several in turn."""
    words = [way, what, *further]
    pairs = zip(words[::2], words[1::2], strict=True)
    told = (word for each, value in pairs for word in (getattr(each, "__name__", ""), json.dumps(value)))
    return ("python3", "-c", CLIENT, *told)


def past_the_proxy(*arguments: str) -> list[str]:
    """The same words for curl, which then reads no variable and connects by itself."""
    return ["--noproxy", "*", *arguments]


def at_address(host: str, port: int, address: str) -> list[str]:
    """Words for curl: whatever the name resolves to, connect there."""
    return past_the_proxy("--resolve", f"{host}:{port}:{address}", "--insecure")


def fresh(word: str, world: World) -> str:
    """A name below the leaks that nobody has asked for yet."""
    return f"{word}-{secrets.token_hex(6)}.{world.targets.leaks}"


def asked(world: World, name: str) -> Canary:
    """A question for `name` that leaves for any name server."""
    return Canary(f"query for {name}", world.queries(name), lambda: world.asks(name))


def any_question(world: World) -> Canary:
    """Any question at all that leaves."""
    name = f"control.{world.targets.leaks}"
    return Canary("any query", world.packets(protocol="udp", port=53), lambda: world.asks(name))


def opened(world: World, address: str, port: int, protocol: str = "tcp") -> Canary:
    """A packet for a port of an address, which would be answered."""
    words: tuple[str, ...]
    if port == 53:
        words = ("dns", address, f"control.{world.targets.leaks}", protocol)
    elif protocol == "udp":
        words = ("udp", address, str(port))
    else:
        words = ("tcp", address, str(port), HTTP)
    evidence = world.packets(address, protocol, port)
    return Canary(f"{protocol} {address}:{port}", evidence, lambda: world.probe(*words))


def requested(world: World, site: Site, path: str, method: str | None = None, *options: str) -> Canary:
    """A request that a site answers; where `path` ends in `*` any that begins so."""
    used = method or "GET"
    words = () if used == "GET" else ("--request", used)
    touched = path.replace("*", "control")
    evidence = world.requests(site.name, method, path)
    return Canary(f"{used} {site.name}{path}", evidence, lambda: world.fetch(site, touched, *words, *options))
