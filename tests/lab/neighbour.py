"""An HTTP server for another tenant's container: answers all, writes one JSON line a connection.

Runs as `python3 -c` inside the container, so it uses the standard library alone.
"""

import json
import socketserver
import sys

PORT = 8080
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\negress-canary"


class Neighbour(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        line = {"from": self.client_address[0], "address": self.request.getsockname()[0], "port": PORT}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        self.request.recv(4096)
        self.request.sendall(PAGE)


def main() -> None:
    """Serve until the container is removed."""
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer(("0.0.0.0", PORT), Neighbour).serve_forever()


if __name__ == "__main__":
    main()
