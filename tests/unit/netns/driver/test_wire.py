"""The plugin socket over real HTTP bytes: paths, bodies, failures."""

from __future__ import annotations

import json
from typing import Any

import pytest
from driver_fakes import posted

from netns.driver import messages
from netns.driver.refusal import DriverRefused
from netns.driver.wire import site


class Recorder:
    """Driver and authorization in one; answers with what it was asked."""

    def __init__(self) -> None:
        self.asked: list[messages.Message] = []

    async def create_network(self, message: messages.CreateNetwork) -> dict[str, Any]:
        raise DriverRefused("egress: no")

    async def delete_network(self, message: messages.DeleteNetwork) -> dict[str, Any]:
        raise RuntimeError("bug")

    async def create_endpoint(self, message: messages.CreateEndpoint) -> dict[str, Any]:
        return self._take(message)

    async def delete_endpoint(self, message: messages.EndpointReference) -> dict[str, Any]:
        return self._take(message)

    async def operational_info(self, message: messages.EndpointReference) -> dict[str, Any]:
        return self._take(message)

    async def join(self, message: messages.Join) -> dict[str, Any]:
        return self._take(message)

    async def leave(self, message: messages.EndpointReference) -> dict[str, Any]:
        return self._take(message)

    async def authorize(self, message: messages.AuthorizationRequest) -> dict[str, Any]:
        return self._take(message)

    async def answered(self, message: messages.AuthorizationResponse) -> dict[str, Any]:
        return self._take(message) | {"Allow": True}

    def _take(self, message: messages.Message) -> dict[str, Any]:
        self.asked.append(message)
        return {}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def post(recorder: Recorder, path: str, body: bytes | dict[str, Any] = b"") -> tuple[int, Any]:
    raw = json.dumps(body).encode() if isinstance(body, dict) else body
    return posted(site(recorder, recorder), path, raw)


def test_activate_names_both_plugins(recorder: Recorder) -> None:
    assert post(recorder, "/Plugin.Activate") == (200, {"Implements": ["NetworkDriver", "authz"]})


def test_capabilities(recorder: Recorder) -> None:
    expected = {"Scope": "local", "ConnectivityScope": "local"}
    assert post(recorder, "/NetworkDriver.GetCapabilities") == (200, expected)


@pytest.mark.parametrize(
    "name",
    ["ProgramExternalConnectivity", "RevokeExternalConnectivity", "DiscoverNew", "DiscoverDelete"],
)
def test_calls_without_effect(recorder: Recorder, name: str) -> None:
    assert post(recorder, f"/NetworkDriver.{name}", {"NetworkID": "n"}) == (200, {})


def test_an_answer_of_the_engine_is_told_by_its_call(recorder: Recorder) -> None:
    body = {
        "RequestMethod": "POST",
        "RequestUri": "/x",
        "ResponseBody": "no base64",
        "ResponseStatusCode": 200,
    }
    assert post(recorder, "/AuthZPlugin.AuthZRes", body) == (200, {"Allow": True})
    assert recorder.asked == [messages.AuthorizationResponse(RequestMethod="POST", RequestUri="/x")]
    assert post(recorder, "/AuthZPlugin.AuthZRes", b"no json")[0] == 500


def test_a_refusal_is_one_line_for_docker(recorder: Recorder) -> None:
    assert post(recorder, "/NetworkDriver.CreateNetwork", {"NetworkID": "n1"}) == (
        200,
        {"Err": "egress: no"},
    )


def test_our_own_bug_fails_the_call(recorder: Recorder) -> None:
    status, answer = post(recorder, "/NetworkDriver.DeleteNetwork", {"NetworkID": "n1"})
    assert status == 500
    assert "log of egress-netd" in answer["Err"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"NetworkID": 5, "EndpointID": "e"}', b"\xff"])
def test_a_message_that_is_none_fails_the_call(recorder: Recorder, body: bytes) -> None:
    status, answer = post(recorder, "/NetworkDriver.Join", body)
    assert status == 500
    assert "not understood" in answer["Err"]
    assert recorder.asked == []


def test_an_unknown_call(recorder: Recorder) -> None:
    assert post(recorder, "/NetworkDriver.AllocateNetwork", {})[0] == 404


def test_a_typed_message_arrives(recorder: Recorder) -> None:
    body = {"NetworkID": "n1", "EndpointID": "e1", "SandboxKey": "/s", "Options": None, "New": 1}
    assert post(recorder, "/NetworkDriver.Join", body) == (200, {})
    assert recorder.asked == [messages.Join(NetworkID="n1", EndpointID="e1", SandboxKey="/s")]
