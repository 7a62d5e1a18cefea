"""Certificates and handshakes that the tests of this package share."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from appliance.tls.authority import issue_intermediate, issue_root, new_key, signing_request
from appliance.tls.intermediate import Intermediate

NOW = datetime.now(UTC).replace(microsecond=0)


def make_intermediate(now: datetime = NOW) -> Intermediate:
    root_key, key = new_key(), new_key()
    root = issue_root(root_key, "lab", now)
    return Intermediate(key, issue_intermediate(root, root_key, signing_request(key), "lab", now), root)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def strict_client(root: x509.Certificate, *alpn: str) -> ssl.SSLContext:
    """What Python 3.13 gives by default, and nothing trusted but `root`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=pem(root))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def handshake(client: ssl.SSLContext, server: SSL.Context, name: str) -> ssl.SSLObject:
    """A real handshake over memory. Raises `ssl.SSLError` for the client's faults, `SSL.Error` for the server's."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(incoming, outgoing, server_hostname=name)
    theirs = SSL.Connection(server, None)
    theirs.set_accept_state()
    done = {"client": False, "server": False}
    for _ in range(10):
        if not done["client"]:
            try:
                ours.do_handshake()
                done["client"] = True
            except ssl.SSLWantReadError:
                pass
        if sent := outgoing.read():
            theirs.bio_write(sent)
        if not done["server"]:
            try:
                theirs.do_handshake()
                done["server"] = True
            except SSL.WantReadError:
                pass
        try:
            while True:
                incoming.write(theirs.bio_read(65536))
        except SSL.WantReadError:
            pass
        if all(done.values()):
            return ours
    raise AssertionError("no end of the handshake")


@dataclass
class Origin:
    """A server somewhere, with a CA of its own, and every way to be wrong."""

    key: EllipticCurvePrivateKey = field(default_factory=new_key)
    ca_key: EllipticCurvePrivateKey = field(default_factory=new_key)

    @property
    def ca(self) -> x509.Certificate:
        return issue_root(self.ca_key, f"origin {id(self)}", NOW)

    def certificate(
        self,
        *names: str,
        start: timedelta = timedelta(hours=-1),
        end: timedelta = timedelta(hours=1),
        self_signed: bool = False,
        common_name: str = "origin",
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self.ca.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + start)
            .not_valid_after(NOW + end)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
            )
        return builder.sign(self.key if self_signed else self.ca_key, hashes.SHA256())

    def context(self, certificate: x509.Certificate, **limits: Any) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_privatekey(self.key)
        context.use_certificate(certificate)
        if "newest" in limits:
            context.set_max_proto_version(limits["newest"])
        return context
