"""The plugin's answers in Docker's words, and what it asks the engine for."""

from __future__ import annotations

import json

from driver_fakes import run
from requests_to_docker import ACME, WEB, Asked, create, inspected

from netns.driver.admission import ADMITTED, Refused
from netns.driver.authz import Authorization
from netns.driver.messages import AuthorizationRequest


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
