"""The plugin's answers in Docker's words, and what it asks the engine for."""

from __future__ import annotations

import json

import pytest
from driver_fakes import OTHER_NET, run
from requests_to_docker import ACME, WEB, Asked, create, inspected

from netns.driver.admission import ADMITTED, Refused
from netns.driver.authz import Authorization
from netns.driver.facts import NetworkFact, Running
from netns.driver.messages import AuthorizationRequest, AuthorizationResponse


def message(body: dict[str, object], target: str = "/v1.41/containers/create") -> AuthorizationRequest:
    return AuthorizationRequest.model_construct(
        RequestMethod="POST", RequestUri=target, RequestBody=json.dumps(body).encode(), User=""
    )


def test_answers_in_dockers_words() -> None:
    asked = Asked()
    assert run(asked.plugin.authorize(message(create()))) == {"Allow": True}
    answer = run(asked.plugin.authorize(message(create(host={"ReadonlyRootfs": False}))))
    assert answer["Allow"] is False
    assert "--read-only" in answer["Msg"]


def test_refusals_are_reported_and_every_call_is_heard() -> None:
    asked = Asked()
    refused: list[Refused] = []
    heard: list[str] = []
    plugin = Authorization(
        asked.engine, "egress", "/t", str, report=lambda _, r: refused.append(r), heard=heard.append
    )
    run(plugin.authorize(message(create())))
    run(plugin.authorize(message(create(host={"Memory": 0}))))
    run(plugin.authorize(message({}, "/v1.41/containers/x/kill")))
    assert [decision.keys for decision in refused] == [("memory",)]
    assert len(heard) == 3


def test_an_announced_probe_is_refused_and_nobody_hears_of_it() -> None:
    asked = Asked()
    refused: list[Refused] = []
    plugin = Authorization(
        asked.engine, "egress", "/t", str,
        report=lambda _, r: refused.append(r), announced=lambda target: target == "/containers/known/json",
    )  # fmt: skip

    def ask(target: str) -> dict[str, object]:
        return run(plugin.authorize(AuthorizationRequest(RequestMethod="GET", RequestUri=target)))

    assert ask("/containers/known/json")["Allow"] is False
    assert ask("/containers/other/json")["Allow"] is True, "another instance's probe goes on to its plugin"
    assert refused == []


def test_what_cannot_be_recorded_is_not_admitted() -> None:
    """Fail closed, but only for what concerns us: no container of others waits for our disk."""
    asked = Asked()
    why = "audit-unavailable: no space left"
    plugin = Authorization(asked.engine, "egress", "/t", str, unrecordable=lambda: why)
    decision = run(plugin.decide(message(create())))
    assert decision == Refused(("audit-unavailable",), f"egress: container refused: {why}", "acme")
    asked.engine.containers["x"] = inspected(create(), ACME)
    assert run(plugin.decide(message({}, "/v1.41/containers/x/start"))) == decision
    assert run(plugin.decide(message(create(host={"NetworkMode": "web"})))) is ADMITTED
    bad = run(plugin.decide(message(create(host={"Memory": 0}))))
    assert isinstance(bad, Refused)
    assert bad.keys == ("memory",), "what is refused anyway keeps its own reason"


def test_only_a_container_of_ours_costs_look_ups() -> None:
    asked = Asked()
    asked.create(create(User="", host={"Binds": ["acme_x:/x"]}))
    assert asked.engine.asked == ["networks", "image base", "volume acme_x"]
    asked.engine.asked.clear()
    asked.create(create(User="", host={"NetworkMode": "web", "Binds": ["acme_x:/x"]}))
    assert asked.engine.asked == ["networks"]


def test_a_path_that_goes_in_circles_is_refused() -> None:
    asked = Asked()

    def circle(path: str) -> str:
        raise OSError(f"{path}: too many symbolic links")

    plugin = Authorization(asked.engine, "egress", "/t", circle)
    decision = run(plugin.decide(message(create(host={"Binds": ["/t/acme/x:/x"]}))))
    assert isinstance(decision, Refused)
    assert decision.keys == ("path",)


def test_a_container_that_dockerd_describes_badly_is_refused() -> None:
    asked = Asked()
    asked.engine.containers["x"] = {"Config": {}}
    assert isinstance(run(asked.plugin.decide_existing("x")), Refused)
    assert run(asked.plugin.decide_existing("gone")) is ADMITTED


