"""What is written down about a refused call and a stopped container. Pure."""

from __future__ import annotations

from urllib.parse import parse_qs

from appliance.audit.record import AdmissionRecord, Outcome
from netns.driver.admission import Refused
from netns.driver.api_call import OTHER, ApiCall, Kind, UnclearCall, call_of
from netns.driver.go_json import Struct, UnclearBody, read_object
from netns.driver.messages import AuthorizationRequest
from netns.plumbing import Attachment

RUN = "run"
"""The operation of a record about a container that was running already."""


def of_call(message: AuthorizationRequest, refused: Refused) -> AdmissionRecord:
    """A call that was refused. Of its body no more is kept than image, user, and the container's name."""
    try:
        call = call_of(message.RequestMethod, message.RequestUri)
    except UnclearCall:
        call = OTHER
    body = _body(message)
    return AdmissionRecord(
        operation=call.kind.value,
        tenant=refused.tenant or None,
        container=_container(call, message.RequestUri, body) or None,
        image=_text(body, "Image") if call.kind is Kind.CREATE else None,
        user=_text(body, "User") if call.kind in {Kind.CREATE, Kind.EXEC_CREATE} else None,
        outcome=Outcome.DENIED,
        reason=refused.keys[0],
        rule=f"admission: {', '.join(refused.keys)}",
        detail=refused.message,
    )


def of_stop(attachment: Attachment, container: str, reason: str, why: str) -> AdmissionRecord:
    """A container that lost its link and was stopped; its id may be empty."""
    detail = f"stopped at {attachment.address}: {why}"
    return _stopped(container or attachment.container, attachment.tenant, reason, detail)


def of_end(container: str, tenant: str, reason: str, why: str) -> AdmissionRecord:
    """A container that had no link any more and was stopped."""
    return _stopped(container, tenant, reason, f"stopped without a link: {why}")


def _stopped(container: str, tenant: str, reason: str, detail: str) -> AdmissionRecord:
    return AdmissionRecord(
        operation=RUN,
        tenant=tenant or None,
        container=container or None,
        image=None,
        user=None,
        outcome=Outcome.DENIED,
        reason=reason,
        rule="admission",
        detail=detail,
    )


def _container(call: ApiCall, target: str, body: Struct | None) -> str | None:
    match call.kind:
        case Kind.CREATE:
            return parse_qs(target.partition("?")[2]).get("name", [""])[0]
        case Kind.CONNECT:
            return _text(body, "Container")
        case Kind.START | Kind.EXEC_CREATE | Kind.UPDATE:
            return call.reference
        case _:  # an exec, a build or a service is no container
            return None


def _body(message: AuthorizationRequest) -> Struct | None:
    try:
        return read_object(message.RequestBody)
    except UnclearBody:
        return None


def _text(body: Struct | None, name: str) -> str | None:
    try:
        return None if body is None else body.text(name) or None
    except UnclearBody:
        return None
