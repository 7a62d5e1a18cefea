"""The plugin socket: HTTP from dockerd to the driver and the admission plugin.

Source: Docker Engine "Plugin API": POST with a JSON body, `Plugin.Activate` first. A driver's refusal is a
JSON object with `Err`, status 200; anything else of ours that fails is a status 500, and dockerd then fails
the call it was asking about.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from netns.driver import messages
from netns.driver.refusal import DriverRefused

CONTENT_TYPE = b"application/vnd.docker.plugins.v1.1+json"
MAX_BODY = 16 * 1024 * 1024  # an AuthZRes call carries the engine's answer, which we do not read

Answer = dict[str, Any]
M = TypeVar("M", bound=messages.Message)


class Driver(Protocol):
    """The network driver's calls; each returns Docker's answer or raises `DriverRefused`."""

    async def create_network(self, message: messages.CreateNetwork) -> Answer:
        """Accept or refuse a new network."""

    async def delete_network(self, message: messages.DeleteNetwork) -> Answer:
        """Forget a network."""

    async def create_endpoint(self, message: messages.CreateEndpoint) -> Answer:
        """Accept or refuse an address for a container."""

    async def delete_endpoint(self, message: messages.EndpointReference) -> Answer:
        """Forget a container."""

    async def operational_info(self, message: messages.EndpointReference) -> Answer:
        """What `docker network inspect` may show."""

    async def join(self, message: messages.Join) -> Answer:
        """Wire a container that starts."""

    async def leave(self, message: messages.EndpointReference) -> Answer:
        """Unwire a container."""


class Authorization(Protocol):
    """The admission plugin."""

    async def authorize(self, message: messages.AuthorizationRequest) -> Answer:
        """Admit or refuse one API call."""

    async def answered(self, message: messages.AuthorizationResponse) -> Answer:
        """Let the engine's answer to the call through."""


@dataclass(frozen=True, slots=True)
class Call:
    """A typed call: parses the body, then asks."""

    run: Callable[[bytes], Awaitable[Answer]]


def _typed(model: type[M], ask: Callable[[M], Awaitable[Answer]]) -> Call:
    async def run(body: bytes) -> Answer:
        return await ask(model.model_validate_json(body or b"{}"))

    return Call(run)


def _always(answer: Answer) -> Call:
    async def run(body: bytes) -> Answer:
        del body
        return answer

    return Call(run)


def calls(driver: Driver, authorization: Authorization) -> Mapping[str, Call]:
    """Every call that we answer, by path."""
    reference = messages.EndpointReference
    return {
        "/Plugin.Activate": _always({"Implements": ["NetworkDriver", "authz"]}),
        "/NetworkDriver.GetCapabilities": _always({"Scope": "local", "ConnectivityScope": "local"}),
        "/NetworkDriver.CreateNetwork": _typed(messages.CreateNetwork, driver.create_network),
        "/NetworkDriver.DeleteNetwork": _typed(messages.DeleteNetwork, driver.delete_network),
        "/NetworkDriver.CreateEndpoint": _typed(messages.CreateEndpoint, driver.create_endpoint),
        "/NetworkDriver.DeleteEndpoint": _typed(reference, driver.delete_endpoint),
        "/NetworkDriver.EndpointOperInfo": _typed(reference, driver.operational_info),
        "/NetworkDriver.Join": _typed(messages.Join, driver.join),
        "/NetworkDriver.Leave": _typed(reference, driver.leave),
        "/NetworkDriver.ProgramExternalConnectivity": _always({}),
        "/NetworkDriver.RevokeExternalConnectivity": _always({}),
        "/NetworkDriver.DiscoverNew": _always({}),
        "/NetworkDriver.DiscoverDelete": _always({}),
        "/AuthZPlugin.AuthZReq": _typed(messages.AuthorizationRequest, authorization.authorize),
        "/AuthZPlugin.AuthZRes": _typed(messages.AuthorizationResponse, authorization.answered),
    }


class PluginResource(Resource):
    """Dispatches by path; every answer is JSON."""

    isLeaf = True

    def __init__(self, table: Mapping[str, Call]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # twisted.web has no annotations
        self._table = table
        self._log = Logger()

    def render_POST(self, request: Request) -> int:
        """Answer one call of dockerd."""
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        work = Deferred.fromCoroutine(self._answer(request))

        def write(result: tuple[int, Answer]) -> None:
            if gone:
                return
            status, answer = result
            request.setResponseCode(status)
            request.responseHeaders.setRawHeaders(b"content-type", [CONTENT_TYPE])
            request.write(json.dumps(answer).encode())  # type: ignore[no-untyped-call] # as above
            request.finish()  # type: ignore[no-untyped-call] # as above

        work.addCallback(write)
        work.addErrback(lambda failure: self._log.failure("plugin answer lost", failure=failure))
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> tuple[int, Answer]:
        path = request.path.decode("latin-1")
        call = self._table.get(path)
        if call is None:
            return 404, {"Err": f"egress: no such plugin call: {path}"}
        try:
            content = request.content
            assert content is not None  # set before render
            body = content.read(MAX_BODY + 1)
            if len(body) > MAX_BODY:
                return 413, {"Err": f"egress: {path}: larger than {MAX_BODY} bytes"}
            return 200, await call.run(body)
        except DriverRefused as refusal:
            self._log.warn("{path} refused: {refusal}", path=path, refusal=str(refusal))
            return 200, {"Err": str(refusal)}
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            self._log.error("{path}: message not understood: {problems}", path=path, problems=problems)
            return 500, {"Err": f"egress: {path}: message not understood: {problems}"}
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - our own bug: dockerd must hear a failure, so the call fails closed
            self._log.failure("{path} failed", path=path)
            return 500, {"Err": f"egress: internal error in {path}; see the log of egress-netd"}


class PluginSite(Site):
    """Without the access log: dockerd asks about every call to its API."""

    def log(self, request: HTTPRequest) -> None:
        """Nothing; refusals and failures are logged where they arise."""
        del request


def site(driver: Driver, authorization: Authorization) -> Site:
    """What listens on the plugin socket."""
    return PluginSite(PluginResource(calls(driver, authorization)))  # type: ignore[no-untyped-call] # as above
