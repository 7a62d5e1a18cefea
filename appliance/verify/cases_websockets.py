"""E13 and G5, WebSockets where a rule allows them: opened strictly, read frame by frame, ended with the rule.

(What is upgraded without a rule, or by a server that was not asked, is in `cases_exchanges.py` and `cases_framing.py`.)
The server is `liar`, below `/canary/ws/`: `echo` says every frame back, `fields` the names of the handshake's fields
that it was sent, `raw` in hexadecimal what it got as the first frame; the other words are its lies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from appliance.verify.attempts import (
    EXPLICIT,
    SERVED,
    Attempt,
    Way,
    by,
    command,
    get,
    label,
    lines,
    refused_twice,
)
from appliance.verify.case import Canary, Case, Origin, Outcome, Output
from appliance.verify.forms import BROKEN, EVERY_WAY, UPGRADE
from appliance.verify.parts import opened, requested
from appliance.verify.tenants import eventually, reload, tenant
from appliance.verify.world import Site, World

REFUSED, REACHES = Outcome.REFUSED, Outcome.REACHES
WAYS = (Way.TUNNEL, Way.PORT_80)
OPEN = f"101 {SERVED} keep"
INVALID = "400 websocket-handshake-invalid close"
MASK = b"\x11\x22\x33\x44"
WORD = b"smuggled"
SPOKEN = "egress-canary"  # by which a control knows an answer (see `probe.py`)
POLICY_SECONDS = 12.0
USUAL = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def rows(world: World) -> list[Case]:
    """Every case of this module."""
    return [*_allowed(world), *_handshakes(world), *_frames(world), *_servers(world), _reloaded(world)]


def ask(site: Site, how: str, *further: str, place: str = "/canary/ws/", **changed: str) -> bytes:
    """A handshake; `changed` are other values of its fields (names with `_`), "" leaves one out."""
    told = USUAL | {name.replace("_", "-"): value for name, value in changed.items()}
    return get(
        site.name, place + how, *(f"{name}: {value}" for name, value in told.items() if value), *further
    )


def frame(first: int, payload: bytes, *, mask: bytes = MASK, form: int = 0) -> bytes:
    """A client's frame; `first` is its first octet, `form` 126 or 127 a longer form of the length than it needs."""
    size = len(payload)
    form = form or min(126, size)
    head = bytes((first, form | (0x80 if mask else 0)))
    head += b"" if form < 126 else size.to_bytes(2 if form == 126 else 8, "big")
    return (
        head + mask + bytes(octet ^ mask[index % 4] if mask else octet for index, octet in enumerate(payload))
    )


def _heard(world: World, path: str, payload: str = "") -> Canary:
    """A frame that the server gets; the control's is in pieces and not masked, for only so it is ASCII."""
    liar = world.targets.liar
    said = f"{payload}{SPOKEN}"
    told = ask(liar, path.removeprefix("/canary/ws/")).decode() + f"\1{chr(len(said))}{said}"
    text = told.encode("unicode_escape").decode("ascii")
    return Canary(
        f"a frame {payload!r} at {path}", world.requests(liar.name, "FRAME", f"{path}/{payload}*"),
        lambda: world.probe("tcp", liar.address, "80", text),
    )  # fmt: skip


def _allowed(world: World) -> list[Case]:
    liar = world.targets.liar
    frames = (frame(0x81, b"hello"), frame(0x82, b"\0\1"), frame(0x89, b"p"), frame(0x01, b"he"), frame(0x80, b"llo"),
              frame(0x81, b"x" * 300), frame(0x88, b"\x03\xe8bye"))  # fmt: skip
    back = f"{OPEN}, text hello, binary \0\1, ping p, text he, more llo, text of 300 octets, close 1000 bye"
    sent = frame(0x81, b"hello")
    attempts: list[Attempt] = []
    for way in EVERY_WAY:
        echo = by(way, liar, "E13.100-echo", ask(liar, "echo/allowed"), back)
        # Only the beginning of a frame's head is the same as what was sent; the mask is another.
        raw = by(way, liar, "E13.101-raw", ask(liar, "raw"), f"{OPEN}, text {sent[:2].hex()}")
        offers = ask(liar, "fields", "Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: chat",
                     "Sec-WebSocket-Other: x")  # fmt: skip
        fields = by(way, liar, "E13.102-fields", offers, f"{OPEN}, text key protocol version, close 1000")
        attempts += [replace(echo, frames=frames), replace(raw, frames=(sent,)), fields]
    return [
        Case("E13-allowed", "a WebSocket that a rule allows: frames both ways, masked anew, no extension", REACHES,
             command(attempts), (_heard(world, "/canary/ws/echo/allowed"),), expect=lines(attempts),
             forbid=(sent.hex(),)),
    ]  # fmt: skip


