"""The same stimuli past the appliance, inside the lab: what shows that every row of the table can fail.

A namespace attached to the Internet directly, like the control, but counted as anybody else is: were the
protection taken away, this is how a workload's packets would arrive.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from appliance.verify.case import Image, Output, Seat
from appliance.verify.world import Server
from tests.lab import internet
from tests.lab.certificates import AUTHORITY
from tests.lab.namespaces import LabError, inside, run
from tests.lab.world import LabWorld

NAME = f"{internet.PREFIX}bypass"
LINK = f"{internet.PREFIX}byp"
ADDRESS, PEER = "198.18.85.2", "198.18.85.1"
ADDRESS_6, PEER_6 = "fd83:1ac::2", "fd83:1ac::1"
EMBEDDED_DNS = "127.0.0.11"


def create() -> None:
    """Attach the namespace; it goes with the lab."""
    run("ip", "netns", "add", NAME)
    run(
        "ip",
        "-n",
        internet.INTERNET,
        "link",
        "add",
        LINK,
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        NAME,
    )
    for namespace, link, address, address_6 in (
        (internet.INTERNET, LINK, PEER, PEER_6),
        (NAME, "eth0", ADDRESS, ADDRESS_6),
    ):
        run("ip", "-n", namespace, "addr", "add", f"{address}/30", "dev", link)
        run("ip", "-n", namespace, "addr", "add", f"{address_6}/64", "dev", link, "nodad")
        run("ip", "-n", namespace, "link", "set", link, "up")
    run("ip", "-n", NAME, "link", "set", "lo", "up")
    run("ip", "-n", NAME, "route", "add", "default", "via", PEER)
    run("ip", "-n", NAME, "-6", "route", "add", "default", "via", PEER_6)
    run(*inside(NAME, "sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0",
                "net.ipv4.ping_group_range=0 2147483647"))  # fmt: skip
    _resolver_file().write_text(f"nameserver {internet.DNS_SERVER}\n")


def _resolver_file() -> Path:
    return internet.STATE / "bypass-resolv.conf"


class BypassWorld(LabWorld):
    """The lab's world with the workload, whatever its seat, in that namespace: as root, with the host's own tools.

    No proxy, the lab's name server, the lab's authority trusted.
    """

    def run(
        self, tenant: str, command: Sequence[str], *, image: Image = Image.PYTHON, options: Sequence[str] = ()
    ) -> Output:
        del tenant, image, options
        return _workload(command)

    def run_as(self, seat: Seat, command: Sequence[str], tenant: str = "reader") -> Output:
        del seat, tenant
        return _workload(command)

    def server(self, tenant: str) -> Server:
        raise LabError(f"there is no container of {tenant} in a lab without an appliance")


def _workload(command: Sequence[str]) -> Output:
    # As root on the host's own files: whatever a stimulus means to change there stays as it is.
    script = (
        'mount --bind "$1" /etc/resolv.conf && mount -o remount,bind,ro / && mount -t tmpfs tmp /tmp && '
        'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && shift && exec "$@"'
    )
    argv = [part.replace(EMBEDDED_DNS, internet.DNS_SERVER) for part in command]
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(internet.STATE),
        "HTTP_PROXY": "",
        "CURL_CA_BUNDLE": str(AUTHORITY),
        "GIT_SSL_CAINFO": str(AUTHORITY),
        "SSL_CERT_FILE": str(AUTHORITY),
    }
    done = subprocess.run(
        inside(NAME, "unshare", "--mount", "sh", "-c", script, "sh", str(_resolver_file()), *argv),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=60, check=False,
        env=environment, cwd=internet.STATE,
    )  # fmt: skip
    return Output(done.returncode, done.stdout)
