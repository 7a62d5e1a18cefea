"""The first process of a container of the live battery, in the standard library alone.

Sent into the container as text (`python3 -c`). It runs what it is told: a line of JSON in, seconds and the
words of a command; a line out, `["done", status, text]` (status null: stopped for taking too long). With the
argument `serve` it is also an HTTP server, and a line out, `["visit", peer, address]`, stands for each
connection. It ends with its standard input, so that nobody has to end it when the battery is gone.
"""

import json
import socketserver
import subprocess
import sys
import threading

PORT = 8080
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\negress-canary"


def say(*words: object) -> None:
    """One line, whole, also among threads."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


class Neighbour(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Say who came, and answer gladly."""
        say("visit", self.client_address[0], self.request.getsockname()[0])
        self.request.recv(4096)
        self.request.sendall(PAGE)


def run(seconds: float, *command: str) -> tuple[object, str]:
    """As `docker run` would end: 127 for what is not there."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as expired:
        return None, (expired.stdout or b"").decode(errors="replace")
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout


def main() -> None:
    """Until standard input ends."""
    if sys.argv[1:] == ["serve"]:
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        socketserver.ThreadingTCPServer.daemon_threads = True
        server = socketserver.ThreadingTCPServer(("0.0.0.0", PORT), Neighbour)  # noqa: S104 - the container's
        threading.Thread(target=server.serve_forever, daemon=True).start()
    say("done", 0, "ready")
    for line in sys.stdin:
        say("done", *run(*json.loads(line)))


if __name__ == "__main__":
    main()
