"""G: what the policy says is what holds: absent, broken, changed under way, explained, in the fallback, uplinked."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from appliance.verify import client
from appliance.verify.case import Canary, Case, Layer, Origin, Outcome, Output
from appliance.verify.parts import any_question, at_address, errand, opened, past_the_proxy, requested
from appliance.verify.tenants import eventually, operator, reload, tenant, told
from appliance.verify.world import World

REFUSED, REACHES = Outcome.REFUSED, Outcome.REACHES
NO = "rcode 5, 0 answers"
BIG = "/big.bin"

# No document with one of these is ever in force.
BROKEN = {
    "syntax": "profile: allowlist\nrules: [\n",
    "half": "profile: allowlist\nrules:\n  - name: x\n    ho",
    "empty": "",
    "unknown-key": "profile: read-only-web\nrulez: []\n",
}
UNSAFE = ("writable", "dangling")
# Ranges that no operator can except: all of them reach something that is always blocked, or are no ranges.
NEVER = (
    "0.0.0.0/0", "0.0.0.0/8", "10.0.0.0/7", "127.0.0.0/8", "127.0.0.1/32", "169.254.0.0/16",
    "169.254.169.254/32", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4", "8.8.8.0/24",
    "::/0", "fd00:ec2::254/128", "10.0.0.1/8",
)  # fmt: skip


def rows(world: World) -> list[Case]:
    """Every case of section G."""
    return [*_absent(world), *_invalid(world), *_changed(world), *_told(world), *_uplinked(world)]


def _listing(*hosts: str) -> str:
    return json.dumps({"profile": "allowlist", "rules": [{"name": "listed", "hosts": list(hosts)}]})


def _tried(world: World, name: str, word: str) -> str:
    """Requests to the site, plain and secured, and a question for its name."""
    url = f"{world.targets.www.name}/canary/{word}"
    requests = {"plain:": [f"http://{url}"], "tls:": [f"https://{url}"]}
    question = ["name:", "", "udp", "A", world.targets.www.name]
    return world.run(name, errand(client.fetch, requests, client.ask, [question])).text


def _absent(world: World) -> list[Case]:
    """G1: no list, no document, no good document: nothing."""
    www = world.targets.www
    canaries = (requested(world, www, "/canary/G1*"), any_question(world))

    def empty(world: World) -> Output:
        with tenant(world, "profile: allowlist\n") as bare:
            return Output(0, _tried(world, bare.name, "G1"))

    def absent(world: World) -> Output:
        with tenant(world, _listing(www.name)) as gone:
            gone.file.unlink()
            reload(world)
            without = _tried(world, gone.name, "G1")
            gone.write(BROKEN["syntax"])
            reload(world)
            return Output(0, f"{without}never good:\n{_tried(world, gone.name, 'G1')}")

    nothing = f"plain: 403 no-policy\ntls: 403 to CONNECT\nname: {NO}\n"
    return [
        Case("G1-empty", "an allowlist without a rule", REFUSED, empty, canaries,
             expect=(f"plain: 403 host-not-listed\ntls: 403 to CONNECT\nname: {NO}",), forbid=(": 200",)),
        Case("G1-absent", "a tenant without a policy document, and one whose only document is broken",
             REFUSED, absent, canaries, expect=(f"{nothing}never good:\n{nothing}",), forbid=(": 200",)),
    ]  # fmt: skip


def _invalid(world: World) -> list[Case]:
    """G2, G3: documents that do not hold change nothing."""
    t = world.targets
    return [
        Case("G2-last-good", "a policy replaced by broken, partial and unsafe documents: the last good holds",
             REFUSED, _broken_in_turn,
             (requested(world, t.other, "/canary/G2*"), requested(world, t.www, "/canary/G2-changed")),
             expect=(*(f"{word}: refused, keeps the last good" for word in (*BROKEN, *UNSAFE)),
                     "listed: 200", "other: 403 host-not-listed", "write: 403 method-not-allowed"),
             forbid=("other: 200", "taken")),
        Case("G3-ranges", "exceptions for ranges that are always blocked: no such document loads", REFUSED,
             _ranges_checked, (), expect=(f"refused {len(NEVER)} of {len(NEVER)}", "private range: taken")),
        Case("G3-live", "such an exception in the operator's own document: refused, the last good one holds",
             REFUSED, _ranges_live,
             (opened(world, t.private, 80), opened(world, t.metadata, 80), opened(world, t.literal, 80)),
             expect=("reload: refused", "private: 403 private-address", "metadata: 403 host-is-address",
                     "literal: 403 host-is-address", "private-host: 403 host-is-address"),
             forbid=(": 200",), disruptive=True),
    ]  # fmt: skip


def _broken_in_turn(world: World) -> Output:
    www, other = world.targets.www, world.targets.other
    said = []

    def reloaded(word: str) -> None:
        answer = reload(world)
        kept = answer.status != 0 and "keeps the last good" in answer.text
        said.append(f"{word}: {'refused, keeps the last good' if kept else 'taken ' + answer.text.strip()}\n")

    with tenant(world, _listing(www.name)) as changing:
        for word, document in BROKEN.items():
            changing.write(document)
            reloaded(word)
        changing.write(_listing(www.name, other.name))
        changing.file.chmod(0o666)
        reloaded("writable")
        # As an editor that is killed half-way leaves it.
        changing.file.unlink()
        changing.file.symlink_to("/nonexistent")
        reloaded("dangling")
        attempts = {
            "listed:": [f"https://{www.name}/canary/G2-good"],
            "other:": [f"http://{other.name}/canary/G2-other"],
            "write:": ["-X", "POST", f"https://{www.name}/canary/G2-changed"],
        }
        done = world.run(changing.name, errand(client.fetch, attempts))
        changing.file.unlink()
    return Output(done.status, "".join(said) + done.text)


@contextmanager
def _scratch(operator: object) -> Iterator[tuple[str, str]]:
    """Settings of an appliance that runs nowhere, with such an operator.yaml, and a tenant's document."""
    with tempfile.TemporaryDirectory(prefix="egress-verify-") as name:
        directory = Path(name)
        (directory / "tenants").mkdir()
        (directory / "operator.yaml").write_text(json.dumps(operator), encoding="utf-8")
        document = directory / "tenants" / "scratch.yaml"
        document.write_text("profile: allowlist\n", encoding="utf-8")
        settings = directory / "egress.yaml"
        settings.write_text(json.dumps({"instance": "egressscratch", "config_dir": name}), encoding="utf-8")
        yield str(settings), str(document)


