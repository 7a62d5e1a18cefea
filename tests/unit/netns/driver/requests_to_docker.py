"""Create calls as docker's command line writes them, and what `docker inspect` makes of them."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from driver_fakes import NET, OTHER_NET, FakeEngine, run

from netns.driver.admission import Decision
from netns.driver.authz import Authorization
from netns.driver.facts import NetworkFact
from netns.driver.messages import AuthorizationRequest

TENANTS = "/var/lib/egress/tenants"
ACME = NetworkFact(NET, "acme", "egress", "acme")
WEB = NetworkFact(OTHER_NET, "web", "bridge")

# `docker create --network acme` with every flag that is needed, as Docker 28.2 sends it.
CREATE: dict[str, Any] = {
    "Hostname": "", "Domainname": "", "User": "1000:1000", "AttachStdin": False, "AttachStdout": True,
    "AttachStderr": True, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": ["true"],
    "Image": "base", "Volumes": {}, "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": {"A": "1", "a": "2"},
    "HostConfig": {
        "Binds": None, "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": {}}, "NetworkMode": "acme",
        "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "AutoRemove": False,
        "VolumeDriver": "", "VolumesFrom": None, "ConsoleSize": [0, 0], "CapAdd": None, "CapDrop": ["ALL"],
        "CgroupnsMode": "", "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": None, "GroupAdd": None,
        "IpcMode": "", "Cgroup": "", "Links": None, "OomScoreAdj": 0, "PidMode": "", "Privileged": False,
        "PublishAllPorts": False, "ReadonlyRootfs": True, "SecurityOpt": ["no-new-privileges"],
        "Tmpfs": {"/tmp": ""}, "UTSMode": "", "UsernsMode": "", "ShmSize": 0, "Isolation": "", "CpuShares": 0,
        "Memory": 134217728, "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0, "BlkioWeightDevice": [],
        "CpuPeriod": 0, "Devices": [], "DeviceCgroupRules": None, "DeviceRequests": None, "MemorySwap": 0,
        "MemorySwappiness": -1, "OomKillDisable": False, "PidsLimit": 64, "Ulimits": [], "MaskedPaths": None,
        "ReadonlyPaths": None,
    },
    "NetworkingConfig": {"EndpointsConfig": {}},
}  # fmt: skip


def create(*, host: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    """The good call with some fields changed; a value of `...` takes the field away."""
    body = deepcopy(CREATE) | config
    body["HostConfig"] |= host or {}
    for part in (body, body["HostConfig"]):
        for key in [key for key, value in part.items() if value is ...]:
            del part[key]
    return body


def inspected(body: dict[str, Any], *networks: NetworkFact, user: str | None = None) -> dict[str, Any]:
    """The container that a create call made."""
    host = dict(body["HostConfig"])
    for name, default in (("CgroupnsMode", "host"), ("Runtime", "runc"), ("IpcMode", "private")):
        host[name] = host.get(name) or default
    return {
        "Id": "c" * 64,
        "Config": {"User": user if user is not None else body["User"], "Image": body["Image"]},
        "HostConfig": host,
        "NetworkSettings": {"Networks": {n.name: {"NetworkID": n.id, "IPAMConfig": None} for n in networks}},
    }


class Asked:
    """An engine with two networks and an admission plugin before it."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.engine.net = [ACME, WEB]
        self.engine.images = {"base": ""}
        self.real_paths: dict[str, str] = {}
        self.plugin = Authorization(
            self.engine, "egress", TENANTS, lambda path: self.real_paths.get(path, path)
        )

    def call(self, target: str, body: dict[str, Any] | bytes | None = None, method: str = "POST") -> Decision:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        message = AuthorizationRequest.model_construct(
            RequestMethod=method, RequestUri=target, RequestBody=raw, User=""
        )
        return run(self.plugin.decide(message))

    def create(self, body: dict[str, Any] | bytes) -> Decision:
        return self.call("/v1.41/containers/create?name=x", body)
