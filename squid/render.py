"""`squid.model` as the text of squid.conf and of the files beside it (pure).

No value of a policy can say more than itself: Jinja passes every expression through `word`, which takes no
space, quote, comment sign or control, and raises for all else, though names were validated long before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import PurePosixPath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from appliance.policy.hosts import HostPattern
from appliance.processes import CHAINED_PORT, HEARTBEAT_PORT
from squid import model
from squid.model import Denial, Fallback

# "Word" in squid.conf: no white space, no leading quote or @ or ${ that would open something else.
_WORD = re.compile(r"[A-Za-z0-9/(^.:\[][A-Za-z0-9_./:^$()\[\]*+?,;=@!&'~|{}\\-]*")
ADDRESS = (
    r"^(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}$"
)
"""POSIX extended: an IPv4 address in its one canonical form (RFC 6943 section 3.1.1)."""

GENERATOR = "/usr/lib/squid/security_file_certgen"
LEAVES_SIZE = "4MB"
"""What the certificate generator keeps at most, said when its directory is made and when it is started."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")

_SPEAKING_FOR_OTHERS = (
    "Forwarded", "Via", "Early-Data", "X-Original-URL", "X-Original-URI", "X-Original-Host",
    "X-Original-Forwarded-For", "X-Original-Method", "X-Rewrite-URL", "X-Override-URL", "X-Host",
    "X-HTTP-Host-Override", "X-Real-IP", "X-Client-IP",
    "X-Cluster-Client-IP", "True-Client-IP", "CF-Connecting-IP", "Fastly-Client-IP", "X-Remote-IP",
    "X-Remote-Addr", "X-Originating-IP", "Client-IP", "X-Upstream-HTTPS-Proxy", "X-Upstream-HTTP-Proxy",
    "X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "X-ARR-SSL", "Front-End-Https",
    "X-Custom-IP-Authorization", "X-Middleware-Subrequest", "X-Azure-ClientIP", "X-Azure-SocketIP",
    "Forwarded-For", "X-Forward-For", "X-Forwarder-For", "X-Forwarded",
    "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port",
    "X-Forwarded-Server", "X-Forwarded-Prefix", "X-Forwarded-Scheme", "X-Forwarded-SSL",
    "X-Forwarded-By", "X-Forwarded-Path", "X-Forwarded-URI", "X-Envoy-Original-Path",
    "X-Envoy-External-Address", "X-Envoy-Internal", "X-ProxyUser-IP", "Proxy", "Proxy-Authorization",
    "Proxy-Authenticate", "Proxy-Connection", "HTTP2-Settings",
)  # fmt: skip
# CGI and its heirs read `_` as `-`. Squid matches whole names only, so that each has to stand here.
STRIPPED = tuple(
    dict.fromkeys(form for name in _SPEAKING_FOR_OTHERS for form in (name, name.replace("-", "_")))
)
"""Fields by which a request could speak to a proxy or front end, or past one, as the gateway knows them."""

NEVER_NOMINATED = (
    "authorization", "cache-control", "content-encoding", "content-length", "content-range", "content-type",
    "cookie", "date", "expect", "host", "location", "origin", "range", "referer", "set-cookie",
    "transfer-encoding", "www-authenticate",
)  # fmt: skip
"""What a Connection field may not name, as the gateway knows them."""

# Squid takes the page of the last acl that it looked at, inside a group too.
_PAGE_OF = (
    ("manager", Denial.TARGET), ("internal", Denial.TARGET), ("tenants", Denial.SOURCE_UNKNOWN),
    ("tunnel", Denial.METHOD), ("has_length", Denial.BODY), ("has_coding", Denial.BODY),
    ("upgrades", Denial.UPGRADE), ("upgrades_h2", Denial.UPGRADE), ("userinfo", Denial.FORM),
    ("disguised_length", Denial.FORM), ("disguised_coding", Denial.FORM),
    ("disguised_type", Denial.FORM), ("disguised_content_coding", Denial.FORM), ("nominates", Denial.FORM),
    ("expects_continue", Denial.FORM), ("plain_form", Denial.FORM),
    ("port80", Denial.SERVICE), ("is_http", Denial.SERVICE), ("is_https", Denial.SERVICE),
    ("port443", Denial.SERVICE), ("host_name", Denial.NAME),
    ("odd_name", Denial.NAME), ("special_use", Denial.NAME_NOT_PUBLIC),
    ("resolvers", Denial.HOST_IS_RESOLVER),
    ("plain_target", Denial.TARGET), ("special", Denial.PRIVATE_ADDRESS), ("all", Denial.REQUEST_NOT_LISTED),
)  # fmt: skip