def _excepting(*ranges: str) -> object:
    return {"exceptions": [{"tenant": "scratch", "cidr": cidr, "port": 443} for cidr in ranges]}


def _ranges_checked(world: World) -> Output:
    def check(operator: object) -> Output:
        with _scratch(operator) as (settings, document):
            return world.egress("--settings", settings, "policy", "check", document)

    found = check(_excepting(*NEVER))
    refused = [cidr for number, cidr in enumerate(NEVER) if f"exceptions[{number}]" in found.text]
    # The control: a range that may be excepted is, by the same document.
    taken = check(_excepting("10.20.0.0/16"))
    return Output(
        0,
        f"{found.text}refused {len(refused)} of {len(NEVER)}\n"
        f"private range: {'taken' if taken.status == 0 else taken.text}\n",
    )


def _ranges_live(world: World) -> Output:
    t = world.targets
    private = f"private.{t.zone}"
    attempts = {
        "private:": [f"http://{private}/"],
        "private-host:": [f"http://{t.private}/"],
        "metadata:": [f"http://{t.metadata}/latest/meta-data/"],
        "literal:": [f"http://{t.literal}/"],
    }
    with tenant(world, "profile: read-only-web\n") as trying:
        ranges = ("0.0.0.0/0", f"{t.private}/32", f"{t.metadata}/32")
        exceptions = [{"tenant": trying.name, "cidr": cidr, "port": 80} for cidr in ranges]
        with operator(trying, json.dumps({"exceptions": exceptions})):
            answer = reload(world)
            done = world.run(trying.name, errand(client.fetch, attempts))
    reload(world)
    return Output(done.status, f"reload: {'refused' if answer.status else 'taken'}\n{answer.text}{done.text}")


