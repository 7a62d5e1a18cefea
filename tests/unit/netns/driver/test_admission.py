"""Which calls are judged, and how: joins, exec, update, connect, build, services."""

from __future__ import annotations

from typing import Any

import pytest
from requests_to_docker import ACME, NET, OTHER_NET, WEB, Asked, create, inspected

from netns.driver.admission import ADMITTED, Refused
from netns.driver.facts import ExecFact, NetworkFact


@pytest.fixture
def asked() -> Asked:
    world = Asked()
    world.engine.containers = {"ours": inspected(create(), ACME), "theirs": inspected(on("web"), WEB)}
    world.engine.containers["created"] = inspected(create())
    return world


def on(network: str, **host: Any) -> dict[str, Any]:
    """A container with no hardening at all."""
    return {"Image": "base", "User": "", "HostConfig": {"NetworkMode": network, **host}}


def keys(decision: object) -> tuple[str, ...]:
    assert isinstance(decision, Refused), decision
    assert decision.message.startswith("egress: ")
    assert "\n" not in decision.message
    return decision.keys


@pytest.mark.parametrize("network", ["", "default", "bridge", "none", "host"])
def test_containers_of_others_cost_no_question(asked: Asked, network: str) -> None:
    assert asked.create(on(network, Privileged=True, Binds=["/:/host"])) is ADMITTED
    assert asked.engine.asked == []


def test_containers_on_others_networks_are_none_of_our_business(asked: Asked) -> None:
    assert asked.create(on("web", Privileged=True)) is ADMITTED
    assert asked.create(on("not-there")) is ADMITTED
    assert asked.engine.asked == ["networks"] * 2


@pytest.mark.parametrize("reference", ["acme", NET, NET[:12], NET[:1]])
def test_every_reference_to_our_network_is_known(asked: Asked, reference: str) -> None:
    assert "cap-drop" in keys(asked.create(on(reference)))


def test_a_name_goes_before_the_beginning_of_an_id(asked: Asked) -> None:
    """moby FindNetwork: a bridge called `aa` is meant, not the appliance network whose id begins so."""
    asked.engine.net.append(NetworkFact("d" * 64, "aa", "bridge"))
    assert asked.create(on("aa")) is ADMITTED
    assert "cap-drop" in keys(asked.create(on("aaa")))


def test_names_are_case_sensitive_as_in_docker(asked: Asked) -> None:
    assert asked.create(on("ACME")) is ADMITTED


def test_the_network_may_stand_in_the_endpoints_only(asked: Asked) -> None:
    body = on("default") | {"NetworkingConfig": {"EndpointsConfig": {"x": {"NetworkID": NET}}}}
    assert "one-network" in keys(asked.create(body))


def test_host_settings_without_hostconfig_count(asked: Asked) -> None:
    """moby takes the outer object's fields when there is no inner HostConfig."""
    assert "unknown" in keys(asked.create({"Image": "base", "NetworkMode": "acme"}))


@pytest.mark.parametrize("field", ["networkMODE", "networkmode"])
def test_gos_json_does_not_mind_case(asked: Asked, field: str) -> None:
    body = {"Image": "base", "hostconfig": {field: "acme"}}
    assert "cap-drop" in keys(asked.create(body))


