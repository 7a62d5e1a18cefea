"""Request targets, plain and crooked, as dockerd's router would take them."""

from __future__ import annotations

import pytest

from netns.driver.api_call import OTHER, ApiCall, Kind, UnclearCall, call_of, require_no_form


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
        ("/networks/create", ApiCall(Kind.NETWORK_CREATE)),
        ("/v1.41/networks/cre%61te", ApiCall(Kind.NETWORK_CREATE)),
        ("/networks/create/connect", ApiCall(Kind.CONNECT, "create")),
        ("/networks/prune", OTHER),
        ("/containers/x/rename?name=y", OTHER),
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
        "/v1.23/networks/create",
        "/networks//create",
        "/build?t=x;networkmode=acme",
    ],
)
def test_unclear(target: str) -> None:
    with pytest.raises(UnclearCall):
        call_of("POST", target)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT", "OPTIONS", "post"])
def test_other_methods_have_no_route_that_we_guard(method: str) -> None:
    assert call_of(method, "/containers/create") == OTHER


def test_a_semicolon_is_unclear_only_where_a_query_is_read() -> None:
    assert call_of("POST", "/build?t=x%3Bnetworkmode=acme") == ApiCall(Kind.BUILD)
    assert call_of("POST", "/containers/create?name=x;y").kind is Kind.CREATE


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded",
        "Application/X-WWW-Form-URLencoded",
        " application/x-www-form-urlencoded ; charset=utf-8",
        "application/x-www-form-urlencoded; broken",
        "multipart/form-data; boundary=x",
        "appl\u0130cation/x-www-form-urlencoded",
    ],
)
@pytest.mark.parametrize("name", ["Content-Type", "content-type"])
def test_a_form_is_unclear(name: str, kind: str) -> None:
    with pytest.raises(UnclearCall, match="application/x-tar"):
        require_no_form({"Accept": "x", name: kind})


@pytest.mark.parametrize(
    "kind", ["", "application/x-tar", "application/tar", "application/octet-stream", "text/x; a=b"]
)
def test_other_bodies_are_none(kind: str) -> None:
    require_no_form({})
    require_no_form({"Content-Type": kind, "Accept": "multipart/form-data"})
