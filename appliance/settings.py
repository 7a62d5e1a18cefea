"""What an operator settles once for an appliance instance: names, paths, uids, uplink.

The file is `egress.yaml` in the configuration directory; every value has a default, so an absent file is a
complete configuration. Unknown keys are errors. Policy is not here (see `appliance.policy`).
It is long because the file is one: what an operator may write stands in one place, in the file's order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from appliance import yamldoc
from appliance.addresses import classify, never_exceptable
from appliance.faults import faults
from appliance.platform_url import PlatformUrl, service_of
from appliance.reserved_names import RESERVED
from appliance.shared_directories import is_shared
from appliance.workload import TENANT_NAME

SETTINGS_VARIABLE = "EGRESS_SETTINGS"
DEFAULT_FILE = Path("/etc/egress/egress.yaml")
CREDENTIALS = Path("/run/credentials")
"""Where systemd puts the credentials of units (systemd.exec(5)), a directory for each."""


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"{name!r} is a word of nft or Docker; choose another name")
    return name


def _absolute(path: Path) -> Path:
    # The command line resolves a relative path in its own directory, the processes in "/".
    if not path.is_absolute() or "\0" in str(path):
        raise ValueError(f"{str(path)!r} is no absolute path; write it from the root, like /etc/egress")
    return path


def _own(path: Path) -> Path:
    if is_shared(path):
        raise ValueError(
            f"{path} is a directory that others use; write one for this alone, like /srv/egress/state"
        )
    return path


def _network(entry: Any) -> IPv4Network | IPv6Network:
    # A bare number would be one of IPv4's 2**32 addresses.
    if not isinstance(entry, str):
        raise ValueError(f"{entry!r} is no text; write an address or a network in quotation marks")  # noqa: TRY004
    network = ip_network(entry)
    if isinstance(network, IPv6Network) and network.overlaps(_MAPPED):
        raise ValueError(f"{entry!r} holds IPv4 addresses in IPv6 form; write them as IPv4")
    return network


_MAPPED = IPv6Network("::ffff:0:0/96")
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
OwnDirectory = Annotated[AbsolutePath, AfterValidator(_own)]
InstanceName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,14}$"), AfterValidator(_not_reserved)
]
NamespaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(_network)]
TenantName = Annotated[str, StringConstraints(pattern=rf"^{TENANT_NAME.pattern}$")]
Uid = Annotated[int, Field(ge=1, le=2**31)]
Port = Annotated[int, Field(ge=1, le=65535)]


class SettingsError(ValueError):
    """The settings file cannot be used; `str()` is one line per problem, each with the mend."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Uids(_Model):
    """Numeric uid (and gid of the same number) of each unprivileged process; none may own anything else.

    `group` is the gid that they share beside: it opens to them the control sockets of one another.
    """

    gateway: Uid = 64101
    resolver: Uid = 64102
    broker: Uid = 64103
    squid: Uid = 64104
    group: Uid = 64100

    @model_validator(mode="after")
    def _distinct(self) -> Uids:
        values = [self.gateway, self.resolver, self.broker, self.squid, self.group]
        if len(set(values)) != len(values):
            raise ValueError("two uids are equal; each process needs a uid of its own")
        return self


class UplinkProxy(_Model):
    """An HTTP proxy that is the only way out, by address: its name would have to be looked up by somebody."""

    address: IPv4Address
    port: Port

    @field_validator("address")
    @classmethod
    def _may_be_opened(cls, address: IPv4Address) -> IPv4Address:
        if not classify(address).is_public and (block := never_exceptable(IPv4Network(address))):
            raise ValueError(
                f"{address} is {block.kind.value} ({block.source}), which is never opened; "
                "write the address at which the proxy is reached from other hosts"
            )
        return address


