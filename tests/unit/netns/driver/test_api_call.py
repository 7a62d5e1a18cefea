"""Request targets, plain and crooked, as dockerd's router would take them."""

from __future__ import annotations

import pytest

from netns.driver.api_call import OTHER, ApiCall, Kind, UnclearCall, call_of


@pytest.mark.parametrize(
    ("target", "call"),
    [
        ("/containers/create", ApiCall(Kind.CREATE)),
        ("/v1.41/containers/create?name=x", ApiCall(Kind.CREATE)),
        ("/v1.50/containers/cre%61te", ApiCall(Kind.CREATE)),
        ("/v1.41/%63ontainers/x/start", ApiCall(Kind.START, "x")),
        ("/v1.24/containers/a.b_c-1/start?x=/auth", ApiCall(Kind.START, "a.b_c-1")),
        ("/containers/create/start", ApiCall(Kind.START, "create")),
        ("/containers/x/restart", ApiCall(Kind.START, "x")),
        ("/containers/x/exec", ApiCall(Kind.EXEC_CREATE, "x")),
        ("/exec/0af/start", ApiCall(Kind.EXEC_START, "0af")),
        ("/containers/x/update", ApiCall(Kind.UPDATE, "x")),
        ("/networks/x/connect", ApiCall(Kind.CONNECT, "x")),
        ("/build", ApiCall(Kind.BUILD)),
        ("/build?networkmode=a&x=networkmode&networkmod%65=b+c", ApiCall(Kind.BUILD, "", ("a", "b c"))),
        ("/v1.41/services/create", ApiCall(Kind.SERVICE)),
        ("/services/x/update", ApiCall(Kind.SERVICE, "x")),
        ("/networks/create", OTHER),
        ("/containers/x/stop", OTHER),
        ("/vx/containers/create", OTHER),
    ],
)
def test_routes(target: str, call: ApiCall) -> None:
    assert call_of("POST", target) == call


@pytest.mark.parametrize(
    "target",
    [
        "",
        "*",
        "containers/create",
        "http://docker/v1.41/containers/create",
        "//containers/create",
        "/v1.41//containers/create",
        "/containers/./create",
        "/x/../containers/create",
        "/x/..",
        "/containers/create/",
        "/containers%2f%2fcreate",
        "/containers/x%2f..%2fcreate",
        "/containers/create%00",
        "/containers/create%0a",
        "/containers/cre%zzate",
        "/containers/create%2",
        "/containers/cre\u0430te",
        "/containers/a%2fb/start",
        "/containers/-x/start",
        "/v1.23/containers/x/start",
        "/v1./containers/create",
        "/v/containers/create/",
        "/v0/containers/create",
    ],
)
def test_unclear(target: str) -> None:
    with pytest.raises(UnclearCall):
        call_of("POST", target)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT", "OPTIONS", "post"])
def test_other_methods_have_no_route_that_we_guard(method: str) -> None:
    assert call_of(method, "/containers/create") == OTHER