@pytest.mark.parametrize(
    "body",
    [
        b'{"HostConfig": {"NetworkMode": "bridge", "NetworkMode": "acme"}}',
        b'{"HostConfig": {"NetworkMode": "bridge", "networkmode": "acme"}}',
        b'{"HostConfig": {"NetworkMode": "bridge"}, "hostconfig": {"NetworkMode": "acme"}}',
        b'{"Ho\xc5\xbftConfig": {"NetworkMode": "acme"}}',
        b'{"Ho\\u017ftConfig": {"NetworkMode": "acme"}}',
        b'{"NetworkingConfig": {"EndpointsConfig": {"a": {}, "a": {}}}}',
        b"",
        b"  \n",
        b"{",
        b"[]",
        b'"x"',
        b"{} {}",
        b"{}x",
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf{"HostConfig": {}}',
        b'{"HostConfig": "x"}',
        b'{"HostConfig": {"NetworkMode": 5}}',
        b'{"HostConfig": {"Memory": NaN}}',
        b'{"HostConfig": {"NetworkMode": "\\ud800"}}',
        b'{"HostConfig": {"VolumesFrom": [5]}}',
        b"[" * 100_000,
        b'{"Image": "' + b"x" * 1_048_600 + b'"}',
    ],
)
def test_a_create_call_that_can_be_read_in_two_ways(asked: Asked, body: bytes) -> None:
    """CVE-2024-41110: no body is no reason to admit; nor is one that Go reads otherwise."""
    assert keys(asked.create(body)) == ("unclear",)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("NetworkMode", "container:ours"),
        ("PidMode", "container:ours"),
        ("IpcMode", "container:ours"),
        ("VolumesFrom", ["ours:ro"]),
        ("VolumesFrom", ["theirs", "ours"]),
        ("PidMode", "container:created"),
    ],
)
def test_nobody_joins_a_container_of_ours(asked: Asked, field: str, value: object) -> None:
    """A24, A26: a neighbour on another network shares neither namespace nor files."""
    assert keys(asked.create(on("bridge", **{field: value}))) == ("join",)
    asked.engine.containers["y"] = inspected(on("bridge", **{field: value}))
    assert keys(asked.call("/containers/y/start")) == ("join",)


def test_others_may_join_each_other(asked: Asked) -> None:
    assert asked.create(on("container:theirs")) is ADMITTED
    assert asked.create(on("bridge", VolumesFrom=["theirs"])) is ADMITTED
    assert asked.create(on("container:missing")) is ADMITTED


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_start_judges_what_is_there(asked: Asked, verb: str) -> None:
    assert asked.call(f"/v1.41/containers/ours/{verb}") is ADMITTED
    assert asked.call(f"/containers/theirs/{verb}") is ADMITTED
    assert asked.call(f"/containers/missing/{verb}") is ADMITTED
    asked.engine.containers["later"] = inspected(on("later"))
    assert asked.call(f"/containers/later/{verb}") is ADMITTED
    asked.engine.net.append(NetworkFact("d" * 64, "later", "egress", "acme"))
    assert "cap-drop" in keys(asked.call(f"/containers/later/{verb}"))


def test_start_of_an_old_api_takes_settings(asked: Asked) -> None:
    assert keys(asked.call("/v1.23/containers/theirs/start", on("acme"))) == ("unclear",)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"Cmd": ["id"]}, None),
        ({"Cmd": ["id"], "User": "1000:1000"}, None),
        ({"User": "root"}, "exec-user"),
        ({"User": "0"}, "exec-user"),
        ({"User": "1000"}, "exec-user"),
        ({"User": "1000:0"}, "exec-user"),
        ({"uSER": "0:0"}, "exec-user"),
        ({"Privileged": True}, "exec-privileged"),
        ({"privileged": True, "User": "1000:1000"}, "exec-privileged"),
    ],
)
def test_exec(asked: Asked, body: dict[str, Any], key: str | None) -> None:
    decision = asked.call("/v1.41/containers/ours/exec", body)
    if key is None:
        assert decision is ADMITTED
    else:
        assert keys(decision) == (key,)
    assert asked.call("/v1.41/containers/theirs/exec", body) is ADMITTED


