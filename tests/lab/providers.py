"""The lab's providers: the names of well-known ones, over TLS, that want the real secret and say so on record.

`python -m tests.lab.providers`, in the Internet's namespace; a test starts them (`start`). The record is the lab's, outside of
everything that the appliance or a container can read.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.lab import children, evidence, internet, realtime
from tests.lab.internet import Site
from tests.lab.namespaces import run
from tests.lab.provider_wire import CONTENT, PROVIDERS, REPOSITORIES, Asked, answer
from tests.lab.tls_server import TLSServer, context_of, serve

NAME = "providers"
SECRETS = CONTENT / "secrets.json"
LOG = evidence.PROVIDERS_LOG
_lock = threading.Lock()


def start(secrets: Mapping[Site, str]) -> None:
    """All providers, each of which knows one secret; those that serve are stopped. Raises `LabError`."""
    children.stop(NAME)
    REPOSITORIES.mkdir(parents=True, exist_ok=True)
    for name in ("demo", "second"):
        repository = REPOSITORIES / "lab" / f"{name}.git"
        run("git", "init", "-q", "--bare", "-b", "main", str(repository))
        run("git", "-C", str(repository), "config", "http.receivepack", "true")
    SECRETS.touch(mode=0o600)
    SECRETS.write_text(json.dumps({site.name: secret for site, secret in secrets.items()}))
    (children.LOGS / f"{NAME}.log").unlink(missing_ok=True)
    children.start_module(NAME, "tests.lab.providers", namespace=internet.INTERNET)
    children.until_ready(NAME)


def seen(site: Site) -> list[dict[str, Any]]:
    """What a provider was asked so far: `method`, `target`, `authority`, `known`, `fields`, `body` (hex)."""
    return [line for line in evidence.lines(LOG) if line["site"] == site.name]


class Provider(BaseHTTPRequestHandler):
    """One connection to one site."""

    protocol_version = "HTTP/1.1"
    site: Site
    secret: str

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def do_GET(self) -> None:
        asked = Asked(self.site, self.command, self.path, self.headers, self._body(self.headers))
        known, said = answer(asked, self.secret)
        if known and realtime.wanted(self):
            self._record(asked, known=known, status=101)
            realtime.converse(self, asked.authority)
            self.close_connection = True
            return
        self._record(asked, known=known, status=said.status)
        self.send_response(said.status)
        self.send_header("Content-Type", said.kind)
        for name, value in said.fields.items():
            self.send_header(name, value)
        whole = len(said.pieces) == 1
        length = {"Content-Length": str(len(said.pieces[0]))} if whole else {"Transfer-Encoding": "chunked"}
        for name, value in length.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        for piece in said.pieces:
            self.wfile.write(piece if whole else b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
            if not whole:
                time.sleep(0.01)
        if not whole:
            self.wfile.write(b"0\r\n\r\n")

    do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_GET

    def _body(self, fields: Message) -> bytes:
        if fields.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(fields.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _record(self, asked: Asked, *, known: bool, status: int) -> None:
        line = {
            "site": self.site.name, "method": asked.method, "target": asked.target, "authority": asked.authority,
            "known": known, "status": status, "fields": {k.lower(): v for k, v in asked.fields.items()},
            "length": len(asked.body), "from": self.client_address[0],
        }  # fmt: skip
        with _lock, LOG.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def log_message(self, *_arguments: object) -> None:
        """The record says it."""


def _provider(site: Site, secret: str) -> type[Provider]:
    return type("Of", (Provider,), {"site": site, "secret": secret})


def main() -> None:
    """Serve until killed."""
    secrets = json.loads(SECRETS.read_text())
    serve(
        [
            TLSServer((site.address, 443), _provider(site, secrets[site.name]), context_of(site))
            for site in PROVIDERS
            if site.name in secrets
        ]
    )


if __name__ == "__main__":
    main()
