"""Who a certificate names: SPIFFE IDs of this appliance (SPIFFE-ID specification, section 2).

    spiffe://<instance>/tenant/<tenant>/workload/<container or endpoint>
    spiffe://<instance>/gateway/<worker>

The instance is the trust domain. A text that is anything else names nobody here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from appliance.workload import TENANT_NAME, TENANT_NAME_MEND

MAX_URI = 2048
"""Octets of a SPIFFE ID (section 2.3)."""

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]{1,128}")
_URI = re.compile(r"spiffe://([^/]*)(/.*)?", re.DOTALL)


class InvalidSpiffeId(ValueError):
    """A text that is no SPIFFE ID of the kinds above; `str()` is one sentence without the text."""


@dataclass(frozen=True, slots=True)
class WorkloadId:
    """A container of a tenant. After construction an illegal one cannot exist; raises `InvalidSpiffeId`."""

    instance: str
    tenant: str
    workload: str

    def __post_init__(self) -> None:
        _check_instance(self.instance)
        if not TENANT_NAME.fullmatch(self.tenant):
            raise InvalidSpiffeId(f"the tenant is no tenant name; {TENANT_NAME_MEND}")
        _check_segment(self.workload)

    @property
    def uri(self) -> str:
        """As it stands in the certificate."""
        return f"spiffe://{self.instance}/tenant/{self.tenant}/workload/{self.workload}"


@dataclass(frozen=True, slots=True)
class GatewayId:
    """A worker of the gateway, which hands over what containers ask. Raises `InvalidSpiffeId`."""

    instance: str
    worker: str

    def __post_init__(self) -> None:
        _check_instance(self.instance)
        _check_segment(self.worker)

    @property
    def uri(self) -> str:
        """As it stands in the certificate."""
        return f"spiffe://{self.instance}/gateway/{self.worker}"


SpiffeId = WorkloadId | GatewayId


def trust_domain(uri: str) -> str:
    """The trust domain of any SPIFFE ID. Raises `InvalidSpiffeId`."""
    found = _URI.fullmatch(uri)
    if found is None or len(uri) > MAX_URI:
        raise InvalidSpiffeId("the URI is no SPIFFE ID")
    _check_instance(found[1])
    return found[1]


def parse(uri: str) -> SpiffeId:
    """The one reading of `uri`: what is parsed prints the same again. Raises `InvalidSpiffeId`."""
    instance = trust_domain(uri)
    match uri.split("/")[3:]:
        case ["tenant", tenant, "workload", workload]:
            return WorkloadId(instance, tenant, workload)
        case ["gateway", worker]:
            return GatewayId(instance, worker)
        case _:
            raise InvalidSpiffeId("the path of the SPIFFE ID is none of this appliance's")


def _check_instance(text: str) -> None:
    if not _TRUST_DOMAIN.fullmatch(text):
        raise InvalidSpiffeId("the trust domain is not of a-z, 0-9, '.', '_' and '-'")


def _check_segment(text: str) -> None:
    # Section 2.2: no empty segment, and none that a path would take for itself or its parent.
    if not _SEGMENT.fullmatch(text) or text in {".", ".."}:
        raise InvalidSpiffeId("a segment of the path is not of letters, digits, '.', '_' and '-'")
