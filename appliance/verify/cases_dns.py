"""B: what is asked, of whom, and what it can carry (B1 to B4, B8, B9). Answers: `cases_answers`."""

from __future__ import annotations

import json
from itertools import product

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
from appliance.verify.tenants import tenant
from appliance.verify.world import World

REFUSED, REACHES = Outcome.REFUSED, Outcome.REACHES
OWN = ""  # the name server that the container was given
EMBEDDED = "127.0.0.11"
NO = "rcode 5, 0 answers"
PROXIED = frozenset({Layer.GATEWAY, Layer.SQUID})
BOUND = 10  # questions a second of the tenant that floods
FLOOD_SECONDS = 2

# RFC 8484, each in a way of its own: by a well-known name, by the name below one.
RESOLVERS = ("dns.google", "cloudflare-dns.com", "one.one.one.one", "dns.quad9.net", "x.dns.nextdns.io")
DNS_MESSAGE = "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB"


def rows(world: World) -> list[Case]:
    """These cases of section B."""
    return [
        *_servers(world),
        *_labels(world),
        *_allowed_labels(world),
        *_encrypted(world),
    ]


def _servers(world: World) -> list[Case]:
    """B1, B2: other name servers than ours."""
    t = world.targets
    foreign = (t.public_resolver, t.literal, t.decoy)
    ways = list(product(foreign, ("udp", "tcp")))
    name = fresh("b1", world)
    denied = [[f"{server}-{way}:", server, way, "A", name] for server, way in ways]
    allowed = [[f"{server}-{way}:", server, way, "A", t.www.name] for server, way in ways]
    reached = tuple(opened(world, server, 53, way) for server, way in ways)
    return [
        Case("B1-foreign", "a denied name asked of public resolvers and others, UDP and TCP", REFUSED,
             errand(client.ask, denied), (*reached, asked(world, name)), tenant="lister",
             expect=tuple(f"{label} {NO}" for label, *_ in denied), forbid=(t.decoy + "\n",)),
        Case("B1-intercepted", "an allowed name asked of them: it is our resolver that answers", REFUSED,
             errand(client.ask, allowed), reached,
             expect=tuple(f"{label} rcode 0, 1 answers {t.www.address}" for label, *_ in allowed)),
        Case("B2-raw", "TCP port 53 of others with bytes that are no DNS", REFUSED,
             errand(client.speak, {
                 "http:": [t.public_resolver, 53, "GET / HTTP/1.0\r\nHost: x\r\n\r\n"],
                 "ssh:": [t.public_resolver, 53, "SSH-2.0-client\r\n"],
                 "tls:": [t.public_resolver, 53, "\x16\x03\x01\x00\x10" + "\x01" * 16],
                 "other:": [t.literal, 53, "\x00\x02hi"],
             }), (opened(world, t.public_resolver, 53), opened(world, t.literal, 53)),
             expect=tuple(f"{label} nothing" for label in ("http:", "ssh:", "tls:", "other:")),
             forbid=("canary",)),
    ]  # fmt: skip


def _labels(world: World) -> list[Case]:
    """B3, B9: data in the labels of a name that may not be asked for; nothing of it leaves."""
    t = world.targets
    ways = (
        "udp",
        "tcp",
        "lookup",
        "embedded-udp",
        "embedded-tcp",
        "AAAA",
        "HTTPS",
        "TXT",
        "NULL",
        "PTR",
        "ANY",
    )
    names = {way: fresh(f"b3-{way.lower()}", world) for way in ways}
    questions = [
        ["udp:", OWN, "udp", "A", names["udp"]],
        ["tcp:", OWN, "tcp", "A", names["tcp"]],
        ["lookup:", OWN, "lookup", "A", names["lookup"]],
        *([f"{kind}:", OWN, "udp", kind, names[kind]] for kind in ways[5:]),
    ]
    embedded = [[f"{way}:", EMBEDDED, way.partition("-")[2], "A", names[way]] for way in ways[3:5]]
    local = [
        ["docker-host:", EMBEDDED, "udp", "A", "host.docker.internal"],
        ["docker-gateway:", EMBEDDED, "udp", "A", "gateway.docker.internal"],
        ["localhost:", EMBEDDED, "udp", "A", "localhost"],
    ]
    web = {way: fresh(f"b3-{way}", world) for way in ("absolute", "connect", "sni", "host", "own-host")}
    proxied = {"absolute:": [f"http://{web['absolute']}/"], "connect:": [f"https://{web['connect']}/"]}
    direct = {
        "sni:": [*at_address(web["sni"], 443, t.www.address), f"https://{web['sni']}/"],
        "host:": [*at_address(web["host"], 80, t.www.address), f"http://{web['host']}/"],
        "own-host:": [*past_the_proxy("-H", f"Host: {web['own-host']}"), f"http://{t.www.name}/"],
    }
    looked_at = fresh("b3-operator", world)
    return [
        Case("B3-questions", "data in the labels of a denied name, by UDP, TCP, look-up, and other types",
             REFUSED, errand(client.ask, questions),
             tuple(asked(world, name) for way, name in names.items() if "embedded" not in way),
             tenant="lister",
             expect=(f"udp: {NO}", f"tcp: {NO}", "lookup: gaierror", *(f"{k}: {NO}" for k in ways[5:])),
             forbid=(t.decoy,)),
        Case("B3-proxied", "data in the labels of a denied name that the proxy is asked for", REFUSED,
             errand(client.fetch, proxied), (asked(world, web["absolute"]), asked(world, web["connect"])),
             tenant="lister", layers=PROXIED,
             expect=("absolute: 403 host-not-listed", "connect: 403 to CONNECT"),
             forbid=("absolute: 200", "connect: 200")),
        Case("B3-direct", "data in the labels of a denied name in SNI and Host", REFUSED,
             errand(client.fetch, direct),
             tuple(asked(world, web[way]) for way in ("sni", "host", "own-host")), tenant="lister", expect=tuple(f"{label} 403 host-not-listed" for label in direct)),
        Case("B3-operator", "what shows an operator a denied name does not ask for it either", REFUSED,
             lambda world: _shown(world, looked_at), (asked(world, looked_at),), tenant="lister",
             expect=(f"web: 403 host-not-listed\ndns: {NO}", f"log shows {looked_at}: True",
                     "explain: host-not-listed")),
        Case("B9-embedded", "Docker's own resolver at 127.0.0.11 asked for a denied name", REFUSED,
             errand(client.ask, embedded), tuple(asked(world, names[way]) for way in ways[3:5]),
             tenant="lister", expect=tuple(f"{label} {NO}" for label, *_ in embedded), forbid=(t.decoy,)),
        Case("B9-names-of-the-host", "names that Docker, or the host, would answer by itself", REFUSED,
             errand(client.ask, local), (any_question(world),),
             expect=tuple(f"{label} {NO}" for label, *_ in local), forbid=("answers 1",)),
    ]  # fmt: skip


