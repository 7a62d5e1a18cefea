"""B: what may be in an answer (B6, B7, B11), and what its addresses are good for (B12, B13, B16)."""

from __future__ import annotations

import json
from itertools import product

from appliance.addresses import BLOCKED_V4
from appliance.verify import client
from appliance.verify.case import Case, Layer, Origin, Outcome, Output
from appliance.verify.parts import (
    any_question,
    asked,
    at_address,
    errand,
    fresh,
    opened,
    past_the_proxy,
    requested,
)
from appliance.verify.tenants import reload, tenant
from appliance.verify.world import World

REFUSED = Outcome.REFUSED
OWN = ""  # the name server that the container was given
NO = "rcode 5, 0 answers"
EMPTY = "rcode 0, 0 answers"
FAILED = "rcode 2, 0 answers"
PROXIED = frozenset({Layer.GATEWAY, Layer.SQUID})


def rows(world: World) -> list[Case]:
    """These cases of section B."""
    return [
        *_answers(world),
        *_false_answers(world),
        *_own_tables(world),
        *_shared_addresses(world),
        _of_its_own_accord(world),
    ]


def _answers(world: World) -> list[Case]:
    """B6, B7: what may be in an answer."""
    t = world.targets
    kinds = ("AAAA", "HTTPS", "SVCB")
    new = fresh("b6", world)
    empty = [
        *([f"{kind}:", OWN, "udp", kind, t.www.name] for kind in kinds),
        *([f"{kind}-tcp:", OWN, "tcp", kind, t.www.name] for kind in kinds),
        *([f"{kind}-fresh:", OWN, "udp", kind, new] for kind in kinds),
    ]
    special = ("private", "metadata", "mixed", "alias-private")
    names = {word: f"{word}.{t.zone}" for word in special}
    looked_up = [
        *([f"{word}:", OWN, "udp", "A", name] for word, name in names.items()),
        *([f"{word}-tcp:", OWN, "tcp", "A", name] for word, name in names.items()),
    ]
    fetched = {
        f"{word}-{scheme}-{way}:": [*words, f"{scheme}://{name}/"]
        for (word, name), scheme, (way, words) in product(
            names.items(), ("http", "https"), (("proxied", []), ("direct", past_the_proxy("--insecure")))
        )
    }
    by_address = {
        f"{word}-{scheme}-pinned:": [
            *at_address(names[word], port, address), f"{scheme}://{names[word]}/",
        ]
        for word, address in (("private", t.private), ("mixed", t.private), ("metadata", t.metadata))
        for scheme, port in (("http", 80), ("https", 443))
    }  # fmt: skip
    reached = tuple(opened(world, address, port) for address in (t.private, t.metadata) for port in (80, 443))
    rebind = f"rebind.{t.zone}"
    edges = sorted({str(edge) for b in BLOCKED_V4 for edge in (b.network[0], b.network[-1])})
    ranges = [
        [f"{edge}:", OWN, "udp", "A", f"is-{edge.replace('.', '-')}.hostile.{t.zone}"] for edge in edges
    ]
    public = ["public:", OWN, "udp", "A", f"is-{t.other.address.replace('.', '-')}.hostile.{t.zone}"]
    return [
        Case("B6-types", "AAAA, HTTPS and SVCB of allowed names: empty, and nobody is asked", REFUSED,
             errand(client.ask, empty), (any_question(world),),
             expect=tuple(f"{label} {EMPTY}" for label, *_ in empty)),
        Case("B7-answers", "names that lead to private and metadata addresses, also mixed and by an alias",
             REFUSED, errand(client.ask, looked_up), reached,
             expect=tuple(f"{label} {FAILED}" for label, *_ in looked_up), forbid=(t.private, t.metadata)),
        Case("B7-ranges", f"names that lead to the first and last address of {len(BLOCKED_V4)} special ranges",
             REFUSED, errand(client.ask, [*ranges, public]), (),
             expect=(*(f"{edge}: {FAILED}\n" for edge in edges),
                     f"public: rcode 0, 1 answers {t.other.address}\n")),
        Case("B7-requests", "requests to such names, proxied and direct", REFUSED,
             errand(client.fetch, {label: words for label, words in fetched.items() if "proxied" in label}),
             reached, layers=PROXIED,
             expect=tuple(f"{label} 403 private-address" for label in fetched if "proxied" in label),
             forbid=tuple(f"{label} 200" for label in fetched)),
        Case("B7-pinned", "such names with the private address given by hand, and looked up, without proxy",
             REFUSED, errand(client.fetch, by_address | {k: v for k, v in fetched.items() if "direct" in k}),
             reached, expect=tuple(f"{label} 403 private-address" for label in by_address),
             forbid=(" 200", "canary")),
        Case("B7-rebind", "a name that turns private between two answers, asked over its time to live",
             REFUSED, errand(client.again, [rebind, 8, 0.8]),
             (opened(world, t.private, 80), opened(world, t.private, 443)),
             expect=(FAILED, f"rcode 0, 1 answers {t.www.address}"), forbid=(t.private,)),
        Case("B7-rebind-requests", "requests to it again and again, on new connections", REFUSED,
             errand(client.fetch, {
                 f"{number}-{way}:": [*words, f"http://{rebind}/"]
                 for number in range(4) for way, words in (("proxied", []), ("direct", past_the_proxy()))
             }), (opened(world, t.private, 80), opened(world, t.private, 443)), layers=PROXIED,
             # Which of the two answers it has differs; that it asked too fast is no protection.
             forbid=("canary", "-exceeded")),
    ]  # fmt: skip


