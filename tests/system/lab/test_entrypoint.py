"""The runner images' entry point against a stand-in for the gateway: what it sets, and how it fails."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.verify.case import Image, Output
from tests.lab.containers import HARDENED, IMAGES, address_of, build_images, run_hardened
from tests.lab.demo import set_id_files
from tests.lab.lab import exclusive
from tests.lab.namespaces import run
from tests.lab.world import WAIT_SECONDS

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]  # the lab may have to be waited for
NETWORK = f"egl-entry-{os.getpid()}"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nc3RhbmQtaW4=\n-----END CERTIFICATE-----\n"
GATEWAY = f"""
import http.server, subprocess
def openssl(*words):
    return subprocess.run(("openssl", *words), check=True, capture_output=True, text=True).stdout
openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=stand-in",
        "-keyout", "/tmp/ca.key", "-out", "/tmp/ca.pem")
asked = []
class Gateway(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = {{"/.well-known/egress/ca.pem": {CERTIFICATE!r}, "/asked": str(len(asked))}}.get(self.path, "")
        self.answer(200 if body else 404, body)
    def do_POST(self):
        with open("/tmp/request.pem", "wb") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])))
        asked.append(self.path)
        if len(asked) % 3 == 2:  # it is asked again
            self.answer(503, "")
            return
        chain = openssl("x509", "-req", "-in", "/tmp/request.pem", "-CA", "/tmp/ca.pem", "-CAkey", "/tmp/ca.key",
                        "-set_serial", str(len(asked)), "-days", "1")
        self.answer(200, chain, "X-Egress-Renew-After", "1")
    def answer(self, status, body, *field):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if field:
            self.send_header(*field)
        self.end_headers()
        self.wfile.write(body.encode())
http.server.HTTPServer(("0.0.0.0", 80), Gateway).serve_forever()
"""
WATCHES = """
import glob, os, ssl, sys, time
place = os.path.dirname(os.environ["EGRESS_CLIENT_CERTIFICATE"])
seen, kept, deadline = [], 0, time.monotonic() + 40
while len(seen) < 4 and time.monotonic() < deadline:
    there = os.path.realpath(place)
    certificate, key = (os.path.join(there, name) for name in ("certificate.pem", "key.pem"))
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key)  # which belong together, or it raises
    assert os.stat(key).st_mode & 0o077 == 0
    text = open(certificate).read()
    if text not in seen:
        seen.append(text)
    kept = max(kept, len(glob.glob(os.path.join(os.path.dirname(place), "workload.[0-9]*"))))
    time.sleep(0.02)
