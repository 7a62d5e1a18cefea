"""B: names. What is asked, and of whom; what may be in an answer; what its addresses are good for."""

from __future__ import annotations

import json
import secrets
from itertools import product

from appliance.addresses import BLOCKED_V4
from appliance.verify import client
from appliance.verify.case import Case, Layer, Origin, Outcome, Output
from appliance.verify.parts import (
    any_question,
    asked,
    at_address,
    errand,
    opened,
    past_the_proxy,
    requested,
)
from appliance.verify.tenants import reload, tenant
from appliance.verify.world import World

REFUSED, REACHES = Outcome.REFUSED, Outcome.REACHES
OWN = ""  # the name server that the container was given
EMBEDDED = "127.0.0.11"
NO = "rcode 5, 0 answers"
EMPTY = "rcode 0, 0 answers"
FAILED = "rcode 2, 0 answers"
PROXIED = frozenset({Layer.GATEWAY, Layer.SQUID})
BOUND = 10  # questions a second of the tenant that floods
FLOOD_SECONDS = 2

# RFC 8484, each in a way of its own: by a well-known name, by the name below one.
RESOLVERS = ("dns.google", "cloudflare-dns.com", "one.one.one.one", "dns.quad9.net", "x.dns.nextdns.io")
DNS_MESSAGE = "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB"


def rows(world: World) -> list[Case]:
    """Every case of section B."""
    return [
        *_servers(world),
        *_labels(world),
        *_allowed_labels(world),
        *_answers(world),
        *_encrypted(world),
        *_false_answers(world),
        *_own_tables(world),
        *_shared_addresses(world),
        _of_its_own_accord(world),
    ]


def _fresh(word: str, world: World) -> str:
    """A name below the leaks that nobody has asked for yet."""
    return f"{word}-{secrets.token_hex(6)}.{world.targets.leaks}"


def _servers(world: World) -> list[Case]:
    """B1, B2: other name servers than ours."""
    t = world.targets
    foreign = (t.public_resolver, t.literal, t.decoy)
    ways = list(product(foreign, ("udp", "tcp")))
    name = _fresh("b1", world)
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
    names = {way: _fresh(f"b3-{way.lower()}", world) for way in ways}
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
    web = {way: _fresh(f"b3-{way}", world) for way in ("absolute", "connect", "sni", "host", "own-host")}
    proxied = {"absolute:": [f"http://{web['absolute']}/"], "connect:": [f"https://{web['connect']}/"]}
    direct = {
        "sni:": [*at_address(web["sni"], 443, t.www.address), f"https://{web['sni']}/"],
        "host:": [*at_address(web["host"], 80, t.www.address), f"http://{web['host']}/"],
        "own-host:": [*past_the_proxy("-H", f"Host: {web['own-host']}"), f"http://{t.www.name}/"],
    }
    looked_at = _fresh("b3-operator", world)
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
    names = [_fresh("b4-recorded", world) for _ in range(3)]
    below = _fresh("b4", world)
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
        done = world.run(flooding.name, errand(client.flood, [FLOOD_SECONDS, _fresh("b4-flood", world)]))
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


def _answers(world: World) -> list[Case]:
    """B6, B7: what may be in an answer."""
    t = world.targets
    kinds = ("AAAA", "HTTPS", "SVCB")
    fresh = _fresh("b6", world)
    empty = [
        *([f"{kind}:", OWN, "udp", kind, t.www.name] for kind in kinds),
        *([f"{kind}-tcp:", OWN, "tcp", kind, t.www.name] for kind in kinds),
        *([f"{kind}-fresh:", OWN, "udp", kind, fresh] for kind in kinds),
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
             forbid=("canary",)),
    ]  # fmt: skip


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
             errand(client.wire, _odd(_fresh("b11", world))), (any_question(world),),
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
    other = _fresh("b12", world)
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
    with tenant(world, json.dumps(policy)) as fresh:
        warm = world.run(fresh.name, errand(client.ask, [["warm:", OWN, "udp", "A", site.name]]))
        world.settle()
        before = questions.hits(Origin.WORKLOAD), opened_any.hits(Origin.WORKLOAD)
        done = world.run(fresh.name, errand(client.fetch, {"read:": [f"https://{site.name}/"]}))
        reload(world)
        world.settle()
        after = questions.hits(Origin.WORKLOAD), opened_any.hits(Origin.WORKLOAD)
    return Output(
        done.status,
        f"{warm.text}{done.text}questions: {after[0] - before[0]}\nconnections: {after[1] - before[1]}\n",
    )
