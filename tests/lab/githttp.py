"""git's own smart HTTP server (git-http-backend(1)) as CGI behind nginx: clone and push both work."""

from __future__ import annotations

import subprocess
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.lab import internet, packages

BACKEND = "/usr/lib/git-core/git-http-backend"


def _response(output: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of a CGI answer (RFC 3875 §6)."""
    head, _, body = output.replace(b"\r\n\r\n", b"\n\n", 1).partition(b"\n\n") if b"\r\n\r\n" in output else (
        output.partition(b"\n\n")
    )  # fmt: skip
    status, headers = 200, []
    for line in head.decode().splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "status":
            status = int(value.split()[0])
        else:
            headers.append((name, value.strip()))
    return status, headers, body


def answer(
    root: Path, method: str, target: str, fields: Message, body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    """What the backend answers about the repositories below `root`: one request, one run of it."""
    path, _, query = target.partition("?")
    environment = {
        "PATH": "/usr/bin:/bin",
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        "CONTENT_TYPE": fields.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": fields.get("Content-Encoding", ""),
        "GIT_PROTOCOL": fields.get("Git-Protocol", ""),
    }
    done = subprocess.run(
        (BACKEND,), input=body, env=environment, capture_output=True, timeout=30, check=False
    )
    return _response(done.stdout)


class Repository(BaseHTTPRequestHandler):
    """Serves what the lab's git site has."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        root = packages.CONTENT / internet.GIT.name
        status, headers, content = answer(root, self.command, self.path, self.headers, body)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET


def main() -> None:
    """Serve until killed."""
    ThreadingHTTPServer(("127.0.0.1", internet.GIT_BACKEND_PORT), Repository).serve_forever()


if __name__ == "__main__":
    main()