def _changed(world: World) -> list[Case]:
    """G5: a policy that changes while something is under way."""
    t = world.targets
    other = _listing(t.other.name)
    return [
        Case("G5-kept", "a host that is no longer listed, asked for on a connection that was opened before",
             REFUSED,
             lambda world: _while_running(
                 world, errand(client.keep, [t.www.name, "/canary/G5-kept", 12, "/canary/G5-after"]),
                 "/canary/G5-kept", other),
             (requested(world, t.www, "/canary/G5-after"),),
             # The last of the kept ones may have been under way when the policy changed: then its reason is that.
             expect=("kept: first 200 - - - last 403", "kept: after 403 host-not-listed", f"name: {NO}")),
        Case("G5-stream", "an answer under way when its host is no longer listed: cut off", REFUSED,
             lambda world: _while_running(
                 world, errand(client.drip, [t.www.name, BIG, 12]), None, other),
             (), expect=("drip: began 200", "drip: cut"), forbid=("drip: whole", "still coming")),
        Case("G5-unchanged", "an answer under way when something else of the policy changes: goes on", REACHES,
             lambda world: _while_running(
                 world, errand(client.drip, [t.www.name, BIG, 3]), None,
                 _listing(t.www.name, t.other.name)),
             (requested(world, t.www, BIG),), expect=("drip: began 200", "drip: still coming"),
             forbid=("drip: cut",)),
    ]  # fmt: skip


def _while_running(world: World, command: tuple[str, ...], path: str | None, then: str) -> Output:
    """Start `command`; once the site has been asked (for `path`), put the policy `then` in force."""
    www = world.targets.www
    seen = world.requests(www.name, None, path) if path else world.packets(www.address, "tcp", 80)
    before = seen.hits(Origin.WORKLOAD)
    with tenant(world, _listing_plain(www.name)) as changing, ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.run, changing.name, command)
        began = eventually(lambda: seen.hits(Origin.WORKLOAD) > before)
        changing.write(_plain(then))
        answer = reload(world)
        late = world.run(changing.name, errand(client.ask, [["name:", "", "udp", "A", www.name]]))
        done = running.result()
    said = f"began: {began}\n{answer.text}" if answer.status or not began else ""
    return Output(done.status, f"{done.text}{late.text}{said}")


def _listing_plain(*hosts: str) -> str:
    return _plain(_listing(*hosts))


def _plain(document: str) -> str:
    """The same for http as well: what is under way is plain, so that nothing but the policy can end it."""
    found = json.loads(document)
    for rule in found["rules"]:
        rule |= {"schemes": ["http", "https"], "ports": [80, 443]}
    return json.dumps(found)


# What is compared: request by request, what `egress policy explain` says and what a container meets with.
# No name here leads to a private address: names are not looked up to explain.
def _requests(world: World) -> list[tuple[str, str, str]]:
    t = world.targets
    www, path = t.www.name, "/canary/G6"
    reader = [
        ("GET", f"http://{www}{path}"), ("GET", f"https://{www}{path}"), ("POST", f"https://{www}{path}"),
        ("GET", f"http://{www}:8080{path}"), ("GET", f"http://{www}/dns-query"),
        ("GET", f"http://{www}{path}//x"), ("GET", "http://localhost/"), ("GET", "http://127.0.0.1/"),
        ("GET", "http://host.docker.internal/"), ("GET", f"http://{t.literal}/"),
        ("GET", "https://dns.google/dns-query"), ("GET", "http://[::1]/"),
    ]  # fmt: skip
    lister = [
        ("GET", f"https://{www}{path}"), ("GET", f"https://{www}{path}?q=1"), ("GET", f"http://{www}{path}"),
        ("GET", f"http://{t.other.name}{path}"), ("POST", f"https://{www}{path}"),
    ]  # fmt: skip
    return [("reader", *each) for each in reader] + [("lister", *each) for each in lister]


def _compared(world: World) -> Output:
    requests = _requests(world)
    labels = [f"{number}:" for number in range(len(requests))]
    met: dict[str, str] = {}
    for name in ("reader", "lister"):
        attempts = {
            label: ["--noproxy", "", "--request", method, "--path-as-is", url]
            for label, (whose, method, url) in zip(labels, requests, strict=True)
            if whose == name
        }
        for line in world.run(name, errand(client.fetch, attempts)).text.splitlines():
            label, _, said = line.partition(" ")
            met[label] = said
    with ThreadPoolExecutor(3) as pool:
        explained = list(pool.map(lambda each: _explained(world, *each), requests))
    lines, agreed = [], 0
    for label, request, (allowed, reason) in zip(labels, requests, explained, strict=True):
        said = met.get(label, "nothing")
        got = said[:1] == "2"
        agrees = allowed == got and (allowed or _same(reason, said))
        agreed += agrees
        word = "WIDER" if got and not allowed else "agrees" if agrees else "DIFFERS"
        lines.append(f"{word} {' '.join(request)}: explained {reason}, met {said}\n")
    return Output(0, f"{''.join(lines)}agree on {agreed} of {len(requests)}\n")