# Squid's own errors, whose pages would tell a caller his request, our version and an administrator's address.
SQUID_ERRORS = {
    "ERR_ACCESS_DENIED": "request-not-listed",
    "ERR_CANNOT_FORWARD": "upstream-unreachable",
    "ERR_CONFLICT_HOST": "host-mismatch",
    "ERR_CONNECT_FAIL": "upstream-unreachable",
    "ERR_DNS_FAIL": "name-not-resolved",
    "ERR_INVALID_REQ": "request-malformed",
    "ERR_INVALID_RESP": "upstream-malformed",
    "ERR_INVALID_URL": "target-not-plain",
    "ERR_LIFETIME_EXP": "timeout",
    "ERR_PROTOCOL_UNKNOWN": "request-malformed",
    "ERR_READ_ERROR": "upstream-unreachable",
    "ERR_READ_TIMEOUT": "timeout",
    "ERR_SECURE_CONNECT_FAIL": "upstream-certificate-invalid",
    "ERR_TOO_BIG": "headers-too-large",
    "ERR_UNSUP_HTTPVERSION": "request-malformed",
    "ERR_UNSUP_REQ": "method-not-allowed",
    "ERR_URN_RESOLVE": "target-not-plain",
    "ERR_ZERO_SIZE_OBJECT": "upstream-unreachable",
}

_DETAIL = "The gateway is away; until it is back, a stricter proxy answers, and it does not allow this."
_MEND = "Try again in a moment, by the host's plain name, with GET or HEAD."


_MAPPED = IPv6Network("::ffff:0:0/96")
_STDOUT, _STDERR = PurePosixPath("/dev/stdout"), PurePosixPath("/dev/stderr")


class Unrenderable(ValueError):
    """A value that could be read as more than one word; nothing is rendered then."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where Squid listens and where its files are; `name_servers` are asked on port 53.

    `signing` is PEM with key, certificate and chain; `leaves` the certificate generator's directory.
    `chained`: the gateway asks it for addresses, on a port of its own.
    `access_log` gets one line for each request, `log` what Squid says of itself.
    """

    address: IPv4Address
    port: int
    directory: PurePosixPath
    upstream_ca: PurePosixPath
    name_servers: tuple[IPv4Address, ...]
    chained: bool = False
    access_log: PurePosixPath = _STDOUT
    log: PurePosixPath = _STDERR

    @property
    def configuration(self) -> PurePosixPath:
        """squid.conf."""
        return self.directory / "squid.conf"

    @property
    def service(self) -> str:
        """Names its shared memory, which is the host's: that of another Squid would keep it from starting."""
        return f"egress{sha256(str(self.directory).encode()).hexdigest()[:12]}"  # letters and digits alone

    @property
    def signing(self) -> PurePosixPath:
        """Key and chain of the intermediate."""
        return self.directory / "signing.pem"

    @property
    def leaves(self) -> PurePosixPath:
        """Certificates made for servers."""
        return self.directory / "leaves"

    @property
    def pages(self) -> PurePosixPath:
        """Error pages."""
        return self.directory / "pages"

    @property
    def target_script(self) -> PurePosixPath:
        """The program that judges targets."""
        return self.directory / "target.sed"

    @property
    def form_script(self) -> PurePosixPath:
        """The program that judges versions and Host fields."""
        return self.directory / "form.sed"

    @property
    def pid_file(self) -> PurePosixPath:
        """For `squid -k`."""
        return self.directory / "squid.pid"


def word(value: Any) -> str:
    """`value` as one word of squid.conf. Raises `Unrenderable`."""
    text = str(value)
    if not _WORD.fullmatch(text) or "${" in text:
        raise Unrenderable(f"{text[:80]!a} cannot stand in squid.conf")
    return text


def literal(value: Any) -> str:
    """A host name as POSIX expression for exactly that text. Raises `Unrenderable`."""
    text = str(value)
    if not _NAME.fullmatch(text):
        raise Unrenderable(f"{text[:80]!a} is no host name")
    return text.replace(".", "[.]")


def below(value: Any) -> str:
    """The expression for every name below a host. Raises `Unrenderable`."""
    return f"[.]{literal(value)}$"


