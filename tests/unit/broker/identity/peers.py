"""A broker's root, workloads with keys of their own, and handshakes, for the tests of this package."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from appliance.broker.ca import RootAuthority
from appliance.broker.identity.verification import Trust
from appliance.names import HostName
from appliance.tls.authority import (
    issue_intermediate,
    issue_leaf,
    issue_root,
    issue_workload_authority,
    new_key,
    signing_request,
)

NOW = datetime.now(UTC).replace(microsecond=0)
INSTANCE = "lab"
BROKER = HostName.parse("broker.egress.internal")
URI = "spiffe://lab/tenant/acme/workload/c0ffee"


CERTIFICATE_FIELDS = (
    b"X-Client-Cert", b"Client-Cert", b"Client-Cert-Chain", b"X-Forwarded-Client-Cert", b"X-SSL-Client-Cert",
    b"SSL-Client-Cert", b"X-ARR-ClientCert", b"X-Amzn-Mtls-Clientcert",
)  # fmt: skip
"""Where terminators of TLS put the certificate of their client."""


def csr(key: EllipticCurvePrivateKey) -> bytes:
    return signing_request(key).public_bytes(Encoding.PEM)


def make_root(now: datetime = NOW) -> RootAuthority:
    key = new_key()
    return RootAuthority(INSTANCE, key, issue_root(key, INSTANCE, now))


@dataclass
class Forge:
    """Whoever holds the key of a workload CA, and can sign what the broker never would."""

    root: RootAuthority = field(default_factory=make_root)
    key: EllipticCurvePrivateKey = field(default_factory=new_key)
    leaf_key: EllipticCurvePrivateKey = field(default_factory=new_key)

    def __post_init__(self) -> None:
        self.authority = issue_workload_authority(
            self.root.certificate, self.root.key, self.key.public_key(), INSTANCE, NOW
        )

    @property
    def trust(self) -> Trust:
        return Trust(INSTANCE, (self.root.certificate,))

    def leaf(
        self,
        *uris: str,
        names: list[x509.GeneralName] | None = None,
        usages: list[x509.ObjectIdentifier] | None = None,
        start: timedelta = timedelta(hours=-1),
        end: timedelta = timedelta(hours=1),
        ca: bool | None = False,
        key_usage: bool = True,
        signs: bool = False,
        extra: list[x509.ExtensionType] | None = None,
        extra_critical: bool = True,
    ) -> x509.Certificate:
        all_names = [*(x509.UniformResourceIdentifier(uri) for uri in uris), *(names or [])]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH] if usages is None else usages
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.authority.subject)
            .public_key(self.leaf_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + start)
            .not_valid_after(NOW + end)
        )
        extensions: list[tuple[x509.ExtensionType, bool]] = [(one, extra_critical) for one in extra or []]
        if all_names:
            extensions.append((x509.SubjectAlternativeName(all_names), True))
        if usages:
            extensions.append((x509.ExtendedKeyUsage(usages), False))
        if ca is not None:
            extensions.append((x509.BasicConstraints(ca=ca, path_length=None), True))
        if key_usage:
            extensions.append(
                (x509.KeyUsage(True, False, False, False, False, signs, False, False, False), True)
            )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def chain(self, *uris: str, **changes: Any) -> list[x509.Certificate]:
        return [self.leaf(*(uris or (URI,)), **changes), self.authority]


def server_chain(
    root: RootAuthority, name: HostName = BROKER
) -> tuple[EllipticCurvePrivateKey, list[x509.Certificate]]:
    """What the listener shows of itself."""
    between_key, key = new_key(), new_key()
    between = issue_intermediate(root.certificate, root.key, signing_request(between_key), root.instance, NOW)
    return key, [issue_leaf(between, between_key, key.public_key(), name, NOW), between]


def accept(context: SSL.Context) -> SSL.Connection:
    connection = SSL.Connection(context, None)
    connection.set_accept_state()
    return connection


def connect(context: SSL.Context, session: SSL.Session | None = None) -> SSL.Connection:
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    if session is not None:
        connection.set_session(session)
    return connection


def shake_hands(client: SSL.Connection, server: SSL.Connection) -> None:
    """Until neither has anything to say. Raises what the server raises, else what the client does."""
    done: set[SSL.Connection] = set()
    for _ in range(12):
        for one, other in ((client, server), (server, client)):
            if one not in done:
                try:
                    one.do_handshake()
                    done.add(one)
                except SSL.WantReadError:
                    pass
                except SSL.Error:
                    carry(one, other)
                    raise
            carry(one, other)
    assert done == {client, server}
    # TLS 1.3 sends tickets behind the handshake: the client reads what there is.
    server.send(b"x")
    carry(server, client)
    assert client.recv(1) == b"x"


def carry(one: SSL.Connection, other: SSL.Connection) -> None:
    with contextlib.suppress(SSL.WantReadError):
        other.bio_write(one.bio_read(1 << 16))