def _shown(world: World, name: str) -> Output:
    """Have a denied name in the records, then look at it in every way that an operator has."""
    web = world.run("lister", errand(client.fetch, {"web:": [f"http://{name}/"]}))
    dns = world.run("lister", errand(client.ask, [["dns:", OWN, "udp", "A", name]]))
    log = world.egress("--json", "log", "-n", "50", "--tenant", world.tenants["lister"])
    told = world.egress(
        "--json", "policy", "explain", "--tenant", world.tenants["lister"], "GET", f"http://{name}/"
    )
    world.egress("top", "--once")
    listed = "host-not-listed" if '"host-not-listed"' in told.text else told.text
    return Output(0, f"{web.text}{dns.text}log shows {name}: {name in log.text}\nexplain: {listed}\n")


def _allowed_labels(world: World) -> list[Case]:
    """B4: where names are allowed, their labels can carry data: bounded, of host names only, on record."""
    t = world.targets
    names = [fresh("b4-recorded", world) for _ in range(3)]
    below = fresh("b4", world)
    forms = {
        "binary:": ("A", f"\xff\xfe\x00data.{below}"),
        "long-label:": ("A", f"{'x' * 64}.{below}"),
        "long-name:": ("A", ".".join(["x" * 60] * 5)),
        "empty-label:": ("A", f"a..{below}"),
        "underscore:": ("A", f"data_more.{below}"),
        "space:": ("A", f"da ta.{below}"),
        "dot-in-label:": ("A", f"da\\.ta.{below}"),
        **{f"{kind}:": (kind, f"data.{below}") for kind in ("TXT", "NULL", "MX", "ANY", "PTR")},
    }
    questions = [[label, OWN, "udp", kind, name] for label, (kind, name) in forms.items()]
    return [
        Case("B4-recorded", "data in the labels of allowed names: each question is on record", REACHES,
             lambda world: _recorded(world, names),
             tuple(asked(world, name) for name in names), expect=("on record: 3",)),
        Case("B4-forms", "data in an allowed name in forms that are no host name, and in other types",
             REFUSED, errand(client.ask, questions), (any_question(world),),
             expect=("binary: rcode 5", "underscore: rcode 5", "space: rcode 5",
                     *(f"{kind}: {NO}" for kind in ("TXT", "NULL", "MX", "ANY", "PTR"))),
             forbid=(t.decoy, "rcode 0, 1")),
        Case("B4-bounded", "a flood of questions below an allowed wildcard: as many as the limit allows",
             REFUSED, _flooded, (), expect=("some left: True", "within the bound: True", "said so: True")),
    ]  # fmt: skip


def _recorded(world: World, names: list[str]) -> Output:
    done = world.run("reader", errand(client.ask, [["q:", OWN, "udp", "A", name] for name in names]))
    log = world.egress("--json", "log", "-n", "50", "--tenant", world.tenants["reader"])
    return Output(done.status, f"{done.text}on record: {sum(name in log.text for name in names)}\n")