def test_an_exec_made_before_the_plugin_is_judged_at_its_start(asked: Asked) -> None:
    asked.engine.execs = {
        "e1": ExecFact("ours", privileged=True, user=""),
        "e2": ExecFact("ours", privileged=False, user="root"),
        "e3": ExecFact("ours", privileged=False, user=""),
        "e4": ExecFact("theirs", privileged=True, user="root"),
    }
    assert keys(asked.call("/exec/e1/start")) == ("exec-privileged",)
    assert keys(asked.call("/exec/e2/start")) == ("exec-user",)
    for allowed in ("e3", "e4", "missing"):
        assert asked.call(f"/exec/{allowed}/start") is ADMITTED


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            {"Memory": 1, "PidsLimit": None, "RestartPolicy": {"Name": "always"}, "MemorySwappiness": None},
            None,
        ),
        ({"PidsLimit": 20, "CpuShares": 5}, None),
        ({"PidsLimit": 0}, "--pids-limit"),
        ({"PidsLimit": -1}, "--pids-limit"),
        ({"Memory": -1}, "--memory"),
        ({"MemorySwap": -1}, "--memory-swap"),
        ({"Devices": [{"PathOnHost": "/dev/sda"}]}, "Devices"),
        ({"devicecgrouprules": ["a"]}, "devicecgrouprules"),
        ({"CgroupParent": "/"}, "CgroupParent"),
        ({"OomKillDisable": True}, "OomKillDisable"),
        ({"Later": 1}, "Later"),
    ],
)
def test_update(asked: Asked, body: dict[str, Any], said: str | None) -> None:
    decision = asked.call("/containers/ours/update", body)
    if said is None:
        assert decision is ADMITTED
    else:
        assert keys(decision) == ("update",)
        assert said in decision.message
    assert asked.call("/containers/theirs/update", body) is ADMITTED


@pytest.mark.parametrize("network", ["acme", NET, NET[:10]])
def test_no_running_container_comes_to_our_network(asked: Asked, network: str) -> None:
    assert keys(asked.call(f"/networks/{network}/connect", {"Container": "theirs"})) == ("connect",)
    assert keys(asked.call(f"/networks/{network}/connect", {"Container": "ours"})) == ("connect",)


@pytest.mark.parametrize("container", ["ours", "created"])
def test_no_second_network_for_a_container_of_ours(asked: Asked, container: str) -> None:
    """A24: a container with a second leg would be a way out for itself and others."""
    assert keys(asked.call("/networks/web/connect", {"Container": container})) == ("second-network",)
    assert keys(asked.call(f"/networks/{OTHER_NET}/connect", {"container": container})) == ("second-network",)
    assert keys(asked.call("/networks/bridge/connect", {"Container": container})) == ("second-network",)


@pytest.mark.parametrize(
    ("target", "body"),
    [("/networks/web/connect", {"Container": "gone"}), ("/containers/gone/update", {"PidsLimit": 0})],
)
def test_a_container_that_is_not_there_could_be_ours_a_moment_later(
    asked: Asked, target: str, body: dict[str, Any]
) -> None:
    decision = asked.call(target, body)
    assert keys(decision) == ("unknown-container",)
    assert "no such container: 'gone'" in str(decision)
    asked.engine.net = [WEB]
    assert asked.call(target, body) is ADMITTED, "without a network of ours the answer is dockerd's"


@pytest.mark.parametrize(
    "driver", ["./egress", "../plugins/egress", "x/../egress", "/egress", "EGRESS", "egress:v1"]
)
def test_our_driver_by_another_name_makes_no_network(asked: Asked, driver: str) -> None:
    """dockerd takes a driver's name for a path, finds us by it, and calls the network's driver by that name."""
    decision = asked.call(
        "/v1.41/networks/create", {"Name": "n", "driver": driver, "Options": {"tenant": "acme"}}
    )
    assert keys(decision) == ("driver-name",)
    assert "write -d egress" in str(decision)
    assert asked.engine.asked == []


@pytest.mark.parametrize(
    "driver", ["../../../tmp/x", "a/./b", "a//b", ".", "a b", "egr\u0435ss", "x\ny", "x" * 999 + "/"]
)
def test_a_driver_name_that_leads_elsewhere_makes_no_network(asked: Asked, driver: str) -> None:
    decision = asked.call("/networks/create", {"Name": "n", "Driver": driver})
    assert keys(decision) == ("driver-name",)
    assert len(str(decision)) < 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"Name": "n", "Driver": "bridge", "driver": "./egress"}',
        b'{"Name": "n", "Driver": "bridge", "Driver": "./egress"}',
        b'{"Name": "n", "Dr\xc4\xb1ver": "./egress"}',
        b'{"Driver": ["bridge"]}',
        b"",
        b'"bridge"',
    ],
)
def test_a_network_that_can_be_read_in_two_ways(asked: Asked, body: bytes) -> None:
    assert keys(asked.call("/networks/create", body)) == ("unclear",)