def test_a_start_that_was_refused_is_told_when_the_container_is_ours() -> None:
    asked = Asked()
    told: list[str] = []
    plugin = Authorization(asked.engine, "egress", "/t", str, start_refused=told.append)
    asked.engine.containers["bad"] = inspected(create(host={"Memory": 0}), ACME)
    asked.engine.containers["good"] = inspected(create(), ACME)
    asked.engine.containers["theirs"] = inspected(create(host={"NetworkMode": "web", "Memory": 0}), WEB)
    asked.engine.containers["odd"] = {"Config": {}}
    for name in ("bad", "good", "theirs", "odd"):
        run(plugin.authorize(message({}, f"/v1.41/containers/{name}/start")))
    run(plugin.authorize(message(create(host={"Memory": 0}))))
    assert told == ["bad"]


@pytest.mark.parametrize(
    ("method", "target", "changes"),
    [
        ("POST", "/v1.41/networks/web/connect", True),
        ("POST", "/networks/web/%63onnect", True),
        ("POST", "/containers/x/update", True),
        ("POST", "//networks/web/connect", True),
        ("POST", "/networks/web/disconnect", False),
        ("POST", "/containers/x/rename?name=y", False),
        ("POST", "/containers/x/start", False),
        ("POST", "/containers/x/kill", False),
        ("GET", "/networks/web/connect", False),
        ("GET", "/containers/json", False),
    ],
)
def test_what_was_done_to_a_container_by_its_name_is_told(method: str, target: str, *, changes: bool) -> None:
    """Whether it was refused by dockerd or not, and without a question of ours before the answer goes out."""
    asked = Asked()
    told: list[None] = []
    plugin = Authorization(asked.engine, "egress", "/t", str, changed=lambda: told.append(None))
    message = AuthorizationResponse(RequestMethod=method, RequestUri=target)
    assert run(plugin.answered(message)) == {"Allow": True}
    assert bool(told) is changes
    assert asked.engine.asked == []


def test_a_container_on_a_network_that_our_driver_has_accepted_is_ours() -> None:
    """Whatever the driver is called in Docker's list: here as by a link beside our socket."""
    asked = Asked()
    asked.engine.net = [NetworkFact(OTHER_NET, "linked", "linked", "acme"), ACME]
    accepted: set[str] = set()
    plugin = Authorization(asked.engine, "egress", "/t", str, accepted=lambda: accepted)
    call = message({"Image": "base", "User": "", "HostConfig": {"NetworkMode": "linked"}})
    assert run(plugin.decide(call)) is ADMITTED, "the control"
    accepted.add(OTHER_NET)
    decision = run(plugin.decide(call))
    assert isinstance(decision, Refused)
    assert "cap-drop" in decision.keys
    assert decision.tenant == "acme"
    asked.engine.containers["x"] = inspected(create(host={"NetworkMode": "linked"}), asked.engine.net[0])
    assert run(plugin.decide_existing("x")) is ADMITTED, "by the rules that ours have"


def test_a_build_with_a_form_is_refused_and_says_why() -> None:
    """Go's FormValue takes the body's networkmode before that of the query, and the plugin never sees it."""
    asked = Asked()

    def decide(**headers: str) -> object:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        call = AuthorizationRequest(
            RequestMethod="POST", RequestUri="/v1.41/build?remote=x&networkmode=bridge", RequestHeaders=names
        )
        return run(asked.plugin.decide(call))

    assert decide() is decide(Content_Type="application/x-tar") is ADMITTED
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=b"):
        refused = decide(Content_Type=kind)
        assert isinstance(refused, Refused)
        assert refused.keys == ("unclear",)
        assert refused.message.startswith("egress: build refused: its body is a form")


def test_containers_of_ours_are_those_that_run_on_our_networks_or_were_made_for_one() -> None:
    asked = Asked()
    asked.engine.net.append(NetworkFact("d" * 64, "linked", "linked"))
    plugin = Authorization(asked.engine, "egress", "/t", str, accepted=lambda: {"d" * 64})
    ours = [
        Running("c1", ("acme", "acme", ACME.id), ("e1",)),
        Running("c2", ("acme", "web", WEB.id), ("e2",)),
        Running("c3", ("acme",), ()),
        Running("c4", ("web", "web", "linked", WEB.id, "d" * 64), ("e3", "e4")),
        Running("c5", (ACME.id[:12],), ()),
        Running("c8", ("container:c1",), ()),  # c1 may be another's name by now
    ]
    theirs = [
        Running("c6", ("web", "web", WEB.id), ("e5",)),
        Running("c7", ("host", "host", "f" * 64), ("",)),
        Running("c9", ("",), ()),
    ]
    asked.engine.run = [*theirs, *ours]
    assert run(plugin.ours()) == tuple(ours)
    assert asked.engine.asked == ["running", "networks"]