def _flooded(world: World) -> Output:
    wildcard = f"*.{world.targets.leaks}"
    policy = {
        "profile": "allowlist",
        "rules": [{"name": "below", "hosts": [wildcard]}],
        "limits": {"queries_per_second": BOUND},
    }
    left = world.packets(protocol="udp", port=53)
    with tenant(world, json.dumps(policy)) as flooding:
        before = left.hits(Origin.WORKLOAD)
        done = world.run(flooding.name, errand(client.flood, [FLOOD_SECONDS, fresh("b4-flood", world)]))
        world.settle()
        count = left.hits(Origin.WORKLOAD) - before
        log = world.egress("--json", "log", "-n", "100", "--tenant", flooding.name)
    bound = BOUND * (FLOOD_SECONDS + 2)
    facts = {
        "some left": count > 0,
        "within the bound": count <= bound,
        "said so": "queries-per-second-exceeded" in log.text,
    }
    said = "".join(f"{what}: {holds}\n" for what, holds in facts.items())
    return Output(done.status, f"{done.text}{count} left, bound {bound}\n{said}")


def _encrypted(world: World) -> list[Case]:
    """B8: DNS over TLS, QUIC and HTTPS."""
    t = world.targets
    resolver = t.public_resolver
    hello = "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"
    names = {
        **{f"{name}:": [f"https://{name}/dns-query?dns={DNS_MESSAGE}"] for name in RESOLVERS},
        "post:": [
            "--data", "x", "-H", "Content-Type: application/dns-message", f"https://{RESOLVERS[0]}/dns-query",
        ],
        "plain:": [f"http://{RESOLVERS[0]}/resolve?name=x.example.com"],
    }  # fmt: skip
    direct = {
        f"{name}-direct:": [*at_address(name, 443, resolver), f"https://{name}/dns-query?dns={DNS_MESSAGE}"]
        for name in RESOLVERS
    }
    address = f"https://{resolver}/dns-query?dns={DNS_MESSAGE}"
    path = f"?dns={DNS_MESSAGE}"
    paths = {
        "get:": [f"https://{t.www.name}/dns-query{path}"],
        "below:": [f"https://{t.www.name}/canary/B8/dns-query{path}"],
        "escaped:": [f"https://{t.www.name}/canary/B8/%64ns-query{path}"],
        "dots:": ["--path-as-is", f"https://{t.www.name}/canary/B8/x/../dns-query{path}"],
        "plain:": [f"http://{t.www.name}/canary/B8/dns-query{path}"],
    }
    posted = ["--data", "x", "-H", "Content-Type: application/dns-message"]
    return [
        Case("B8-dot", "DNS over TLS: TCP 853 of a public resolver and of an allowed host", REFUSED,
             errand(client.speak, {
                 "tls:": [resolver, 853, hello], "plain:": [resolver, 853, "GET / HTTP/1.0\r\n\r\n"],
                 "other:": [t.literal, 853, hello],
             }), (opened(world, resolver, 853), opened(world, t.literal, 853)), forbid=("canary",)),
        Case("B8-doq", "DNS over QUIC: UDP 853 and 443 of a public resolver", REFUSED,
             errand(client.datagrams, {"853:": [resolver, 853], "443:": [resolver, 443]}),
             (opened(world, resolver, 853, "udp"), opened(world, resolver, 443, "udp")),
             expect=("853: nothing", "443: nothing"), forbid=("canary",)),
        Case("B8-doh-names", "DNS over HTTPS: well-known services by name, through the proxy", REFUSED,
             errand(client.fetch, names), (opened(world, resolver, 443), any_question(world)),
             expect=(*(f"{name}: 403 to CONNECT" for name in RESOLVERS), "post: 403 to CONNECT",
                     "plain: 403 host-is-resolver"), layers=PROXIED, forbid=(" 200",)),
        Case("B8-doh-names-direct", "the same by name at their address, past the proxy", REFUSED,
             errand(client.fetch, direct), (opened(world, resolver, 443), any_question(world)),
             expect=tuple(f"{label} 403 host-is-resolver" for label in direct), forbid=(" 200",)),
        Case("B8-doh-address", "the same by address", REFUSED,
             errand(client.fetch, {"proxied:": ["--insecure", address]}),
             (opened(world, resolver, 443), any_question(world)), layers=PROXIED,
             expect=("proxied: 403 to CONNECT",), forbid=(" 200",)),
        Case("B8-doh-address-direct", "the same by address, past the proxy", REFUSED,
             errand(client.fetch, {"direct:": past_the_proxy("--insecure", address)}),
             (opened(world, resolver, 443), any_question(world)), expect=("direct: 000",), forbid=(" 200",)),
        Case("B8-doh-path", "the path of DNS over HTTPS on a host that may be read", REFUSED,
             errand(client.fetch, {**paths, "post:": [*posted, f"https://{t.www.name}/canary/B8/dns-query"]}),
             (requested(world, t.www, "/dns-query", None, "--no-fail"), requested(world, t.www, "/canary/B8/*")), layers=PROXIED,
             expect=(*(f"{label} 403 path-not-allowed" for label in paths), "post: 403"), forbid=(" 200",)),
    ]  # fmt: skip
