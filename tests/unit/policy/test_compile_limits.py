"""`limits:` of tenant and operator (F4): narrow defaults, ceilings, and 0 that is never "unlimited"."""

from __future__ import annotations

import pytest

from appliance.policy.limits import DEFAULT_LIMITS
from appliance.policy.schema import operator_schema, tenant_schema
from tests.unit.policy.written import compiled, error_lines, operator_problems, problems_of


def test_what_is_left_out_keeps_its_default() -> None:
    assert compiled("profile: allowlist").limits == DEFAULT_LIMITS
    limits = compiled("limits: {container: {requests_per_second: 7, bytes_out: 5MiB}}").limits
    assert limits.container.requests_per_second == 7
    assert limits.container.bytes_out == 5 * 2**20
    assert limits.container.connections == DEFAULT_LIMITS.container.connections
    assert limits.tenant == DEFAULT_LIMITS.tenant


@pytest.mark.parametrize(
    "text",
    [
        "limits: {container: {connections: 0}}",
        "limits: {tenant: {bytes_out: 0}}",
        "limits: {tenant: {requests_per_second: -1}}",
        "limits: {tenant: {requests_per_second: true}}",
        "limits: {tenant: {requests_per_second: 1.5}}",
        "limits: {tenant: {requests_per_second: unlimited}}",
        "limits: {tenant: {requests_per_second: '10'}}",
        "limits: {tunnel_seconds: 0}",
        "limits: {queries_per_second: 0}",
        "limits: {container: {connection: 5}}",
        "limits: {window_seconds: 60}",
        "limits: {tenants: {acme: {queries_per_second: 5}}}",
        "limits: [1]",
    ],
)
def test_what_a_tenant_cannot_write(text: str) -> None:
    (line,) = error_lines(problems_of(text))
    assert line.startswith("acme.yaml:1:")


def test_0_is_refused_with_a_mend() -> None:
    (line,) = error_lines(problems_of("limits:\n  container: {connections: 0}"))
    assert line.startswith("acme.yaml:2:15: limits.container.connections: '0' is no bound; write a whole")


def test_the_operators_ceiling_holds_for_what_is_written_and_for_defaults() -> None:
    operator = "limits: {tenant: {requests_per_second: 50, bytes_out: 1MiB}}"
    (line,) = error_lines(problems_of("limits: {tenant: {requests_per_second: 51}}", operator))
    assert "limits.tenant.requests_per_second: 51 is above the operator's ceiling; write 50 or less" in line
    (line,) = error_lines(problems_of("limits: {tenant: {bytes_out: 2MiB}}", operator))
    assert "write 1MiB or less" in line
    assert compiled("profile: allowlist", operator).limits.tenant.requests_per_second == 50


def test_one_tenant_may_have_more_or_less_than_the_others() -> None:
    operator = """
        limits:
          tenant: {requests_per_second: 50}
          tenants:
            acme: {tenant: {requests_per_second: 5000}, queries_per_second: 3}
            other: {tenant: {requests_per_second: 1}}
    """
    limits = compiled("profile: allowlist", operator).limits
    assert (limits.tenant.requests_per_second, limits.queries_per_second) == (5000, 3)
    assert compiled("limits: {tenant: {requests_per_second: 60}}", operator).limits.tenant == (
        compiled("limits: {tenant: {requests_per_second: 60}}").limits.tenant
    )
    assert error_lines(problems_of("limits: {queries_per_second: 4}", operator))


def test_nobody_is_promised_more_than_the_kernel_lets_through() -> None:
    """It drops the rest without a word, so no tenant would learn why its connections hang."""
    operator = """
        limits:
          container: {new_connections_per_second: 5000}
          tenants:
            acme: {container: {new_connections_per_second: 401}}
    """
    first, second = error_lines(operator_problems(operator))
    assert first.endswith(
        ":3:15: limits.container.new_connections_per_second: 5000 is more than the kernel lets through; "
        "write 400 or less"
    )
    assert "limits.tenants.acme.container.new_connections_per_second: 401 is more" in second
    whole = (
        "limits: {container: {new_connections_per_second: 400}, tenant: {new_connections_per_second: 9000}}"
    )
    assert not operator_problems(whole)


def test_the_window_is_the_operators() -> None:
    assert compiled("profile: allowlist", "limits: {window_seconds: 60}").limits.window_seconds == 60
    assert error_lines(operator_problems("limits: {window_seconds: 0}"))
    assert error_lines(operator_problems("limits: {tenants: {}}"))
    assert error_lines(operator_problems("limits: {tenants: {Not A Name: {queries_per_second: 1}}}"))


def test_a_bound_that_the_tenants_own_hides_is_pointed_out() -> None:
    text = "limits: {container: {requests_per_second: 90}, tenant: {requests_per_second: 80}}"
    (problem,) = problems_of(text)
    assert "limits.container.requests_per_second never takes effect: the whole tenant has 80" in str(problem)
    assert not error_lines([problem])


def test_the_schemas_know_limits_and_their_smallest_value() -> None:
    for schema in (tenant_schema(), operator_schema()):
        scope = schema["$defs"]["ScopeLimitsDocument"]["properties"]
        assert scope["connections"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 1_000_000}
