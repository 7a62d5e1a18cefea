"""Policy documents in their places below a directory of the test."""

from __future__ import annotations

from pathlib import Path

from appliance.names import HostName
from appliance.policy.set import PolicySet
from appliance.settings import Settings

A, B = HostName("a.example.com"), HostName("b.example.com")
LISTS_A = "profile: allowlist\nrules: [{name: a, hosts: [a.example.com]}]\n"
LISTS_B = "profile: allowlist\nrules: [{name: b, hosts: [b.example.com]}]\n"


def write(settings: Settings, name: str, text: str) -> Path:
    file = settings.config_dir / name
    file.write_text(text)
    file.chmod(0o644)
    return file


def hosts(policies: PolicySet, tenant: str = "acme") -> set[str]:
    policy = policies.for_tenant(tenant)
    return {host.text for host in (A, B) if policy.judge_host("https", host, 443).allowed}
