"""Mode `upstream` with a real Squid as the company's proxy, at a private address, and mode `chained` (G9).

In front of real containers. The company's log says what it was asked, and by whom; it writes a tunnel down when that ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from appliance.listeners import listening_pid
from appliance.processes import SUPERVISOR
from appliance.verify.case import Image
from tests.lab import children, internet
from tests.lab.appliance import DIRECTORIES, SETTINGS_FILE, UP_SECONDS, UPLINK, Appliance, egress
from tests.lab.containers import IMAGES, run_hardened
from tests.lab.evidence import Origin, Packets
from tests.lab.lab import Lab

pytestmark = pytest.mark.system

ADDRESS, PORT = "10.8.0.5", 3128
DIRECTORY = internet.STATE / "company"
LOG, ERRORS = DIRECTORY / "access.log", DIRECTORY / "cache.log"
CONFIGURATION = f"""
http_port {ADDRESS}:{PORT}
acl web port 80 443
http_access deny !web
http_access allow CONNECT
http_access deny all
logformat asked %>a %rm %ru %>Hs
access_log stdio:{LOG} asked
cache_log {ERRORS}
cache deny all
pid_filename none
pinger_enable off
coredump_dir none
visible_hostname company
shutdown_lifetime 1 second
"""
READY_SECONDS = 40


def read(url: str, *options: str) -> str:
    output = run_hardened("lab-acme", IMAGES[Image.PYTHON], ("curl", "-sS", "-m", "15", *options, url))
    return output.text


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline, (what, egress("status", check=False).stdout)
        time.sleep(0.05)


@pytest.fixture(scope="module")
def put_up(appliance: Appliance) -> Iterator[Callable[..., None]]:
    """Puts the appliance up anew with more said of its uplink; in the end it is as it was."""
    del appliance
    plain = SETTINGS_FILE.read_text()

    def anew(**more: object) -> None:
        document = json.loads(plain)
        document["uplink"] |= more
        egress("down", "--force", seconds=UP_SECONDS)
        SETTINGS_FILE.write_text(json.dumps(document))
        egress("up", seconds=UP_SECONDS)

    yield anew
    anew()


@pytest.fixture(scope="module")
def company(closed_lab: Lab, put_up: Callable[..., None]) -> Iterator[int]:
    """The proxy runs and the uplink's settings name it; the pid of the proxy."""
    DIRECTORY.mkdir()
    shutil.chown(DIRECTORY, "proxy", "proxy")
    file = DIRECTORY / "squid.conf"
    file.write_text(CONFIGURATION)
    # With a name of its own, for a Squid's shared memory is the host's (squid(8), -n).
    command = ("/usr/sbin/squid", "-n", "company", "-N", "-f", str(file))
    pid = children.start("company", command, internet.INTERNET)
    wait_for("Squid", lambda: ERRORS.exists() and "Accepting HTTP" in ERRORS.read_text())
    put_up(proxy={"address": ADDRESS, "port": PORT})
    yield pid
    if children.alive("company"):
        os.kill(pid, signal.SIGTERM)


def opened(lab: Lab, address: str) -> int:
    """Packets from the appliance that open a connection to an address of the lab's Internet."""
    lab.settle()
    return Packets(address, "tcp").hits(Origin.WORKLOAD)


@pytest.mark.usefixtures("company")
def test_requests_pass_through_the_proxy_alone(closed_lab: Lab) -> None:
    direct, proxied = opened(closed_lab, internet.WWW.address), opened(closed_lab, ADDRESS)
    assert "www.example.com" in read(f"https://{internet.WWW.name}/")
    assert "www.example.com" in read(f"http://{internet.WWW.name}/", "--noproxy", "*")
    assert opened(closed_lab, internet.WWW.address) == direct
    assert opened(closed_lab, ADDRESS) > proxied


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://private.example.net/", "private-address"),
        ("https://mixed.example.net/", "private-address"),
        (f"http://{ADDRESS}:{PORT}/", "host-is-address"),
    ],
)
def test_what_is_refused_is_not_asked_for(closed_lab: Lab, url: str, reason: str) -> None:
    before = opened(closed_lab, ADDRESS)
    assert reason in read(url)
    assert opened(closed_lab, ADDRESS) == before


@pytest.mark.usefixtures("company")
def test_a_container_does_not_reach_the_proxy(closed_lab: Lab) -> None:
    before = opened(closed_lab, ADDRESS)
    asked = f"CONNECT {internet.WWW.address}:443 HTTP/1.1\\r\\nHost: {internet.WWW.address}\\r\\n\\r\\n"
    script = (
        f"import socket; s = socket.create_connection(('{ADDRESS}', {PORT}), 5); "
        f"s.sendall(b'{asked}'); print(s.recv(99))"
    )
    output = run_hardened("lab-acme", IMAGES[Image.PYTHON], ("python3", "-c", script))
    assert "HTTP/1.1 403 " in output.text
    assert opened(closed_lab, ADDRESS) == before


def test_without_the_proxy_there_is_no_way_out(company: int, closed_lab: Lab) -> None:
    direct = opened(closed_lab, internet.WWW.address)
    os.kill(company, signal.SIGTERM)
    wait_for("the end of Squid", lambda: not children.alive("company"))
    assert "uplink-proxy-unreachable" in read(f"https://{internet.WWW.name}/")
    assert opened(closed_lab, internet.WWW.address) == direct
    assert set(LOG.read_text().splitlines()) == {
        f"{UPLINK} CONNECT {internet.WWW.address}:443 200",
        f"{UPLINK} CONNECT {internet.WWW.address}:80 200",
    }, "addresses that were judged, and never a name"


def listener(process: str) -> int:
    pid = listening_pid(str(DIRECTORIES["run_dir"] / f"{process}.sock"))
    assert pid is not None
    return pid


def test_chained_nothing_leaves_but_through_our_squid(closed_lab: Lab, put_up: Callable[..., None]) -> None:
    url = f"https://{internet.WWW.name}/"
    put_up(chained=True)
    before = opened(closed_lab, internet.WWW.address)
    assert "www.example.com" in read(url)
    assert "www.example.com" in read(f"http://{internet.WWW.name}/", "--noproxy", "*")
    assert "private-address" in read("https://private.example.net/")
    assert opened(closed_lab, internet.WWW.address) >= before + 2
    supervisor = listener(SUPERVISOR)
    os.kill(supervisor, signal.SIGSTOP)  # or it would be back at once
    try:
        os.kill(listener("squid"), signal.SIGKILL)
        before = opened(closed_lab, internet.WWW.address)
        assert "uplink-proxy-unreachable" in read(url)
        assert opened(closed_lab, internet.WWW.address) == before
    finally:
        os.kill(supervisor, signal.SIGCONT)
    wait_for("Squid", lambda: "www.example.com" in read(url))
