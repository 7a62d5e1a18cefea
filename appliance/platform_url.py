"""Addresses of servers that the operator names for the broker itself, for no tenant: an external CA, say.

The request is written by the same reading (`appliance.http1.target`), so that no two readers can differ.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from appliance.http1.refused import Refused
from appliance.http1.target import parse_absolute
from appliance.names import HostName


def service_of(url: str) -> tuple[str, int]:
    """Host, in canonical text, and port of an https URL that names its host. Raises `ValueError`."""
    try:
        target = parse_absolute(url)
    except Refused as fault:
        raise ValueError(f"{url!a} is no URL: {fault.detail}; write https://HOST/PATH") from fault
    authority = target.authority
    if target.scheme != "https" or authority is None:
        raise ValueError(f"{url!a} can be read and changed on its way; write https://HOST/PATH")
    if not isinstance(authority.host, HostName):
        # pydantic takes ValueError, whatever the fault
        raise ValueError(f"{url!a} names an address, which no certificate proves; write a name")  # noqa: TRY004
    return authority.host.text, authority.port


def _checked(url: str) -> str:
    service_of(url)
    return url


PlatformUrl = Annotated[str, AfterValidator(_checked)]