@pytest.mark.parametrize(
    "driver",
    ["egress", "bridge", "", None, "macvlan", "vendor/plugin:latest", "registry:5000/vendor/egress:1"],
)
def test_networks_of_others_and_of_ours_by_its_name(asked: Asked, driver: str | None) -> None:
    """The options of ours are judged by the driver; labels and options of others are free."""
    labels = {"A": "1", "a": "2", "\u00fc": ""}
    body = {"Name": "n", "Driver": driver, "Labels": labels, "Options": labels, "IPAM": None}
    assert asked.call("/networks/create", body) is ADMITTED
    assert asked.engine.asked == []


@pytest.mark.parametrize("driver", ["./egress", "x/../egress", "../../../var/run/docker/plugins/egress"])
def test_a_network_of_our_driver_by_another_name_is_ours(asked: Asked, driver: str) -> None:
    """One that was made while nobody judged its name."""
    asked.engine.net = [NetworkFact(NET, "acme", driver, "acme"), WEB]
    assert "cap-drop" in keys(asked.create(on("acme")))
    assert keys(asked.call("/networks/web/connect", {"Container": "ours"})) == ("second-network",)
    assert keys(asked.call("/networks/acme/connect", {"Container": "theirs"})) == ("connect",)
    assert keys(asked.call("/containers/ours/exec", {"Privileged": True})) == ("exec-privileged",)
    assert keys(asked.call("/containers/ours/update", {"PidsLimit": 0})) == ("update",)
    assert keys(asked.call("/build?networkmode=acme")) == ("build",)
    asking = {"TaskTemplate": {"Networks": [{"Target": "acme"}]}}
    assert keys(asked.call("/services/create", asking)) == ("service",)


def test_others_may_connect(asked: Asked) -> None:
    assert asked.call("/networks/web/connect", {"Container": "theirs"}) is ADMITTED
    assert asked.call("/networks/web/disconnect", {"Container": "ours"}) is ADMITTED


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        ("networkmode=acme", True),
        ("t=x&networkmode=%61cme", True),
        ("networkmode=bridge&networkmode=acme", True),
        ("networkmode=container:ours", True),
        ("networkmode=container:theirs", False),
        ("networkmode=bridge", False),
        ("networkmode=web", False),
        ("", False),
    ],
)
def test_no_build_on_our_network(asked: Asked, query: str, *, refused: bool) -> None:
    decision = asked.call(f"/v1.41/build?{query}")
    assert (keys(decision) == ("build",)) if refused else (decision is ADMITTED)


def test_no_service_on_our_network(asked: Asked) -> None:
    asking = {"TaskTemplate": {"Networks": [{"Target": "acme"}]}}
    assert keys(asked.call("/services/create", asking)) == ("service",)
    assert keys(asked.call("/services/s/update?version=1", {"Networks": [{"target": NET}]})) == ("service",)
    assert asked.call("/services/create", {"TaskTemplate": {"Networks": [{"Target": "web"}]}}) is ADMITTED
    assert asked.call("/services/create", {"Name": "x"}) is ADMITTED


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1.41/containers/json"),
        ("HEAD", "/_ping"),
        ("GET", "//containers/../x"),
        ("DELETE", "/containers/ours"),
        ("PUT", "/containers/ours/archive?path=/x"),
        ("POST", "/v1.41/containers/ours/kill?signal=KILL"),
        ("POST", "/images/create?fromImage=x"),
        ("POST", "/containers/ours/stop"),
    ],
)
def test_calls_that_are_admitted_without_a_question(asked: Asked, method: str, target: str) -> None:
    """Our own questions and `kill` come through here as well: none may lead to another."""
    assert asked.call(target, method=method) is ADMITTED
    assert asked.engine.asked == []


def test_without_an_answer_there_is_no_admission(asked: Asked) -> None:
    asked.engine.silent = True
    assert keys(asked.create(create())) == ("engine",)
    assert keys(asked.call("/containers/ours/start")) == ("engine",)
    assert asked.create(on("bridge")) is ADMITTED
