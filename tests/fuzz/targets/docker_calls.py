"""Docker API calls: a decision whatever the bytes are; and what is admitted is harmless to a reader as lax as Go's.

The second reader below knows nothing of ours: keys of structs without regard to case (with the two letters that
fold into ASCII), the last duplicate wins, unknown keys are ignored, what follows the first value is not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from netns.driver.admission import Admitted, Decision, Refused
from netns.driver.authz import Authorization
from netns.driver.facts import ExecFact, Member, NetworkFact, VolumeFact
from netns.driver.messages import AuthorizationRequest

TENANTS = "/var/lib/egress/tenants"
OURS = "a" * 64
NETWORKS = (NetworkFact(OURS, "acme", "egress", "acme"), NetworkFact("b" * 64, "web", "bridge"))
GOOD: dict[str, Any] = {
    "User": "1000:1000", "Image": "base", "Labels": {"A": "1", "a": "2"},
    "HostConfig": {
        "NetworkMode": "acme", "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "ReadonlyRootfs": True,
        "PidsLimit": 64, "Memory": 134217728, "Privileged": False, "Binds": ["/var/lib/egress/tenants/acme/w:/w"],
        "PortBindings": {},
    },
    "NetworkingConfig": {"EndpointsConfig": {"acme": {}}},
}  # fmt: skip
CONTAINER = {
    "Id": "c" * 64, "Config": {"User": "1000:1000", "Image": "base"},
    "HostConfig": GOOD["HostConfig"] | {"IpcMode": "private", "CgroupnsMode": "private"},
    "NetworkSettings": {"Networks": {"acme": {"NetworkID": OURS}}},
}  # fmt: skip


def _seed(target: str, body: Any) -> bytes:
    text = body if isinstance(body, str) else json.dumps(body)
    return target.encode() + b"\n" + text.encode()


def _changed(**host: Any) -> dict[str, Any]:
    return GOOD | {"HostConfig": GOOD["HostConfig"] | host}


CREATE = "/v1.41/containers/create"
SEEDS = (
    _seed(CREATE, GOOD),
    _seed(CREATE, _changed(Privileged=True)),
    _seed(CREATE, _changed(privileged=True)),
    _seed(CREATE, json.dumps(_changed()).replace('"Privileged"', '"Privileged": true, "privileged"')),
    _seed(CREATE, GOOD | {"HostConfig": GOOD["HostConfig"] | {"ſecurityOpt": ["seccomp=unconfined"]}}),
    _seed(CREATE, _changed(NetworkMode="container:other", CapAdd=["NET_ADMIN"])),
    _seed(CREATE, _changed(NetworkMode="web")),
    _seed(CREATE, _changed(Mounts=[{"Type": "bind", "Source": "/", "Target": "/h"}])),
    _seed(CREATE, _changed(Mounts=[None, {"type": "volume", "Source": "acme_x", "VolumeOptions": {"DriverConfig": {}}}])),
    _seed(CREATE, GOOD | {"HostConfig": None, "NetworkMode": "acme", "Privileged": True}),
    _seed(CREATE, GOOD | {"NetworkingConfig": {"EndpointsConfig": {"web": {"NetworkID": OURS}, "acme": None}}}),
    _seed("/containers/cc/exec", {"Privileged": True, "User": "0"}),
    _seed("/containers/cc/update", {"Memory": -1, "PidsLimit": None}),
    _seed("/networks/acme/connect", {"Container": "cc"}),
    _seed("/build?networkmode=acme", ""),
    _seed("/services/create", {"TaskTemplate": {"Networks": [{"Target": "acme"}]}}),
    _seed("/v1.23/containers/cc/start", GOOD),
    _seed("//containers/../containers/create", GOOD),
    _seed("/containers/%63reate", GOOD),
    _seed("http://x/containers/create", GOOD),
    _seed(CREATE, "[" * 3000),
    _seed(CREATE, '{"Memory": 1e999, "PidsLimit": NaN}'),
    _seed(CREATE, json.dumps(GOOD) + json.dumps(_changed(Privileged=True))),
)  # fmt: skip
TOKENS = tuple(
    text.encode()
    for text in (
        '"HostConfig": {', '"hostconfig"', '"Privileged": true', '"privileged"', '"CapAdd": ["ALL"]', '"NetworkMode": ',
        '"container:cc"', '"acme"', '"web"', '"Binds": ["/:/h"]', '"Mounts": [{"Type": "bind", "Source": "/"}]',
        '"PidMode": "host"', '"SecurityOpt": ', '"seccomp=unconfined"', '"EndpointsConfig"', '"NetworkID"', "null", "true",
        '"User": "0"', '"ſ', '"K', "\\u017f", "\\u212a", "\\ud800", "[]", "{}", "1e999", "-1", '"Devices": [{}]', '"CapDrop"',
        '"Memory"', '"MemorySwap": -1', '"Sysctls": {"a": "b"}', '"UTSMode"', '"IpcMode"', '"UsernsMode"', '"Runtime"',
        "/containers/", "/networks/", "/exec/", "/v1.41", "%2e%2e", "/connect", "/start", "/update", "/create", "?",
    )
)  # fmt: skip


class _Engine:
    """An engine with one network of ours, and one container on it."""

    async def ping(self, mark: str) -> None:
        del mark

    async def networks(self) -> tuple[NetworkFact, ...]:
        return NETWORKS

    async def members(self, network: str) -> tuple[Member, ...]:
        del network
        return ()

    async def labels(self, container: str) -> Mapping[str, str]:
        del container
        return {}

    async def container(self, reference: str) -> Mapping[str, Any] | None:
        return CONTAINER if reference and CONTAINER["Id"].startswith(reference) else None

    async def image_user(self, reference: str) -> str | None:
        return {"base": "", "rooted": "root"}.get(reference)

    async def volume(self, name: str) -> VolumeFact | None:
        return VolumeFact(name, "local", {"device": "/"}) if name.endswith("evil") else None

    async def exec_instance(self, reference: str) -> ExecFact | None:
        return ExecFact("cc", True, "") if reference == "ee" else None

    async def kill(self, container: str) -> None:
        del container


PLUGIN = Authorization(_Engine(), "egress", TENANTS, lambda path: path)


def one(data: bytes) -> None:
    """The first line is the request target of a POST, the rest its body."""
    line, _, body = data.partition(b"\n")
    target = line.decode("utf-8", "replace")
    decision = _decide(target, body)
    assert isinstance(decision, Admitted | Refused)
    if isinstance(decision, Refused):
        assert decision.message.startswith("egress: ")
        return
    if target == CREATE:
        _check_harmless(body)


def _decide(target: str, body: bytes) -> Decision:
    message = AuthorizationRequest.model_construct(
        RequestMethod="POST", RequestUri=target, RequestBody=body, User=""
    )
    coroutine = PLUGIN.decide(message)
    try:
        coroutine.send(None)
    except StopIteration as ended:
        decision: Decision = ended.value
        return decision
    raise AssertionError("the decision waits for something")


# The lax reader.


class _Object(tuple[tuple[str, Any], ...]):
    """An object as it stands; whether it is a struct or a free map is for the reader of it to know."""

    __slots__ = ()

    def get(self, name: str) -> Any:
        """A struct's field: the last of that name, however it is spelled."""
        found = [value for key, value in self if _fold(key) == name]
        return found[-1] if found else None

    def map(self) -> dict[str, Any]:
        """A free map: keys as they are, the last one wins."""
        return dict(self)


