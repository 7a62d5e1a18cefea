"""Docker's JSON, read strictly where we use it."""

from __future__ import annotations

import base64
import json

import pytest
from pydantic import ValidationError

from netns.driver.messages import (
    AuthorizationRequest,
    AuthorizationResponse,
    CreateEndpoint,
    CreateNetwork,
)


def test_go_writes_null_for_an_empty_map_or_slice() -> None:
    text = '{"NetworkID":"n","Options":null,"IPv4Data":null,"IPv6Data":null}'
    assert CreateNetwork.model_validate_json(text) == CreateNetwork(NetworkID="n")


def test_interface_may_be_null() -> None:
    text = '{"NetworkID":"n","EndpointID":"e","Interface":null}'
    assert CreateEndpoint.model_validate_json(text).Interface is None


@pytest.mark.parametrize("identifier", ["", "../x", "A", "a" * 65, "a b"])
def test_ids_are_ids(identifier: str) -> None:
    with pytest.raises(ValidationError):
        CreateNetwork.model_validate({"NetworkID": identifier})


def test_the_body_of_the_judged_call_is_base64() -> None:
    text = json.dumps({"RequestUri": "/x", "RequestBody": base64.b64encode(b"\x00{}").decode()})
    assert AuthorizationRequest.model_validate_json(text).RequestBody == b"\x00{}"


@pytest.mark.parametrize("body", ["***", 5, ["x"]])
def test_a_body_that_is_no_base64_is_an_error(body: object) -> None:
    with pytest.raises(ValidationError):
        AuthorizationRequest.model_validate({"RequestBody": body})


@pytest.mark.parametrize("text", ["{}", '{"RequestBody":null}'])
def test_no_body_is_empty(text: str) -> None:
    assert AuthorizationRequest.model_validate_json(text).RequestBody == b""


def test_the_headers_of_the_judged_call() -> None:
    read = AuthorizationRequest.model_validate_json
    assert read('{"RequestHeaders":{"Content-Type":"x/y"}}').RequestHeaders == {"Content-Type": "x/y"}
    assert read('{"RequestHeaders":null}').RequestHeaders == read("{}").RequestHeaders == {}
    with pytest.raises(ValidationError):
        read('{"RequestHeaders":{"Content-Type":["x/y"]}}')


def test_of_an_answer_only_the_call_is_read() -> None:
    text = '{"RequestMethod":"GET","RequestUri":"/x","ResponseBody":"***","ResponseStatusCode":"y"}'
    assert AuthorizationResponse.model_validate_json(text) == AuthorizationResponse(
        RequestMethod="GET", RequestUri="/x"
    )