def _false_answers(world: World) -> list[Case]:
    """B11: answers that are forged, by a workload or by a name server."""
    t = world.targets
    hostile = f"hostile.{t.zone}"
    # What the hostile name server says for each is written there; none of it may be believed.
    said = {
        "stranger": EMPTY, "loop": FAILED, "chain": FAILED, "many": FAILED, "private-last": FAILED,
        "alias-private": FAILED, "not-a-name": FAILED, "contradiction": FAILED, "empty": EMPTY,
    }  # fmt: skip
    questions = [[f"{word}:", OWN, "udp", "A", f"{word}.{hostile}"] for word in (*said, "extra")]
    after = [["after:", OWN, "udp", "A", t.other.name]]
    return [
        Case("B11-forged", "a workload's own answers, sent to the resolver and to others", REFUSED,
             errand(client.forge, [t.www.name, t.decoy]), (opened(world, t.decoy, 80),),
             expect=("stuffed question: rcode 1", f"answers; then: rcode 0, 1 answers {t.www.address}"),
             forbid=(t.decoy,)),
        Case("B11-odd", "messages that are no plain question: nothing of them goes on", REFUSED,
             errand(client.wire, _odd(fresh("b11", world))), (any_question(world),),
             expect=("update: rcode 4", "notify: rcode 4", "two-questions: rcode 1", "no-question: rcode 1",
                     "answer: TimeoutError", "chaos: rcode 5", "transfer: rcode 5", "cut-off: rcode 1",
                     "pointer-loop: rcode 1", "edns-1: rcode 0, 0", "padded: rcode 1"),
             forbid=("another id", "1 answers")),
        Case("B11-hostile", "answers of a hostile name server: strangers' names, loops, floods, denials",
             REFUSED, lambda world: _asked_in_turn(world, questions, after), (opened(world, t.private, 80),),
             expect=(*(f"{word}: {text}" for word, text in said.items()),
                     f"extra: rcode 0, 1 answers {t.www.address}",
                     f"after: rcode 0, 1 answers {t.other.address}"),
             forbid=(t.private, t.decoy)),
    ]  # fmt: skip


def _odd(name: str) -> dict[str, str]:
    """Messages in hexadecimal without their id (RFC 1035 section 4)."""
    asked = client.question(name, "A")[2:]
    one, body = "0001000000000000", asked[10:]
    plain = body.hex()
    return {
        "update:": f"2800{one}{plain}",
        "notify:": f"2000{one}{plain}",
        "two-questions:": f"01000002000000000000{plain * 2}",
        "no-question:": "01000000000000000000",
        "answer:": f"8180{one}{plain}",
        "chaos:": f"0100{one}{body[:-2].hex()}0003",
        "transfer:": f"0100{one}{body[:-4].hex()}00fc0001",
        "cut-off:": f"0100{one}{body[:-3].hex()}",
        "pointer-loop:": f"0100{one}c00c00010001",
        "edns-1:": f"01000001000000000001{plain}0000290200000100000000",
        "padded:": f"01000001000000000001{plain}00002902000000000001f4000c01f0" + "64" * 496,
    }


def _asked_in_turn(world: World, first: list[list[str]], then: list[list[str]]) -> Output:
    """The second questions once the first are answered."""
    before = world.run("reader", errand(client.ask, first))
    after = world.run("reader", errand(client.ask, then))
    return Output(after.status, before.text + after.text)