class Uplink(_Model):
    """The veth pair between the gateway namespace and the rest of the world.

    `address` is the gateway's end with its prefix length, `peer` the other end's address and the default
    route. `peer_namespace` names the network namespace (below /run/netns) of the other end; absent, it is
    the host's, where netd adds source NAT for this link alone. With a `proxy` the gateway opens nothing but
    that: what it has judged and pinned, it asks the proxy to connect to, by address. When `chained`, it asks
    the Squid of the fallback, which judges the address once more.
    """

    address: IPv4Interface = IPv4Interface("198.18.83.2/30")
    peer: IPv4Address = IPv4Address("198.18.83.1")
    peer_namespace: NamespaceName | None = None
    proxy: UplinkProxy | None = None
    chained: bool = False

    @model_validator(mode="after")
    def _on_link(self) -> Uplink:
        if self.peer not in self.address.network or self.peer == self.address.ip:
            raise ValueError(
                f"peer {self.peer} is not at the other end of {self.address}; "
                f"it must be another address of {self.address.network}"
            )
        if self.proxy is not None and self.proxy.address == self.address.ip:
            raise ValueError(f"proxy {self.proxy.address} is the gateway itself; write the proxy's address")
        if self.proxy is not None and self.chained:
            raise ValueError(
                "a proxy and chained stand together; there is one way out: leave one of them away"
            )
        return self


DNS_PORT = 53


class NameServer(_Model):
    """One upstream DNS server, reached over the uplink."""

    address: IPv4Address
    port: Port = DNS_PORT


def servers_for_squid(servers: Iterable[NameServer]) -> tuple[IPv4Address, ...]:
    """Those that Squid can ask: it knows no port but 53 (squid.conf, `dns_nameservers`)."""
    return tuple(server.address for server in servers if server.port == DNS_PORT)


NO_SERVER_FOR_SQUID = "no name server on port 53, and Squid asks on no other"
SERVER_FOR_SQUID_MEND = "name one in resolver.servers"


class ResolverSettings(_Model):
    """Upstream servers and the bounds of a pin's life, in seconds; no server means the host's own."""

    servers: tuple[NameServer, ...] = ()
    min_ttl: Annotated[int, Field(ge=1, le=3600)] = 5
    max_ttl: Annotated[int, Field(ge=1, le=86400)] = 300
    queries_per_second: Annotated[int, Field(ge=1, le=100000)] = 50


class DockerSettings(_Model):
    """Where the Docker engine is; `root` is its file system as seen from here (`/` on a usual host)."""

    socket: AbsolutePath = Path("/var/run/docker.sock")
    plugin_dir: AbsolutePath = Path("/run/docker/plugins")
    root: AbsolutePath = Path("/")
    daemon_json: AbsolutePath = Path("/etc/docker/daemon.json")


class VaultSettings(_Model):
    """Where secrets are kept, and what opens them when the broker starts.

    `url` is of an SQLite file (default: below the state directory) or a PostgreSQL database. `unlock` says
    where the key-encryption key comes from: `key_file` (made at the first start), `passphrase_file`, or
    `passphrase`, which `egress vault unlock` asks for after each start. Both files are the broker's alone;
    below CREDENTIALS it is systemd that gives the passphrase to the broker's unit, which `egress units` says.
    """

    url: str | None = None
    unlock: Literal["key_file", "passphrase_file", "passphrase"] = "key_file"
    key_file: AbsolutePath | None = None
    passphrase_file: AbsolutePath | None = None

    @property
    def is_remote(self) -> bool:
        """Whether the database is reached over a network: a PostgreSQL by host, not by a Unix socket."""
        authority = (self.url or "").partition("://")[2].partition("/")[0].partition("?")[0]
        return authority.rpartition("@")[2] != ""

    @model_validator(mode="after")
    def _names_what_it_reads(self) -> VaultSettings:
        if (self.unlock == "passphrase_file") != (self.passphrase_file is not None):
            raise ValueError("passphrase_file and `unlock: passphrase_file` belong together; write both")
        if self.unlock != "key_file" and self.key_file is not None:
            raise ValueError("key_file is read with `unlock: key_file` alone; leave it away")
        return self


class ExternalCaSettings(_Model):
    """An operator's own CA, in the place of the broker's, for workloads' certificates.

    `trust` holds its self-signed roots (PEM); `timeout` is in seconds, for the whole of one answer.
    """

    url: PlatformUrl
    trust: AbsolutePath
    timeout: Annotated[float, Field(ge=0.1, le=10.0)] = 10.0


class EnrolmentSettings(_Model):
    """Who signs workloads' certificates; without an `external_ca` it is the broker."""

    external_ca: ExternalCaSettings | None = None


class TrustedPeers(_Model):
    """Processes of the host, by uid, that say who calls, in `X-Egress-Actor` and `X-Egress-Scopes`.

    They have authenticated their own clients, all of one tenant.
    """

    tenant: TenantName
    uids: Annotated[tuple[Uid, ...], Field(min_length=1)]


JwtAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519",
    "HS256", "HS384", "HS512",
]  # fmt: skip


class JwtSettings(_Model):
    """Callers with a JWT: of which issuer, for which audience and tenant, signed how.

    The issuer's keys stand in one place: `jwks_url` (a JWK set, asked through a worker), `jwks_file` (one
    here), `public_key_file` (one key, PEM), or `secret_file` (for HMAC; the broker's alone). A file that
    changes is read again.
    """

    issuer: Annotated[str, Field(min_length=1)]
    audience: Annotated[str, Field(min_length=1)]
    tenant: TenantName
    algorithms: Annotated[tuple[JwtAlgorithm, ...], Field(min_length=1)]
    jwks_url: PlatformUrl | None = None
    jwks_file: AbsolutePath | None = None
    public_key_file: AbsolutePath | None = None
    secret_file: AbsolutePath | None = None

    @model_validator(mode="after")
    def _has_one_source_that_fits(self) -> JwtSettings:
        places = (self.jwks_url, self.jwks_file, self.public_key_file, self.secret_file)
        if sum(place is not None for place in places) != 1:
            raise ValueError(
                "the issuer's keys stand in one place; "
                "write one of jwks_url, jwks_file, public_key_file, secret_file"
            )
        if any(name.startswith("HS") != (self.secret_file is not None) for name in self.algorithms):
            raise ValueError(
                "HS256 and its like belong to secret_file, and only these; write the issuer's own"
            )
        return self


class CallersSettings(_Model):
    """Callers that are no containers, on the broker's socket `callers`. API keys count always.

    `group`: the gid that may open the socket; without one it is root alone. What is left out accepts nobody.
    """

    group: Uid | None = None
    trusted: TrustedPeers | None = None
    jwt: JwtSettings | None = None