NOTHING = _Object()


def _fold(key: str) -> str:
    return key.replace("ſ", "s").replace("\u212a", "k").lower()


def _check_harmless(body: bytes) -> None:
    """An admitted creation: either nothing of it names our network, or all that opens anything is shut."""
    decoder = json.JSONDecoder(object_pairs_hook=_Object)
    whole, _ = decoder.raw_decode(body.decode("utf-8", "replace").lstrip())
    host = whole if whole.get("hostconfig") is None else whole.get("hostconfig")
    networking = whole.get("networkingconfig") or NOTHING
    networks = (networking.get("endpointsconfig") or NOTHING).map()
    named = {_text(host.get("networkmode")), *networks}
    named |= {_text((settings or NOTHING).get("networkid")) for settings in networks.values()}
    modes = ("networkmode", "pidmode", "ipcmode", "utsmode", "cgroup")
    assert not any(_text(host.get(mode)) == "container:cc" for mode in modes)
    if any(name == "acme" or (name and OURS.startswith(name)) for name in named):
        _check_shut(whole, host)


def _check_shut(whole: _Object, host: _Object) -> None:
    for name in (
        "privileged", "capadd", "devices", "devicerequests", "devicecgrouprules", "sysctls", "volumesfrom", "links",
        "portbindings", "publishallports", "cgroupparent", "oomkilldisable", "usernsmode", "utsmode",
    ):  # fmt: skip
        assert not host.get(name), name
    assert "ALL" in [text.upper() for text in _texts(host.get("capdrop"))]
    assert not any("unconfined" in text for text in _texts(host.get("securityopt")))
    assert any(text.startswith("no-new-privileges") for text in _texts(host.get("securityopt")))
    assert host.get("readonlyrootfs") is True
    assert host.get("memory") > 0
    assert host.get("pidslimit") > 0
    assert _text(host.get("pidmode")) in ("", "private")
    assert _text(host.get("ipcmode")) in ("", "private", "none")
    user, image = _text(whole.get("user")), _text(whole.get("image"))
    # dockerd knows no image but these two; without the image nothing is created.
    assert re.fullmatch("0*[1-9][0-9]*:0*[1-9][0-9]*", user, re.ASCII) or (
        not user and image not in ("base", "rooted")
    )
    for bind in _texts(host.get("binds")):
        assert not (bind.startswith("/") and ":" in bind) or bind.startswith(f"{TENANTS}/acme"), bind
    for mount in host.get("mounts") or ():
        if mount and mount.get("type") == "bind":
            assert _text(mount.get("source")).startswith(f"{TENANTS}/acme")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())
