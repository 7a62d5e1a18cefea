"""What an operator denies by address, and how much a list leaves out."""

from __future__ import annotations

import random
from ipaddress import ip_address

import pytest

from appliance.policy.verdict import Reason
from tests.unit.policy.written import compiled, host, request

LISTED = compiled("""
    profile: allowlist
    rules:
      - {name: index, hosts: [pypi.example.com], paths: ["/simple/**"]}
      - {name: mirror, hosts: ["*.mirror.example.com"]}
    """)


@pytest.mark.parametrize(
    ("name", "port", "address", "denied"),
    [
        ("a.example.com", 443, "203.0.112.0", True),
        ("a.example.com", None, "203.0.112.255", True),
        ("a.example.com", 443, "203.0.111.255", False),
        ("a.example.com", 443, "198.18.0.1", False),
        ("a.example.com", 443, "93.184.216.34", True),
        ("a.example.com", 443, "93.184.216.35", False),
        ("10.20.0.5", 443, "10.20.0.5", True),
        ("10.20.0.6", 443, "10.20.0.6", False),
    ],
)
def test_what_the_operator_denies_by_address_nobody_reaches_by_any_name(
    name: str, port: int | None, address: str, *, denied: bool
) -> None:
    """Above allow rules of the operator's own and above every exception."""
    operator = (
        "deny_addresses: [203.0.112.0/24, 93.184.216.34, 10.20.0.5]\n"
        "allow: [{hosts: [a.example.com]}]\n"
        "exceptions: [{tenant: acme, cidr: 10.20.0.0/24, port: 443}]\n"
    )
    policy = compiled("profile: read-only-web", operator)
    verdict = policy.judge_address(host(name), port, ip_address(address))
    assert (verdict.reason is Reason.ADDRESS_DENIED) is denied
    if denied:
        assert not verdict.allowed
        assert verdict.rule == "operator.yaml deny_addresses"
        assert address in verdict.detail


def test_a_thousand_names_nobody_listed_are_denied_and_the_listed_one_is_not() -> None:
    """Neither to be asked for, nor to be connected to, nor to be requested from."""
    drawn = random.Random(1022)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    for number in range(1000):
        label = "".join(drawn.choices(letters, k=drawn.randint(1, 20)))
        # Beside what has nothing to do with the list: names that look as if they had.
        text = drawn.choice(
            [f"{label}.com", f"{label}.net", f"{label}pypi.example.com", f"{label}.pypi.example.com",
             f"pypi.example.com.{label}.com", f"pypi-example.{label}.com", f"{label}.mirror.example.com.evil.net"]
        )  # fmt: skip
        assert not LISTED.judge_name(host(text)).allowed, (number, text)
        assert not LISTED.judge_host("https", host(text), 443).allowed, (number, text)
        assert LISTED.judge(request(f"https://{text}/simple/a")).reason is Reason.HOST_NOT_LISTED, (
            number,
            text,
        )
    assert LISTED.judge(request("https://pypi.example.com/simple/a")).allowed