class Settings(_Model):
    """One appliance instance.

    `instance` names the gateway namespace, the nft tables, the Docker driver and the link prefix, so that
    two instances (a lab beside a production appliance) never touch each other. Without `fallback` nothing
    passes while the gateway is away. `workload_addresses`: whence a container may use the certificate of a
    workload; an empty list lets nobody, and without one only the certificate is asked for.
    """

    instance: InstanceName = "egress"
    config_dir: OwnDirectory = Path("/etc/egress")
    state_dir: OwnDirectory = Path("/var/lib/egress")
    run_dir: OwnDirectory = Path("/run/egress")
    log_dir: OwnDirectory = Path("/var/log/egress")
    workers: Annotated[int, Field(ge=1, le=16)] = 2
    fallback: bool = True
    uids: Uids = Uids()
    uplink: Uplink = Uplink()
    resolver: ResolverSettings = ResolverSettings()
    docker: DockerSettings = DockerSettings()
    vault: VaultSettings = VaultSettings()
    enrolment: EnrolmentSettings = EnrolmentSettings()
    callers: CallersSettings = CallersSettings()
    workload_addresses: tuple[Network, ...] | None = None
    upstream_ca: AbsolutePath = Path("/etc/ssl/certs/ca-certificates.crt")
    nat64_prefixes: tuple[IPv6Network, ...] = ()

    @model_validator(mode="after")
    def _keeps_them_apart(self) -> Settings:
        places = [
            os.path.normpath(path) for path in (self.config_dir, self.state_dir, self.run_dir, self.log_dir)
        ]
        if len(set(places)) != len(places):
            raise ValueError(
                "two of config_dir, state_dir, run_dir, log_dir are one; write a directory for each"
            )
        return self

    @model_validator(mode="after")
    def _has_what_it_chains(self) -> Settings:
        if self.uplink.chained and not self.fallback:
            raise ValueError("uplink.chained goes through the fallback's Squid; leave `fallback: false` away")
        return self

    @model_validator(mode="after")
    def _trusts_none_of_its_own(self) -> Settings:
        own = {*self.uids.model_dump().values()}
        trusted = self.callers.trusted
        if self.callers.group in own or (trusted is not None and not own.isdisjoint(trusted.uids)):
            raise ValueError(
                "callers.group and callers.trusted.uids are none of `uids`; name the callers' own"
            )
        return self

    @property
    def namespace(self) -> str:
        """Name of the gateway's network namespace."""
        return self.instance

    @property
    def has_fallback(self) -> bool:
        """Whether Squid takes over; not behind a proxy, which it would ask by names and not by addresses."""
        return self.fallback and self.uplink.proxy is None

    @property
    def uplink_interface(self) -> str:
        """Name of the uplink inside the gateway namespace."""
        return "uplink"

    @property
    def plugin_socket(self) -> Path:
        """The socket on which Docker finds the driver and the admission plugin."""
        return self.docker.plugin_dir / f"{self.instance}.sock"

    @property
    def tenants_dir(self) -> Path:
        """One policy document per tenant: `<tenant>.yaml`."""
        return self.config_dir / "tenants"

    @property
    def policies_dir(self) -> Path:
        """Named policies that tenant documents may use: `<name>.yaml`."""
        return self.config_dir / "policies"

    @property
    def operator_file(self) -> Path:
        """The operator's layer, which no tenant can widen."""
        return self.config_dir / "operator.yaml"

    @property
    def accounts_file(self) -> Path:
        """Integration accounts: which tenants use which integration, with which secret."""
        return self.config_dir / "accounts.yaml"

    @property
    def integrations_dir(self) -> Path:
        """The operator's own integration definitions: `<name>.yaml`."""
        return self.config_dir / "integrations"

    @property
    def audit_dir(self) -> Path:
        """Audit records, one chain of files per writing process."""
        return self.log_dir / "audit"

    @property
    def limits_dir(self) -> Path:
        """What tenants have used of their limits, shared by the gateway's workers; gone with the machine."""
        return self.run_dir / "limits"

    @property
    def ca_dir(self) -> Path:
        """The root key and certificate; only the broker's uid may read the key."""
        return self.state_dir / "ca"

    @property
    def calls_socket(self) -> Path:
        """Unix socket on which the broker takes calls to providers from the gateway's workers."""
        return self.run_dir / "broker-calls.sock"

    @property
    def dials_socket(self) -> Path:
        """Unix socket on which workers offer the broker to dial for it."""
        return self.run_dir / "broker-dials.sock"

    @property
    def workloads_socket(self) -> Path:
        """Unix socket on which workers pass on workloads' own TLS with the broker."""
        return self.run_dir / "broker-workloads.sock"

    @property
    def callers_socket(self) -> Path:
        """Unix socket on which callers that are no containers ask the broker for calls."""
        return self.run_dir / "broker-callers.sock"

    @property
    def vault_dir(self) -> Path:
        """The broker's database and key file, where no others are named; its uid's alone."""
        return self.state_dir / "vault"

    @property
    def vault_url(self) -> str:
        """The broker's database."""
        return self.vault.url or f"sqlite:///{self.vault_dir / 'broker.db'}"

    @property
    def vault_key_file(self) -> Path:
        """What opens the vault with `unlock: key_file`."""
        return self.vault.key_file or self.vault_dir / "kek"

    @property
    def platform_hosts(self) -> frozenset[tuple[str, int]]:
        """Host and port of what the broker itself asks, for no tenant; workers connect it to these alone."""
        ca, jwt = self.enrolment.external_ca, self.callers.jwt
        urls = (None if ca is None else ca.url, None if jwt is None else jwt.jwks_url)
        return frozenset(service_of(url) for url in urls if url is not None)

    def control_socket(self, process: str) -> Path:
        """Unix socket on which `process` (for example `gateway-0`) answers."""
        return self.run_dir / f"{process}.sock"


def load(file: Path | None = None) -> Settings:
    """Settings from `file`, else from $EGRESS_SETTINGS, else from the default place (which may be absent).

    Raises `SettingsError`.
    """
    named = file or (Path(os.environ[SETTINGS_VARIABLE]) if os.environ.get(SETTINGS_VARIABLE) else None)
    path = named or DEFAULT_FILE
    if not path.exists():
        if named is not None:
            raise SettingsError(f"{path}: no such settings file; create it or unset ${SETTINGS_VARIABLE}")
        return Settings()
    try:
        document = yamldoc.load(path)
    except yamldoc.YamlError as error:
        text = str(error)
        mend = "name a file that you may read" if "cannot be read" in text else "write valid YAML 1.2 there"
        raise SettingsError(text if "; " in text else f"{text}; {mend}") from error
    return parse(document.data if document.data is not None else {}, document)


def parse(data: Any, document: yamldoc.Document) -> Settings:
    """Validate already loaded YAML. Raises `SettingsError` naming file, line and mend."""
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise SettingsError("\n".join(map(str, faults(error, document, Settings)))) from error
