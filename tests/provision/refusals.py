"""Input that the roles refuse before they change anything, and what they then say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Refusal:
    """`says`: words of the message; `prepare` and `undo` are scripts for the target's sh."""

    words: str
    says: tuple[str, ...]
    variables: dict[str, Any] = field(default_factory=dict)
    prepare: str = ""
    undo: str = ""
    playbook: str = "site"


BARE = (
    Refusal("a variable of the wrong type", ("tenants_list",), {"tenants_list": "acme"}),
    Refusal("a setting that nobody knows", ("uplnk",), {"appliance_settings": {"uplnk": {}}}),
    Refusal("an old kernel", ("kernel", "older than"), {"host_baseline_kernel_minimum": "99.0"}),
    Refusal(
        "a daemon.json that is no JSON", ("daemon.json",),
        prepare="mkdir -p /etc/docker && echo '{\"log-driver\": ' >/etc/docker/daemon.json",
        undo="rm -r /etc/docker",
    ),
    Refusal(
        "a daemon.json with another value", ("live-restore",),
        prepare="mkdir -p /etc/docker && echo '{\"live-restore\": false}' >/etc/docker/daemon.json",
        undo="rm -r /etc/docker",
    ),
    Refusal(
        "no nft, and no package that brings it", ("no nft on this host",),
        {"host_baseline_packages_enabled": False},
    ),
    Refusal(
        "a wheel that is not the one of the sums", ("/dev/null does not know",),
        {"appliance_checksums": "/dev/null"},
    ),
    Refusal(
        "a lock that the sums do not know", ("does not know hosts",), {"appliance_lock": "/etc/hosts"},
    ),
    Refusal(
        "a group that would read the audit files", ("auditors", "appliance_settings.uids"),
        prepare="echo auditors:x:64100: >>/etc/group", undo="sed -i '/^auditors:/d' /etc/group",
    ),
    Refusal(
        "a setting that is on the engine's command line", ("dockerd is started with -H",),
        {"docker_engine_settings": {"live-restore": True, "hosts": ["unix:///run/docker.sock"]}},
    ),
)  # fmt: skip

PROVISIONED = (
    Refusal(
        "another firewall where none is wanted", ("nftables", "host_baseline_firewall"),
        {"host_baseline_firewall": "require_none"},
        prepare="systemctl enable -q nftables.service", undo="systemctl disable -q nftables.service",
    ),
    Refusal(
        "a Docker network in the uplink's range", ("198.18.83",),
        prepare="docker network create -d bridge --subnet 198.18.83.0/24 other >/dev/null",
        undo="docker network rm other >/dev/null",
    ),
    Refusal(
        "another passphrase than the vault's", ("broker_vault_passphrase",),
        {"broker_vault_passphrase": "quite another passphrase than before"},
    ),
    Refusal(
        "a vault whose key file is lost", ("alone opens",),
        {"appliance_settings": {}, "broker_vault_passphrase": ""},
    ),
    Refusal("removal without its word", ("remove_confirm",), playbook="remove"),
)  # fmt: skip