print("certificates", len(seen), "kept", kept, "cwd", os.getcwd())
"""
VARIABLES = (
    "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO", "PIP_CERT", "CURL_CA_BUNDLE",
)  # fmt: skip
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


@pytest.fixture(scope="module", autouse=True)
def images() -> Iterator[None]:
    """No lab beside it: one that goes takes every container of the lab's label along, and the engine's answers for a while."""
    with exclusive(WAIT_SECONDS):
        build_images(lambda _line: None)
        yield


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    """An internal Docker network (no way out) with a stand-in gateway on it."""
    run("docker", "network", "create", "--internal", NETWORK)
    server = run(
        "docker", "run", "-d", "--network", NETWORK, "--network-alias", "gateway.egress.internal", *HARDENED,
        "--entrypoint", "python3", IMAGES[Image.PYTHON], "-c", GATEWAY,
    ).strip()  # fmt: skip
    try:
        assert address_of(server)
        yield NETWORK
    finally:
        run("docker", "rm", "-f", server, check=False)
        run("docker", "network", "rm", NETWORK, check=False)


def environment(output: Output) -> dict[str, str]:
    assert output.status == 0, output.text
    return dict(line.split("=", 1) for line in output.text.splitlines() if "=" in line)


@pytest.mark.parametrize("image", [Image.PYTHON, Image.NODE])
def test_every_tool_is_told_whom_to_trust_and_where_to_go(network: str, image: Image) -> None:
    found = environment(run_hardened(network, IMAGES[image], ("env",)))
    assert {name for name in VARIABLES if found.get(name, "").startswith("/tmp/")} == set(VARIABLES)
    assert {found[name] for name in PROXIES} == {"http://gateway.egress.internal:3128"}
    assert "gateway.egress.internal" in found["NO_PROXY"].split(",")


def test_the_bundle_is_the_systems_and_ours(network: str) -> None:
    script = "tail -n 3 $SSL_CERT_FILE; grep -c BEGIN $SSL_CERT_FILE; id -u; id -g; touch $HOME/writable && echo home"
    output = run_hardened(network, IMAGES[Image.PYTHON], ("sh", "-c", script))
    assert output.status == 0, output.text
    *bundle_end, count, uid, gid, home = output.text.splitlines()
    assert "\n".join(bundle_end) + "\n" == CERTIFICATE
    assert int(count) > 50
    assert (uid, gid, home) == ("1000", "1000", "home")


def test_the_job_replaces_the_entry_point_and_its_status_is_the_jobs(network: str) -> None:
    output = run_hardened(network, IMAGES[Image.PYTHON], ("sh", "-c", "echo pid $$; exit 41"))
    assert (output.status, output.text) == (41, "pid 1\n")


def test_000_33_a_certificate_is_renewed_while_the_job_runs_and_never_without_its_key(network: str) -> None:
    """By the stand-in, which wants to be asked again after a second, and fails every third time."""
    options = ("--env", "EGRESS_WORKLOAD_CERTIFICATE=1")
    output = run_hardened(network, IMAGES[Image.PYTHON], ("python3", "-c", WATCHES), *options)
    assert (output.status, output.text.split()[:2]) == (0, ["certificates", "4"]), output.text
    assert int(output.text.split()[3]) <= 3  # the one in use, the one before it, and one that is being made
    assert output.text.split()[5] == "/workspace"


def test_another_runtime_directory(network: str) -> None:
    options = ("--tmpfs", "/run/job:mode=1777", "--env", "EGRESS_RUNTIME=/run/job")
    found = environment(run_hardened(network, IMAGES[Image.PYTHON], ("env",), *options))
    assert found["SSL_CERT_FILE"] == "/run/job/egress-bundle.pem"


def test_without_an_appliance_the_job_does_not_start() -> None:
    output = run_hardened("none", IMAGES[Image.PYTHON], ("echo", "started"))
    assert output.status == 78
    assert "no default route" in output.text
    assert "started" not in output.text


def test_a_gateway_that_answers_nothing_is_named() -> None:
    lonely = f"{NETWORK}-lonely"
    run("docker", "network", "create", lonely)
    try:
        output = run_hardened(lonely, IMAGES[Image.PYTHON], ("echo", "started"))
    finally:
        run("docker", "network", "rm", lonely, check=False)
    assert output.status == 78
    assert re.search(r"cannot fetch the trust bundle from \d+\.\d+\.\d+\.1:", output.text)
    assert "egress doctor" in output.text
    assert "started\n" not in output.text


def test_nowhere_to_write_is_said(network: str) -> None:
    argv = (
        "docker",
        "run",
        "--rm",
        "--network",
        network,
        "--user",
        "1000:1000",
        "--read-only",
        IMAGES[Image.PYTHON],
        "true",
    )
    with pytest.raises(Exception, match="--tmpfs /tmp"):
        run(*argv)


@pytest.mark.parametrize("image", [Image.PYTHON, Image.NODE])
def test_no_set_id_bit_anywhere(image: Image) -> None:
    assert set_id_files(IMAGES[image]) == ()


def test_an_unchanged_image_is_not_built_again() -> None:
    said: list[str] = []
    build_images(said.append)
    assert len(said) == 2
    assert all(line.endswith("up to date") for line in said)


def test_images_name_no_machine_and_no_secret() -> None:
    script = "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; ls -A /home/runner /workspace"
    argv = (
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        "sh",
        IMAGES[Image.PYTHON],
        "-c",
        script,
    )
    listing = run(*argv)
    assert str(Path(__file__).resolve().parents[3]) not in listing