def _explained(world: World, name: str, method: str, url: str) -> tuple[bool, str]:
    answer = world.egress("--json", "policy", "explain", "--tenant", world.tenants[name], method, url)
    found = told(answer)
    return found["allowed"], found["reason"]


def _same(reason: str, said: str) -> bool:
    """Whether a refusal is the one explained; a proxy's client shows nothing of a refused CONNECT but 403."""
    return reason in said or "to CONNECT" in said or (reason == "request-malformed" and said[:3] == "400")


def _told(world: World) -> list[Case]:
    """G6, G8: what is explained is what is enforced, and the fallback allows no more."""
    compared: Callable[[World], Output] = _compared
    count = len(_requests(world))
    return [
        Case("G6-explain", "what `egress policy explain` says and what a container meets with", REFUSED,
             compared, (requested(world, world.targets.www, "/dns-query", None, "--no-fail"),),
             expect=(f"agree on {count} of {count}",), forbid=("WIDER", "DIFFERS")),
        Case("G8-subset", "the fallback allows nothing that `egress policy explain` denies", REFUSED,
             compared, (requested(world, world.targets.www, "/dns-query", None, "--no-fail"),),
             layers=frozenset({Layer.SQUID}), forbid=("WIDER",)),
    ]  # fmt: skip


def _uplinked(world: World) -> list[Case]:
    """G9: with a company's proxy on the uplink, where no rule of the kernel knows what is asked of it."""
    t = world.targets
    if t.setup is None:
        return []
    proxy, www = t.setup.proxy, t.www
    inward = {
        f"{word}-{scheme}:": [f"{scheme}://{word}.{t.zone}/canary"]
        for word in ("private", "mixed", "alias-private", "metadata")
        for scheme in ("http", "https")
    }
    addresses = {
        "literal:": [f"http://{t.literal}/canary"],
        "metadata:": [f"http://{t.metadata}/latest/meta-data/"],
        "proxy:": [f"http://{proxy.address}:{proxy.port}/"],
        "proxy-direct:": past_the_proxy(f"http://{proxy.address}:{proxy.port}/"),
    }
    pinned = {
        "pinned:": [*at_address(www.name, 80, t.literal), f"http://{www.name}/canary"],
        "pinned-tls:": [*at_address(www.name, 443, t.literal), f"https://{www.name}/canary"],
    }
    turning = {f"rebind-{number}:": [f"http://rebind.{t.zone}/canary"] for number in range(4)}
    served = {"read:": [f"http://{www.name}/"], "read-tls:": [f"https://{www.name}/"],
              "read-direct:": past_the_proxy(f"https://{www.name}/")}  # fmt: skip
    attempts = {**inward, **addresses, **pinned, **turning, **served}

    def stimulus(world: World) -> Output:
        assert t.setup is not None
        asked = [proxy.asked(f"{www.address}:{port}") for port in (80, 443)]
        counted = [*asked, proxy.asked(f"{www.name}*"), world.packets(www.address, "tcp")]
        with t.setup.behind_proxy():
            before = [evidence.hits(Origin.WORKLOAD) for evidence in counted]
            done = world.run("reader", errand(client.fetch, attempts))
            world.settle()
            plain, tls, named, direct = (
                evidence.hits(Origin.WORKLOAD) - count
                for evidence, count in zip(counted, before, strict=True)
            )
        return Output(
            done.status,
            f"{done.text}asked by address: {plain > 0} {tls > 0}, by name: {named}\npast it: {direct}\n",
        )

    canaries = tuple(
        Canary(f"the proxy asked for {address}:{port}", proxy.asked(f"{address}:{port}"),
               partial(proxy.touch, f"{address}:{port}"))
        for address in (t.private, t.metadata, t.literal)
        for port in (80, 443)
    )  # fmt: skip
    return [
        Case("G9-proxy", "a company's proxy on the uplink: asked for judged and pinned addresses, and nothing passes it by",
             REFUSED, stimulus, canaries,
             expect=(*(f"{label} 403 private-address" for label in inward),
                     *(f"{label} 403 host-is-address" for label in addresses),
                     *(f"{label} 403 destination-not-pinned" for label in pinned),
                     *(f"{label} 200" for label in served), "asked by address: True True, by name: 0", "past it: 0"),
             disruptive=True),
    ]  # fmt: skip
