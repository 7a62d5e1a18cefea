"""The lab's web servers: one real nginx, a virtual host a site, an access log that is evidence."""

from __future__ import annotations

from tests.lab import internet, packages
from tests.lab.certificates import certificate_path
from tests.lab.internet import OTHER, PRIVATE, WWW, Site

DIRECTORY = internet.STATE / "nginx"
ACCESS_LOG = DIRECTORY / "access.jsonl"
CONFIGURATION = DIRECTORY / "nginx.conf"

_SEEN_FIELDS = (
    "x-original-url", "x-rewrite-url", "x-forwarded-host", "x-forwarded-for", "x-http-method-override",
    "x-upstream-https-proxy", "forwarded", "via", "proxy-authorization", "proxy-connection", "authorization",
    "connection", "keep-alive", "te", "trailer", "upgrade", "x-nominated", "x-public",
)  # fmt: skip
_SEEN = "\n".join((
    "method=$request_method", "host=$http_host", "uri=$request_uri", "from=$remote_addr:$remote_port",
    "length=$http_content_length", "coding=$http_transfer_encoding",
    *(f"{name}=$http_{name.replace('-', '_')}" for name in _SEEN_FIELDS),
))  # fmt: skip
_PAGES = f"""
        location / {{ root @content@; index index.html; }}
        location = /echo {{ return 200 "method=$request_method host=$http_host uri=$request_uri"; }}
        location /canary/ {{ return 200 "{_SEEN}\n"; }}
        location /canary/submit/ {{  # read whole before anything is answered
            proxy_pass http://@address@:80/canary/submitted/;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
        }}
        location = /redirect-private {{ return 302 http://{PRIVATE}/; }}
        location = /redirect-other {{ return 302 https://{OTHER.name}/canary/redirected; }}
        location = /redirect-plain {{ return 302 http://{WWW.name}/canary/redirected; }}
        location = /redirect-file {{ return 302 file:///etc/passwd; }}
        location /files/ {{
            root @content@; dav_methods PUT DELETE; create_full_put_path on; client_max_body_size 64m;
        }}
"""
_NPM = f"""
        location = /{packages.NAME} {{ default_type application/json; alias @content@/{packages.NAME}/packument.json; }}
        location / {{ root @content@; }}
"""
_GIT = f"""
        location / {{ proxy_pass http://127.0.0.1:{internet.GIT_BACKEND_PORT}; proxy_request_buffering off; }}
"""
_LOCATIONS = {internet.NPM: _NPM, internet.GIT: _GIT}


def _server(site: Site) -> str:
    certificate = certificate_path(site)
    locations = (
        _LOCATIONS.get(site, _PAGES)
        .replace("@content@", str(packages.CONTENT / site.name))
        .replace("@address@", site.address)
    )
    return f"""
    server {{
        listen {site.address}:80;
        listen {site.address}:443 ssl;
        server_name {site.name};
        ssl_certificate {certificate};
        ssl_certificate_key {certificate.with_suffix(".key")};
{locations}
    }}
"""


def configuration() -> str:
    """The whole nginx.conf."""
    temporary = "\n".join(
        f"    {kind}_temp_path {DIRECTORY}/tmp/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    record = ",".join(
        f'"{field}":"${variable}"'
        for field, variable in (
            ("time", "msec"), ("from", "remote_addr"), ("server", "server_name"), ("scheme", "scheme"),
            ("method", "request_method"), ("host", "http_host"), ("uri", "request_uri"), ("status", "status"),
            ("bytes", "request_length"), ("agent", "http_user_agent"), ("authorization", "http_authorization"),
        )
    )  # fmt: skip
    servers = "".join(_server(site) for site in internet.SITES)
    return f"""
daemon off;
worker_processes 1;
user www-data;
pid {DIRECTORY}/nginx.pid;
error_log {DIRECTORY}/error.log;
events {{ worker_connections 512; }}
http {{
    include /etc/nginx/mime.types;
    default_type text/plain;
{temporary}
    log_format evidence escape=json '{{{record}}}';
    access_log {ACCESS_LOG} evidence;
{servers}
}}
"""


def write() -> None:
    """The configuration and the directories that it names."""
    (DIRECTORY / "tmp").mkdir(parents=True, exist_ok=True)
    ACCESS_LOG.touch()
    CONFIGURATION.write_text(configuration())
    files = packages.CONTENT / internet.WWW.name / "files"
    files.mkdir(exist_ok=True)
    files.chmod(0o777)  # nginx's worker writes what a PUT brings


def command() -> tuple[str, ...]:
    """How nginx is started."""
    return ("nginx", "-p", str(DIRECTORY), "-c", str(CONFIGURATION))
