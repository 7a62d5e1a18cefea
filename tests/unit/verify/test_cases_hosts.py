from __future__ import annotations

import json
import socket
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.policy.loader import check_tenant_file
from appliance.settings import Settings
from appliance.verify import cases_hosts
from tests.unit.verify.sanity import assert_attempts_are_sane, assert_sane


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_hosts", "C1", "C2", "C3", "C4", "C5", "C7", "C8", "C9")


def test_what_is_expected_is_what_the_gateway_says() -> None:
    assert_attempts_are_sane("cases_hosts")


@pytest.mark.parametrize("address", ["10.0.1.5", "169.254.169.254", "127.0.0.1"])
def test_a_disguise_is_what_the_c_library_takes_for_the_address(address: str) -> None:
    texts = cases_hosts.disguises(IPv4Address(address))
    assert len(set(texts)) == len(texts)
    read = [text for text in texts if _read(text) == address]
    assert len(read) >= 7
    assert address not in texts


def _read(text: str) -> str:
    try:
        return socket.inet_ntoa(socket.inet_aton(text))
    except OSError:
        return ""


@pytest.mark.parametrize("pattern", [*cases_hosts.TOO_WIDE, *cases_hosts.NO_PATTERNS])
def test_a_pattern_that_no_document_may_have_is_refused(pattern: str, tmp_path: Path) -> None:
    file = tmp_path / "tenants" / "acme.yaml"
    file.parent.mkdir()
    rule = {"name": "site", "hosts": [pattern]}
    file.write_text(json.dumps({"profile": "allowlist", "rules": [rule]}))
    assert check_tenant_file(Settings(config_dir=tmp_path), file)
    file.write_text(json.dumps({"profile": "allowlist", "rules": [rule | {"hosts": ["*.example.net"]}]}))
    assert not check_tenant_file(Settings(config_dir=tmp_path), file)
