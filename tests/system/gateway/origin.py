"""An origin server on loopback, plain and TLS by a lab authority, that keeps account of what reaches it."""

from __future__ import annotations

import ssl
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates for origins."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab authority")])
        self.certificate = self._certificate(self.name, self.key, ca=True, names=[])

    def _certificate(self, subject, key, *, ca, names, days=(-1, 30)):
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
            )
        return builder.sign(self.key, hashes.SHA256())

    def write(self, path):
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return path

    def context(self, directory, *names, days=(-1, 30)):
        """A server context for the names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = self._certificate(subject, key, ca=False, names=names, days=days)
        file = directory / f"{names[0]}{days[1]}.pem"
        file.write_bytes(
            certificate.public_bytes(Encoding.PEM)
            + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        context.set_alpn_protocols(["http/1.1"])
        return context


class Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Origin

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.server.seen.append((self.command, self.path, dict(self.headers.items())))
        options = {key: values[0] for key, values in parse_qs(query).items()}
        page = getattr(self, "page_" + path.strip("/").replace("-", "_"), self.page_hello)
        page(options)

    do_HEAD = do_GET

    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, dict(self.headers.items())))
        self.answer(b"%d bytes" % len(body))

    def answer(self, body, *headers):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def page_hello(self, options):
        self.answer(b"hello from " + self.headers["Host"].encode())

    def page_big(self, options):
        size = int(options["n"])
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        block = bytes(range(256)) * 256
        while size > 0:
            size -= self.wfile.write(block[:size])
            self.server.written += min(len(block), size + len(block))

    def page_chunked(self, options):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (b"one ", b"two ", b"three"):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def page_until_close(self, options):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"until close")
        self.close_connection = True

    def page_cut(self, options):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"short")
        self.close_connection = True

    def page_slow(self, options):
        time.sleep(float(options.get("s", 1)))
        self.answer(b"slow")

    def page_redirect(self, options):
        self.send_response(int(options["status"]))
        self.send_header("Location", options["to"])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def page_then_close(self, options):
        self.answer(b"closing")
        time.sleep(0.05)
        self.close_connection = True

    def page_smuggled(self, options):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok")
        self.close_connection = True

    def page_switch(self, options):
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        self.close_connection = True

    def log_message(self, *arguments):
        pass


class Origin(ThreadingHTTPServer):
    """Listens on a free port of `address`; `seen` are (method, target, headers) of all that arrived."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address, context=None):
        super().__init__((address, 0), Pages)
        self.seen = []
        self.connections = 0
        self.written = 0
        self._context = context
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def get_request(self):
        connection, address = super().get_request()
        self.connections += 1
        return connection, address

    def finish_request(self, request, client_address):
        if self._context is not None:
            request = self._context.wrap_socket(request, server_side=True)
        try:
            super().finish_request(request, client_address)
        finally:
            with suppress(OSError):
                if self._context is not None:
                    request.settimeout(1)
                    request.unwrap()
            request.close()

    def handle_error(self, request, client_address):
        pass
