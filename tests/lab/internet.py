"""The lab's map: every name and address of the closed Internet, as data.

Service addresses lie in globally routed space, because the appliance rightly refuses the documentation
ranges; all of it exists only inside the lab's namespaces. Names are the ones RFC 2606 keeps for examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

PREFIX = "egl-"  # everything the lab makes on the host is recognised by it
INTERNET = "egl-inet"  # uplink peer of the gateway: hosts all services and canaries
CONTROL = "egl-control"  # attached to the Internet directly: proves that canaries are alive
RUNTIME = Path("/run/egress-lab")
STATE = RUNTIME / "lab"
LOCK = Path("/run/egress-lab.lock")
CONTAINER_LABEL = "egress.lab"

CONTROL_ADDRESS = "198.18.84.2"
CONTROL_PEER = "198.18.84.1"
CONTROL_ADDRESS_6 = "fd83:1ab::2"
CONTROL_PEER_6 = "fd83:1ab::1"
CONTROL_LINK = f"{PREFIX}ctl"  # the control link's end inside the Internet namespace

DNS_SERVER = "93.184.215.53"
REBIND_SERVER = "127.0.0.1"
REBIND_PORT = 5354
GIT_BACKEND_PORT = 9418
REBIND_NAME = "rebind.example.net"
HOSTILE_NAME = "hostile.example.net"  # below it every answer is wrong in the way that the first label says
PKI_NAME = "pki.exfil.example.com"  # what every certificate names for OCSP, CRLs and its issuer: never asked


class Certificate(Enum):
    """What is wrong with a host's certificate, if anything."""

    GOOD = "good"
    EXPIRED = "expired"
    SELF_SIGNED = "self-signed"
    WRONG_HOST = "wrong-host"


@dataclass(frozen=True, slots=True)
class Site:
    """A web server: real nginx on ports 80 and 443 of its own address."""

    name: str
    address: str
    certificate: Certificate = Certificate.GOOD


WWW = Site("www.example.com", "93.184.215.10")
OTHER = Site("other.example.com", "93.184.215.11")
PYPI = Site("pypi.example.org", "93.184.215.20")
NPM = Site("npm.example.org", "93.184.215.21")
GIT = Site("git.example.net", "93.184.215.22")
EXPIRED = Site("expired.example.net", "93.184.215.31", Certificate.EXPIRED)
SELF_SIGNED = Site("self-signed.example.net", "93.184.215.32", Certificate.SELF_SIGNED)
WRONG_HOST = Site("wrong-host.example.net", "93.184.215.33", Certificate.WRONG_HOST)
# No nginx serves these, but `tests.lab.liar`.
LIAR = Site("liar.example.net", "93.184.215.40")
OLD_TLS = Site("old-tls.example.net", "93.184.215.41")  # speaks TLS 1.1 at best
ASKS_WHO = Site("asks-who.example.net", "93.184.215.42")  # wants a client's certificate
# What is measured is served by `tests.bench.origin`.
BENCH = Site("bench.example.com", "93.184.215.50")
BENCH_TUNNEL = Site("tunnel.example.com", "93.184.215.51")
ODD_SITES = (LIAR, OLD_TLS, ASKS_WHO, BENCH, BENCH_TUNNEL)
# Served by `tests.lab.providers`, which a test starts. They bear the names that official SDKs have built in.
OPENAI = Site("api.openai.com", "93.184.215.60")
ANTHROPIC = Site("api.anthropic.com", "93.184.215.61")
STRIPE = Site("api.stripe.com", "93.184.215.62")
GITHUB = Site("api.github.com", "93.184.215.63")
GITHUB_GIT = Site("github.com", "93.184.215.64")
SLACK = Site("slack.com", "93.184.215.65")
BUCKET, REGION = "lab-objects", "eu-west-1"
S3 = Site(f"s3.{REGION}.amazonaws.com", "93.184.215.66")
S3_BUCKET = Site(f"{BUCKET}.s3.{REGION}.amazonaws.com", "93.184.215.67")
REFLECTOR = Site("reflector.example.com", "93.184.215.68")  # says what authority it was sent, in every way
REFLECTOR_2 = Site("reflector.example.net", "93.184.215.69")  # the same for somebody else
PROVIDERS = (OPENAI, ANTHROPIC, STRIPE, GITHUB, GITHUB_GIT, SLACK, S3, S3_BUCKET, REFLECTOR, REFLECTOR_2)
SITES = (WWW, OTHER, PYPI, NPM, GIT, EXPIRED, SELF_SIGNED, WRONG_HOST)

PRIVATE = "10.0.1.5"
METADATA = "169.254.169.254"
LITERAL = "45.33.32.156"
PUBLIC_RESOLVER = "8.8.8.8"
PUBLIC_6 = "2606:2800:220:1:248:1893:25c8:1946"
DECOY = "45.33.32.99"  # what the canary name servers answer for every name

# More addresses of ranges that are not public: clouds serve metadata at most of them.
SPECIAL = ("192.168.1.1", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192")

# Every one of these answers on every canary port, and is never to be reached through the appliance.
CANARY_ADDRESSES = (PRIVATE, METADATA, LITERAL, PUBLIC_RESOLVER, DECOY, "1.1.1.1", *SPECIAL)
CANARY_ADDRESSES_6 = (PUBLIC_6, "fd00:ec2::254")
CANARY_TCP_PORTS = (22, 25, 53, 80, 443, 853, 5432, 6379, 8080)
CANARY_UDP_PORTS = (53, 123, 443, 853, 9999)
ALLOWED_HOST_CANARY_PORTS = (22, 8080)  # at the address of a host that may be read on 443
HOST_CANARY_PORT = 18080  # on the host's own bridge address

# name → addresses, in the authoritative server's zone (dnsmasq hosts format allows several)
HOSTS: tuple[tuple[str, str], ...] = (
    *((site.name, site.address) for site in (*SITES, *ODD_SITES, *PROVIDERS)),
    ("private.example.net", PRIVATE),
    ("metadata.example.net", METADATA),
    ("mixed.example.net", WWW.address),
    ("mixed.example.net", PRIVATE),
)
ALIASES = (("alias-public.example.net", WWW.name), ("alias-private.example.net", "private.example.net"))
WILDCARDS = (
    ("exfil.example.com", DECOY),
)  # every name below answers: any such query is a leak that would work


def namespace_path(name: str) -> Path:
    """Where iproute2 keeps the namespace."""
    return Path("/run/netns") / name