def _handshakes(world: World) -> list[Case]:
    """What the rule is not about, and what is no handshake."""
    liar = world.targets.liar
    no_subprotocol = "403 subprotocol-not-allowed keep"
    forms = {
        "other-path": (ask(liar, "x", place="/canary/else/"), UPGRADE),
        "above": (ask(liar, "x", place="/canary/ws/../else/"), UPGRADE),
        "other-protocol": (ask(liar, "x", Upgrade="tcp"), UPGRADE),
        "two-protocols": (ask(liar, "x", Upgrade="websocket, tcp"), UPGRADE),
        "subprotocol": (ask(liar, "x", "Sec-WebSocket-Protocol: mqtt"), no_subprotocol),
        "one-of-two": (ask(liar, "x", "Sec-WebSocket-Protocol: chat, mqtt"), no_subprotocol),
        "in-two-fields": (ask(liar, "x", "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: mqtt"), no_subprotocol),
        "same-twice": (ask(liar, "x", "Sec-WebSocket-Protocol: chat, chat"), INVALID),
        "no-key": (ask(liar, "x", Sec_WebSocket_Key=""), INVALID),
        "short-key": (ask(liar, "x", Sec_WebSocket_Key="c2hvcnQ="), INVALID),
        "two-keys": (ask(liar, "x", f"Sec-WebSocket-Key: {USUAL['Sec-WebSocket-Key']}"), INVALID),
        "no-version": (ask(liar, "x", Sec_WebSocket_Version=""), INVALID),
        "version-8": (ask(liar, "x", Sec_WebSocket_Version="8"), INVALID),
        "no-connection": (ask(liar, "x", Connection=""), INVALID),
        "http-1.0": (ask(liar, "x").replace(b"HTTP/1.1", b"HTTP/1.0"), INVALID),
        "post": (ask(liar, "x", "Content-Length: 0").replace(b"GET", b"POST", 1), UPGRADE),
        "body": (ask(liar, "x", "Content-Length: 5") + b"hello", "403 body-not-allowed close"),
    }  # fmt: skip
    attempts = [
        by(way, liar, label("E13", 200 + number, name), request, expect)
        for way in (*EXPLICIT, Way.PORT_80)
        for number, (name, (request, expect)) in enumerate(forms.items())
    ]
    # Before the server's answer nobody knows what such bytes would be.
    early = [
        by(way, liar, "E13.250-early", ask(liar, "echo/early") + frame(0x81, WORD), "400 websocket-early-data close")
        for way in WAYS
    ]  # fmt: skip
    return [
        *refused_twice("E13-handshake", "at a host with a rule for WebSockets: what the rule is not about, and no handshakes",
                       attempts, (requested(world, liar, "/canary/ws/x"),)),
        Case("E13-early", "frames behind a handshake, before its answer", REFUSED, command(early),
             (_heard(world, "/canary/ws/echo/early"),), expect=lines(early), forbid=(f"101 {SERVED}",)),
    ]  # fmt: skip


def _frames(world: World) -> list[Case]:
    """What a client may not send once it is open."""
    liar = world.targets.liar
    broken = {
        "not-masked": (frame(0x81, WORD, mask=b""),),
        "reserved-bit-1": (frame(0xC1, WORD),),
        "reserved-bit-2": (frame(0xA1, WORD),),
        "reserved-bit-3": (frame(0x91, WORD),),
        "reserved-opcode": (frame(0x83, WORD),),
        "reserved-control": (frame(0x8B, WORD),),
        "ping-in-pieces": (frame(0x09, WORD),),
        "long-ping": (frame(0x89, WORD * 16),),
        "length-in-two-octets": (frame(0x81, WORD, form=126),),
        "length-in-eight-octets": (frame(0x81, WORD * 20, form=127),),
        "endless": (b"\x81\xff\x80\0\0\0\0\0\0\x08" + MASK + WORD,),
        "continues-nothing": (frame(0x80, WORD),),
        "within-another": (frame(0x01, b"begun"), frame(0x81, WORD)),
        "close-code": (frame(0x88, b"\x03\xed" + WORD),),
        "close-of-one-octet": (frame(0x88, b"\x03"), frame(0x81, WORD)),
        "close-in-other-octets": (frame(0x88, b"\x03\xe8\xff"), frame(0x81, WORD)),
        "http": (b"GET /smuggled HTTP/1.1\r\n\r\n",),
    }  # fmt: skip
    ended = f"{OPEN}, close 1002 websocket-frame-invalid"
    attempts = [
        replace(
            by(way, liar, label("E13", 300 + number, name), ask(liar, "echo/frames"), ended), frames=frames
        )
        for way in WAYS
        for number, (name, frames) in enumerate(broken.items())
        if name != "within-another"
    ]
    attempts += [
        replace(by(way, liar, "E13.350-within-another", ask(liar, "echo/frames")), frames=broken["within-another"])
        for way in WAYS
    ]  # fmt: skip
    large = frame(0x82, WORD + b"x" * 5000)
    attempts += [
        replace(by(way, liar, "E13.351-too-much", ask(liar, "echo/frames"), f"{OPEN}, close 1009 body-too-large"),
                frames=(large,))
        for way in WAYS
    ]  # fmt: skip
    behind = (frame(0x88, b"\x03\xe8"), frame(0x81, WORD))
    attempts += [
        replace(by(way, liar, "E13.352-behind-the-close", ask(liar, "echo/frames"), f"{OPEN}, close 1000"), frames=behind)
        for way in WAYS
    ]  # fmt: skip
    return [
        Case("E13-frames", "frames that are none, that are not the client's to send, or too much", REFUSED,
             command(attempts), (_heard(world, "/canary/ws/echo/frames", WORD.decode()),),
             expect=(*lines(attempts), "close 1002 websocket-frame-invalid\n"), forbid=(WORD.decode(),)),
    ]  # fmt: skip


