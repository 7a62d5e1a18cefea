"""The Debian releases that a host may have, and what a target of each is made of, as data."""

from __future__ import annotations

from dataclasses import dataclass

BASE = (
    "systemd", "systemd-sysv", "dbus", "python3", "python3-apt",
    "iproute2", "procps", "kmod", "login", "passwd",
)  # fmt: skip
"""What a target has at the start: a small host that Ansible can reach, and nothing of ours."""

INSTALLABLE = (
    "ca-certificates", "curl", "docker.io", "gnupg", "iproute2", "iptables", "kmod", "nftables", "openssh-client",
    "openssl", "procps", "python3", "python3-apt", "python3-venv", "squid-openssl", "ufw", "util-linux",
)  # fmt: skip
"""What can be installed on a target, with all that these depend on or recommend."""


@dataclass(frozen=True, slots=True)
class Release:
    """`python`: of its python3, which wheels are made for."""

    name: str
    suite: str
    python: str
    further: tuple[str, ...] = ()

    @property
    def image(self) -> str:
        return f"egress-provision/{self.name}"

    @property
    def installable(self) -> tuple[str, ...]:
        return (*INSTALLABLE, *self.further)


RELEASES = {
    release.name: release
    for release in (
        Release("debian12", "bookworm", "3.11"),
        Release("debian13", "trixie", "3.13", ("docker-cli",)),
    )
}
