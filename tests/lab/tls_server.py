"""What the lab's own servers in TLS have in common: a thread a connection, a site's certificate, the word "ready"."""

from __future__ import annotations

import socketserver
import ssl
import sys
import threading
from collections.abc import Sequence
from typing import Any

from tests.lab.certificates import certificate_path
from tests.lab.internet import Site


def context_of(site: Site) -> ssl.SSLContext:
    """The site's certificate; HTTP/1.1 alone."""
    file = certificate_path(site)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, file.with_suffix(".key"))
    context.set_alpn_protocols(["http/1.1"])
    return context


class TLSServer(socketserver.ThreadingTCPServer):
    """Listens; in TLS where it is given a context. A client that goes away, or fails, is nothing to tell."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[socketserver.BaseRequestHandler],
        context: ssl.SSLContext | None,
    ) -> None:
        self._context = context
        super().__init__(address, handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._context is not None:
            try:
                request = self._context.wrap_socket(request, server_side=True)
            except OSError:
                return
        super().finish_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing."""


def serve(servers: Sequence[TLSServer]) -> None:
    """Say that they are ready; serve until killed."""
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threads[0].join()