def _own_tables(world: World) -> list[Case]:
    """B12: a workload that resolves for itself."""
    t = world.targets
    reached = (opened(world, t.literal, 80), opened(world, t.literal, 443))
    urls = {"http": f"http://{t.www.name}/canary/B12", "https": f"https://{t.www.name}/canary/B12"}
    resolved = {
        f"{scheme}:": [*at_address(t.www.name, port, t.literal), urls[scheme]]
        for scheme, port in (("http", 80), ("https", 443))
    }
    connected = {
        f"{scheme}-to:": past_the_proxy("--insecure", "--connect-to", f"::{t.literal}:", url)
        for scheme, url in urls.items()
    }
    added = {f"{scheme}:": past_the_proxy("--insecure", url) for scheme, url in urls.items()}
    edit = (
        "for f in /etc/hosts /etc/resolv.conf /etc/nsswitch.conf; do "
        f"echo '{t.literal} {t.www.name}' >> $f && echo wrote $f; done; "
        f"curl -sS --noproxy '*' -o /dev/null -w 'then %{{http_code}} %{{remote_ip}}' http://{t.www.name}/"
    )
    other = fresh("b12", world)
    return [
        Case("B12-files", "/etc/hosts and /etc/resolv.conf edited in the workload", REFUSED,
             ("sh", "-c", edit), reached, expect=(f"then 200 {t.www.address}",), forbid=("wrote",)),
        Case("B12-resolve", "curl --resolve and --connect-to: an allowed name at an address of one's own",
             REFUSED, errand(client.fetch, {**resolved, **connected}), reached,
             expect=tuple(f"{label} 403 destination-not-pinned" for label in (*resolved, *connected))),
        Case("B12-added-host", "docker run --add-host: the same by the container's own table", REFUSED,
             lambda world: world.run(
                 "reader", errand(client.fetch, added), options=("--add-host", f"{t.www.name}:{t.literal}")),
             reached, expect=tuple(f"{label} 403 destination-not-pinned" for label in added)),
        Case("B12-own-server", "docker run --dns: another name server for the container", REFUSED,
             lambda world: world.run(
                 "lister", errand(client.ask, [["denied:", OWN, "udp", "A", other],
                                               ["looked-up:", OWN, "lookup", "A", other]]),
                 options=("--dns", t.public_resolver)),
             (opened(world, t.public_resolver, 53, "udp"), asked(world, other)),
             expect=(f"denied: {NO}", "looked-up: gaierror")),
    ]  # fmt: skip


def _shared_addresses(world: World) -> list[Case]:
    """B13: an address that is allowed for one name is not allowed for another."""
    t = world.targets
    ways = {
        "sni:": [*at_address(t.other.name, 443, t.www.address), f"https://{t.other.name}/canary/B13/sni"],
        "host:": [*at_address(t.other.name, 80, t.www.address), f"http://{t.other.name}/canary/B13/host"],
        "back-sni:": [*at_address(t.www.name, 443, t.other.address), f"https://{t.www.name}/canary/B13/back"],
        "back-host:": [*at_address(t.www.name, 80, t.other.address), f"http://{t.www.name}/canary/B13/back"],
    }
    reached = tuple(requested(world, site, "/canary/B13/*") for site in (t.www, t.other))
    listed = ("403 host-not-listed",) * 2 + ("403 destination-not-pinned", "403 port-not-allowed")
    return [
        Case("B13-read", "the address of one readable host used for another", REFUSED,
             errand(client.fetch, ways), reached,
             expect=tuple(f"{label} 403 destination-not-pinned" for label in ways)),
        Case("B13-listed", "the address of the one listed host used for another host", REFUSED,
             errand(client.fetch, ways), reached, tenant="lister",
             expect=tuple(f"{label} {answer}" for label, answer in zip(ways, listed, strict=True))),
    ]  # fmt: skip


def _of_its_own_accord(world: World) -> Case:
    """B16: what the gateway asks for by itself, which is nothing."""
    t = world.targets
    # Every certificate of the sites names this host for OCSP, its issuer's certificate and revocation lists.
    pki = f"pki.{t.leaks}"
    return Case(
        "B16-silent", "an intercepted request: no reverse look-up, no OCSP, CRL or issuer is asked for",
        REFUSED, _watched, (asked(world, pki), opened(world, t.decoy, 80)),
        expect=("read: 200", "questions: 0", "connections: 1"),
    )  # fmt: skip


def _watched(world: World) -> Output:
    """One request whose name is known already, to a server that was not connected to before."""
    site = world.targets.www
    questions, opened_any = world.packets(protocol="udp", port=53), world.packets(protocol="tcp")
    policy = {"profile": "allowlist", "rules": [{"name": "site", "hosts": [site.name]}]}
    with tenant(world, json.dumps(policy)) as asking:
        warm = world.run(asking.name, errand(client.ask, [["warm:", OWN, "udp", "A", site.name]]))
        world.settle()
        before = questions.hits(Origin.WORKLOAD), opened_any.hits(Origin.WORKLOAD)
        done = world.run(asking.name, errand(client.fetch, {"read:": [f"https://{site.name}/"]}))
        reload(world)
        world.settle()
        after = questions.hits(Origin.WORKLOAD), opened_any.hits(Origin.WORKLOAD)
    return Output(
        done.status,
        f"{warm.text}{done.text}questions: {after[0] - before[0]}\nconnections: {after[1] - before[1]}\n",
    )
