"""Base-URL mode: `https://integrations.egress.internal/<integration>/…` stands for the provider's own URL.

For clients whose base URL can be set, and which then need neither the provider's name nor its certificate.
What comes out is the request that transparent use would have sent, and it is judged as that.
"""

from __future__ import annotations

from appliance.gateway import refusals
from appliance.gateway.origin import Origin
from appliance.http1.head import RequestHead
from appliance.names import HostName
from appliance.policy.tenant import TenantPolicy
from appliance.refusal import Refusal


def provider_request(policy: TenantPolicy, head: RequestHead) -> tuple[RequestHead, Origin] | Refusal:
    """The request as the provider would get it, and where it goes. The first segment names the integration.

    The path is canonical before and after: no segment of it is empty, `.` or `..`.
    """
    prefix, _, rest = head.path[1:].partition("/")
    found = {
        (account.base_host, account.port)
        for account in policy.bound.accounts.values()
        if account.base_url == prefix and account.base_host is not None
    }
    if len(found) != 1:
        return refusals.no_integration(prefix)
    host_text, port = found.pop()
    assert host_text is not None
    origin = Origin("https", HostName.parse(host_text), port)
    return head._replace(host=origin.host, port=None, path=f"/{rest}"), origin