_LIES = (
    "wrong-accept",
    "no-accept",
    "two-accepts",
    "extension",
    "subprotocol",
    "other-protocol",
    "no-connection",
    "http-1-0",
)
_BROKEN = ("masked", "reserved-bit", "reserved-opcode", "ping-in-pieces", "long-ping", "long-form", "continues-nothing",
           "close-code", "http-answer")  # fmt: skip


def _servers(world: World) -> list[Case]:
    """What a server may not answer, and not send."""
    liar = world.targets.liar
    answers = [
        by(way, liar, label("E13", 400 + number, lie), ask(liar, lie), BROKEN)
        for way in WAYS
        for number, lie in enumerate(_LIES)
    ]
    sent = [
        by(way, liar, label("E13", 450 + number, lie), ask(liar, lie), f"{OPEN}, close 1014 upstream-protocol-error")
        for way in WAYS
        for number, lie in enumerate(_BROKEN)
    ]  # fmt: skip
    return [
        Case("E13-servers", "servers that do not answer the handshake, or send what is no frame of a server", REACHES,
             command([*answers, *sent]), (opened(world, liar.address, 443), requested(world, liar, "/canary/ws/*")),
             expect=lines([*answers, *sent]), forbid=(WORD.decode(),)),
    ]  # fmt: skip


def _reloaded(world: World) -> Case:
    return Case(
        "G5-websocket", "a WebSocket that is open when its rule is taken away: told and cut off", REFUSED, _rule_removed,
        (_heard(world, "/canary/ws/echo/after"),),
        expect=("open tunnel: 101 served keep, text before, close 1008 policy-changed",
                "open port-80: 101 served keep, text before, close 1008 policy-changed",
                f"after tunnel: {UPGRADE}", f"after port-80: {UPGRADE}", "began: True"),
        forbid=("text after",),
    )  # fmt: skip


def _rule_removed(world: World) -> Output:
    liar = world.targets.liar
    seen = world.requests(liar.name, "FRAME", "/canary/ws/echo/before/before")
    count = seen.hits(Origin.WORKLOAD)
    reading = {"name": "read", "hosts": [liar.name], "schemes": ["http", "https"], "ports": [80, 443]}
    live = {**reading, "name": "live", "paths": ["/canary/ws/**"], "upgrade": "websocket"}

    def policy(*rules: Mapping[str, object]) -> str:
        return json.dumps({"profile": "allowlist", "rules": rules})

    def attempts(name: str, path: str, *frames: bytes) -> tuple[str, ...]:
        return command([
            replace(by(way, liar, name, ask(liar, f"echo/{path}")), frames=frames, wait=POLICY_SECONDS) for way in WAYS
        ])  # fmt: skip

    with tenant(world, policy(live, reading)) as changing, ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.run, changing.name, attempts("open", "before", frame(0x81, b"before")))
        began = eventually(lambda: seen.hits(Origin.WORKLOAD) >= count + len(WAYS))
        changing.write(policy(reading))
        answer = reload(world)
        done = running.result()
        late = world.run(changing.name, attempts("after", "after", frame(0x81, b"after")))
    said = answer.text if answer.status else ""
    return Output(late.status, f"{done.text}{late.text}{said}began: {began}\n")