def render(fallback: Fallback, place: Place) -> str:
    """The text of squid.conf. Raises `Unrenderable`."""
    environment = Environment(
        loader=PackageLoader("squid"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - no HTML: `word` stands at every expression
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=word,
        keep_trailing_newline=True,
    )
    environment.filters.update(literal=literal, below=below)
    lists = tuple(_host_lists(fallback))
    reasons = [(leaf, x.denial) for x in lists if x.denial is not None for leaf in x.leaves]
    return environment.get_template("squid.conf.j2").render(
        fallback=fallback,
        place=place,
        model=model,
        lists=lists,
        pages=[(page_name(denial), acl) for acl, denial in (*_PAGE_OF, *reasons)],
        stripped=STRIPPED,
        chained_port=CHAINED_PORT,
        heartbeat_port=HEARTBEAT_PORT,
        blocked=tuple(_apart(fallback.blocked)),
        never_nominated="|".join(NEVER_NOMINATED),
        address=ADDRESS,
        generator=GENERATOR,
        leaves_size=LEAVES_SIZE,
    )


def _apart(networks: tuple[IPv4Network | IPv6Network, ...]) -> Iterator[IPv4Network | IPv6Network]:
    """The same networks, none within another as Squid sees them: it leaves out one of two that overlap.

    To Squid an IPv4 address is a mapped one (RFC 4291 section 2.5.5.2), for which IPv4 networks speak.
    """
    for network in networks:
        if isinstance(network, IPv6Network) and network.supernet_of(_MAPPED):
            yield from network.address_exclude(_MAPPED)
        elif network != _MAPPED:
            yield network


@dataclass(frozen=True, slots=True)
class _HostList:
    """One acl about hosts."""

    name: str
    exact: tuple[str, ...]
    below: tuple[str, ...]
    denial: Denial | None = None

    @property
    def leaves(self) -> tuple[str, ...]:
        """The acls that it is made of."""
        kinds = (("exact", self.exact), ("below", self.below))
        return tuple(f"{self.name}_{kind}" for kind, names in kinds if names)


def _host_lists(fallback: Fallback) -> Iterator[_HostList]:
    for index, tenant in enumerate(fallback.tenants):
        for scheme, port in model.WEB:
            if denied := tenant.denied.get((scheme, port)):
                yield _host_list(f"t{index}_denied{port}", denied, Denial.HOST_DENIED)
            if not tenant.reads_web and (listed := tenant.listed(scheme)):
                yield _host_list(f"t{index}_listed{port}", listed, Denial.HOST_NOT_LISTED)
        if not tenant.reads_web:
            for number, opening in enumerate(tenant.openings):
                yield _host_list(f"t{index}_o{number}_host", (opening.host,))


def _host_list(name: str, patterns: tuple[HostPattern, ...], denial: Denial | None = None) -> _HostList:
    for pattern in patterns:
        literal(pattern.name)
    exact = tuple(p.name for p in patterns if not p.below)
    return _HostList(name, exact, tuple(p.name for p in patterns if p.below), denial)


def page_name(denial: Denial) -> str:
    """The file of a refusal below `Place.pages`."""
    return f"ERR_EGRESS_{denial.name}"


def pages() -> dict[str, str]:
    """File name → text of every refusal, ours (sent with status 403) and Squid's own."""
    reasons = {page_name(denial): denial.value for denial in Denial} | SQUID_ERRORS
    return {name: _page(reason) for name, reason in reasons.items()}


def _page(reason: str) -> str:
    said = {
        "type": "about:blank",
        "title": "Refused by the egress fallback",
        "reason": reason,
        "layer": "squid-fallback",
        "detail": _DETAIL,
        "mend": _MEND,
    }
    return json.dumps(said) + "\n"


def target_script() -> str:
    """The sed(1) program that says OK of a plain target whose Host is the ClientHello's name, and ERR else.

    A line is scheme, name of the ClientHello or `-`, host, raw path and query, and a last `-`.
    """
    host = "[a-z0-9.-]+"
    odd = [f"{host} [^? ]*{text.replace('$', '[? ]')}" for text in model.ODD_PATHS]
    odd += [f"[?].*{text}" for text in model.ODD_QUERIES]
    return "\n".join(
        [
            f"s#^https ({host}) \\1 #http - \\1 #",
            "t judge",
            ":judge",
            *(f"s#^.*{text}.*$#ERR#p;t" for text in odd),
            f"s#^http - {host} {model.PATH}([?]{model.QUERY})? -$#OK#p;t",
            "s#.*#ERR#p",
            "",
        ]
    )


def form_script() -> str:
    """The sed(1) program that says OK of HTTP/1.0 and 1.1 whose Host field is the target's authority.

    A line is method, version, host and port of the target, Host field or `-`, and a last `-`. As the gateway
    does, it lets a CONNECT of HTTP/1.0 be without Host: what it asks for stands in its target alone.
    """
    host, port = "([a-z0-9.-]+)", "([0-9]+)"
    return "\n".join(
        [
            rf"s#^CONNECT 1[.]0 {host} {port} - -$#OK#Ip;t",
            rf"s#^[A-Z]+ 1[.][01] {host} {port} \1(:\2)? -$#OK#Ip;t",
            "s#.*#ERR#p",
            "",
        ]
    )
