"""appliance.broker.identity.spiffe: one reading of a URI, or none."""

from __future__ import annotations

import pytest

from appliance.broker.identity.spiffe import GatewayId, InvalidSpiffeId, WorkloadId, parse, trust_domain


@pytest.mark.parametrize(
    "identity",
    [WorkloadId("lab", "acme", "a" * 64), WorkloadId("lab", "a", "A.b_c-1"), GatewayId("lab", "w0")],
)
def test_what_is_printed_is_parsed_again(identity: WorkloadId | GatewayId) -> None:
    assert parse(identity.uri) == identity
    assert trust_domain(identity.uri) == "lab"


def test_the_form_of_a_workloads_uri() -> None:
    assert WorkloadId("lab", "acme", "c0ffee").uri == "spiffe://lab/tenant/acme/workload/c0ffee"


@pytest.mark.parametrize(
    "uri",
    ["", "spiffe://", "spiffe:///tenant/acme/workload/x", "https://lab/tenant/acme/workload/x",
     "SPIFFE://lab/tenant/acme/workload/x", "spiffe://LAB/tenant/acme/workload/x",
     "spiffe://lab:1/tenant/acme/workload/x", "spiffe://u@lab/tenant/acme/workload/x",
     "spiffe://lab", "spiffe://lab/", "spiffe://lab/tenant/acme/workload", "spiffe://lab/tenant/acme/workload/",
     "spiffe://lab/tenant/acme/workload/x/", "spiffe://lab//tenant/acme/workload/x",
     "spiffe://lab/tenant/acme/workload/x/y", "spiffe://lab/tenant/../workload/x",
     "spiffe://lab/tenant/acme/workload/..", "spiffe://lab/tenant/acme/workload/.",
     "spiffe://lab/tenant/acme/workload/x?y", "spiffe://lab/tenant/acme/workload/x#y",
     "spiffe://lab/tenant/acme/workload/%78", "spiffe://lab/tenant/ACME/workload/x",
     "spiffe://lab/tenant/acme/workload/x\n", "spiffe://lab\n/tenant/acme/workload/x",
     "spiffe://lab/tenant/acme/workload/\u0445", "spiffe://lab/gateway/", "spiffe://lab/gateway/a/b",
     "spiffe://lab/tenant/acme/workload/" + "x" * 129, "spiffe://lab/tenant/acme/workload/" + "x" * 2048],
)  # fmt: skip
def test_any_other_text_names_nobody(uri: str) -> None:
    with pytest.raises(InvalidSpiffeId) as caught:
        parse(uri)
    assert not uri or uri not in str(caught.value)


@pytest.mark.parametrize(
    ("instance", "tenant", "workload"),
    [("", "acme", "x"), ("lab", "", "x"), ("lab", "acme", ""), ("lab", "acme", "a/b"), ("lab", "a/b", "x")],
)
def test_an_illegal_identity_cannot_exist(instance: str, tenant: str, workload: str) -> None:
    with pytest.raises(InvalidSpiffeId):
        WorkloadId(instance, tenant, workload)
