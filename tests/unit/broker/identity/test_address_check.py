"""appliance.broker.identity.address_check: an address narrows what a certificate has proved, and proves nothing."""

from __future__ import annotations

import inspect
from ipaddress import ip_address

import pytest
from OpenSSL import SSL

from appliance.broker.identity.address_check import AddressAllowlist, AddressRefusal, check_address
from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.identity.tls_context import explain, server_context
from appliance.broker.identity.verification import (
    CertificateFault,
    CertificateRefusal,
    WorkloadIdentity,
    judge,
)

from .peers import NOW, Forge, accept, connect, server_chain, shake_hands

WHO = WorkloadIdentity(WorkloadId("lab", "acme", "c0ffee"), "e1", "1", "t", NOW)
LIST = AddressAllowlist.parse(["192.0.2.0/24", "2001:db8::/32", "203.0.113.9", "2001:db8:ffff::1/128"])


@pytest.mark.parametrize(
    ("address", "good"),
    [("192.0.2.0", True), ("192.0.2.255", True), ("192.0.3.0", False), ("203.0.113.9", True),
     ("203.0.113.10", False), ("2001:db8::1", True), ("2001:db9::1", False), ("::ffff:192.0.2.7", True),
     ("::ffff:192.0.3.7", False), ("::192.0.2.7", False), ("64:ff9b::192.0.2.7", False), ("::1", False)],
)  # fmt: skip
def test_000_07_a_good_certificate_from_another_address_is_denied(address: str, good: bool) -> None:  # noqa: FBT001
    answer = check_address(WHO, ip_address(address), LIST)
    assert answer == (None if good else AddressRefusal())


def test_000_07_the_answer_is_403_workload_ip_denied() -> None:
    answer = check_address(WHO, ip_address("198.51.100.1"), LIST)
    assert answer is not None
    assert (answer.status, answer.code) == (403, "workload_ip_denied")


def test_000_07_an_empty_list_lets_nobody_in_and_no_list_asks_nothing() -> None:
    assert check_address(WHO, ip_address("192.0.2.1"), AddressAllowlist.parse([])) is not None
    assert check_address(WHO, ip_address("192.0.2.1"), None) is None


@pytest.mark.parametrize(
    "entry", ["", "192.0.2.1/24", "2001:db8::1/32", "192.0.2.0/33", "host.example", "*", "::ffff:192.0.2.0/120", "::/0", "192.0.2.01"]
)  # fmt: skip
def test_000_07_an_entry_that_could_be_misread_is_refused(entry: str) -> None:
    with pytest.raises(ValueError) as caught:
        AddressAllowlist.parse([entry])
    assert repr(entry) in str(caught.value)


def test_000_06_an_allowlisted_address_without_a_certificate_is_nobody() -> None:
    forge = Forge()
    key, chain = server_chain(forge.root)
    with pytest.raises(SSL.Error) as caught:
        shake_hands(
            connect(SSL.Context(SSL.TLS_CLIENT_METHOD)),
            accept(server_context(key, chain, [forge.root.certificate])),
        )
    assert explain(caught.value).fault is CertificateFault.MISSING
    answer = judge([], forge.trust, NOW)
    assert isinstance(answer, CertificateRefusal)
    # There is no way to ask about an address alone.
    assert "identity" in inspect.signature(check_address).parameters
    assert inspect.signature(check_address).parameters["identity"].default is inspect.Parameter.empty
