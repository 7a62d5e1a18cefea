"""The one server that all are compared by: nginx with 1 KiB objects and a large one, plain and over TLS.

The same objects are at a second name, to which the broker adds a secret.
"""

from __future__ import annotations

from pathlib import Path

from tests.lab.certificates import certificate_path
from tests.lab.internet import BENCH as SITE
from tests.lab.internet import REFLECTOR as PROVIDER
from tests.lab.internet import Site

OBJECT_BYTES = 1024
BULK_BYTES = 512 * 2**20
BULK_PATH = "/bulk"
PATHS = 1000
"""How many paths are asked in turn, so that nobody gains by keeping one head."""


def configuration(directory: Path) -> str:
    """The whole nginx.conf."""
    servers = "".join(_server(site, directory) for site in (SITE, PROVIDER))
    temporary = "\n".join(
        f"    {kind}_temp_path {directory}/tmp/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
user root;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 10000; }}
http {{
    default_type application/octet-stream;
    types {{ text/plain txt; }}
{temporary}
    access_log off;
    sendfile on;
    sendfile_max_chunk 1m;
    tcp_nopush on;
    open_file_cache max=2000 inactive=1h;
    keepalive_requests 100000000;
    keepalive_timeout 300s;
{servers}}}
"""


def _server(site: Site, directory: Path) -> str:
    certificate = certificate_path(site)
    return f"""
    server {{
        listen {site.address}:80 backlog=4096;
        listen {site.address}:443 ssl backlog=4096;
        server_name {site.name};
        ssl_certificate {certificate};
        ssl_certificate_key {certificate.with_suffix(".key")};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:all:10m;
        root {directory};
        location /o/ {{ try_files /object.txt =404; }}
        location = {BULK_PATH} {{ try_files /bulk.bin =404; }}
    }}
"""


def write(directory: Path) -> None:
    """The configuration and what is served."""
    (directory / "tmp").mkdir(parents=True)
    (directory / "object.txt").write_bytes(b"x" * OBJECT_BYTES)
    with (directory / "bulk.bin").open("wb") as bulk:
        for _ in range(BULK_BYTES // 2**20):
            bulk.write(bytes(2**20))
    (directory / "nginx.conf").write_text(configuration(directory))


def command(directory: Path) -> tuple[str, ...]:
    """How it is started."""
    return ("nginx", "-p", str(directory), "-c", str(directory / "nginx.conf"))
