"""Each flag of the hardened profile, missing or wrong in turn (issue 2; A23, A24, A26, A12)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from requests_to_docker import ACME, NET, OTHER_NET, TENANTS, WEB, Asked, create, inspected

from netns.driver.admission import ADMITTED, Refused
from netns.driver.facts import VolumeFact
from netns.driver.requirements import REQUIREMENTS, manual, numeric_user

ROOT = Path(__file__).resolve().parents[4]
ENDPOINTS = "EndpointsConfig"

# requirement, what the call has instead, what the message says
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("user", create(User=""), "--user 1000:1000"),
    ("user", create(User="1000"), "--user 1000:1000"),
    ("user", create(User="0:0"), "--user 1000:1000"),
    ("user", create(User="1000:0"), "--user 1000:1000"),
    ("user", create(User="0:1000"), "--user 1000:1000"),
    ("user", create(User="00:1000"), "--user 1000:1000"),
    ("user", create(User="nobody:nogroup"), "--user 1000:1000"),
    ("user", create(User="4294967296:4294967296"), "--user 1000:1000"),
    ("user", create(User="²:1000"), "--user 1000:1000"),
    ("user", create(User="1000:1000\n"), "--user 1000:1000"),
    ("cap-drop", create(host={"CapDrop": None}), "--cap-drop ALL"),
    ("cap-drop", create(host={"CapDrop": ["NET_RAW", "CAP_ALL"]}), "--cap-drop ALL"),
    ("no-new-privileges", create(host={"SecurityOpt": None}), "--security-opt no-new-privileges"),
    ("no-new-privileges", create(host={"SecurityOpt": ["seccomp=builtin"]}), "no-new-privileges"),
    ("read-only", create(host={"ReadonlyRootfs": False}), "--read-only"),
    ("read-only", create(host={"ReadonlyRootfs": ...}), "--read-only"),
    ("pids-limit", create(host={"PidsLimit": None}), "--pids-limit"),
    ("pids-limit", create(host={"PidsLimit": 0}), "--pids-limit"),
    ("pids-limit", create(host={"PidsLimit": -1}), "--pids-limit"),
    ("memory", create(host={"Memory": 0}), "--memory"),
    ("memory-swap", create(host={"MemorySwap": -1}), "--memory-swap -1"),
    ("privileged", create(host={"Privileged": True}), "--privileged"),
    ("cap-add", create(host={"CapAdd": ["NET_ADMIN"]}), "--cap-add"),
    ("cap-add", create(host={"CapAdd": "ALL"}), "--cap-add"),
    ("security-opt", create(host={"SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]}), "seccomp=unconfined"),
    ("security-opt", create(host={"SecurityOpt": ["no-new-privileges", "apparmor:unconfined"]}), "apparmor"),
    ("security-opt", create(host={"SecurityOpt": ["no-new-privileges", 'seccomp={"defaultAction":"ALLOW"}']}), "seccomp"),
    ("security-opt", create(host={"SecurityOpt": ["no-new-privileges", "label=disable"]}), "label=disable"),
    ("security-opt", create(host={"SecurityOpt": ["no-new-privileges", "no-new-privileges:false"]}), ":false"),
    ("system-paths", create(host={"MaskedPaths": []}), "systempaths=unconfined"),
    ("system-paths", create(host={"ReadonlyPaths": ["/proc/bus"]}), "systempaths=unconfined"),
    ("pid", create(host={"PidMode": "host"}), "--pid host"),
    ("ipc", create(host={"IpcMode": "host"}), "--ipc host"),
    ("ipc", create(host={"IpcMode": "shareable"}), "--ipc shareable"),
    ("ipc", create(host={"IpcMode": "container:abc"}), "--ipc container:abc"),
    ("uts", create(host={"UTSMode": "host"}), "--uts host"),
    ("userns", create(host={"UsernsMode": "host"}), "--userns host"),
    ("cgroupns", create(host={"CgroupnsMode": "host"}), "--cgroupns host"),
    ("cgroup", create(host={"Cgroup": "container:abc"}), "--cgroup"),
    ("cgroup-parent", create(host={"CgroupParent": "/"}), "--cgroup-parent"),
    ("device", create(host={"Devices": [{"PathOnHost": "/dev/net/tun"}]}), "--device"),
    ("device-request", create(host={"DeviceRequests": [{"Count": -1}]}), "--gpus"),
    ("device-cgroup-rule", create(host={"DeviceCgroupRules": ["c *:* rwm"]}), "--device-cgroup-rule"),
    ("mount", create(host={"Binds": ["/var/run/docker.sock:/s"]}), "--volume /var/run/docker.sock:/s"),
    ("mount", create(host={"Binds": [f"{TENANTS}/zeta:/x"]}), f"only directories below {TENANTS}/acme"),
    ("mount", create(host={"Binds": [f"{TENANTS}/acme-2:/x"]}), "only directories below"),
    ("mount", create(host={"Binds": [f"{TENANTS}/acme/../zeta:/x"]}), "only directories below"),
    ("mount", create(host={"Binds": [f"{TENANTS}/acme:/x:rshared"]}), "option rshared"),
    ("mount", create(host={"Binds": ["zeta_data:/x"]}), "only volumes named acme_"),
    ("mount", create(host={"Binds": ["acme_disguise:/x"]}), "driver options"),
    ("mount", create(host={"Binds": ["acme_nfs:/x"]}), "driver options"),
    ("mount", create(host={"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/x"}]}), "source=/etc"),
    ("mount", create(host={"Mounts": [{"Type": "bind", "Source": "etc", "Target": "/x"}]}), "source=etc"),
    ("mount", create(host={"Mounts": [{"type": "bind", "sOURCE": "/etc", "Target": "/x"}]}), "source=/etc"),
    ("mount", create(host={"Mounts": [{"Type": "image", "Source": "base", "Target": "/x"}]}), "type=image"),
    ("mount", create(host={"Mounts": [{"Type": "volume", "Source": "acme_x", "VolumeOptions": {"DriverConfig": {"Options": {"device": "/"}}}}]}), "volume-driver"),
    ("mount", create(host={"Mounts": [{"Type": "bind", "Source": f"{TENANTS}/acme", "BindOptions": {"Propagation": "rshared"}}]}), "rshared"),
    ("volume-driver", create(host={"VolumeDriver": "sshfs"}), "--volume-driver sshfs"),
    ("volumes-from", create(host={"VolumesFrom": ["other:ro"]}), "--volumes-from"),
    ("publish", create(host={"PortBindings": {"80/tcp": [{"HostPort": "80"}]}}), "--publish"),
    ("publish", create(host={"PublishAllPorts": True}), "--publish"),
    ("link", create(host={"Links": ["a:b"]}), "--link"),
    ("sysctl", create(host={"Sysctls": {"net.ipv4.conf.all.route_localnet": "0"}}), "--sysctl"),
    ("runtime", create(host={"Runtime": "kata"}), "--runtime kata"),
    ("oom-kill-disable", create(host={"OomKillDisable": True}), "--oom-kill-disable"),
    ("oom-score-adj", create(host={"OomScoreAdj": -500}), "--oom-score-adj -500"),
    ("group-add", create(host={"GroupAdd": ["0"]}), "--group-add 0"),
    ("group-add", create(host={"GroupAdd": ["docker"]}), "--group-add docker"),
    ("log-driver", create(host={"LogConfig": {"Type": "gelf", "Config": {}}}), "--log-driver gelf"),
    ("storage-opt", create(host={"StorageOpt": {"size": "1G", "x": "y"}}), "--storage-opt x"),
    ("isolation", create(host={"Isolation": "hyperv"}), "--isolation hyperv"),
    ("one-network", create(NetworkingConfig={ENDPOINTS: {"acme": {}, "web": {}}}), "--network web as well"),
    ("one-network", create(NetworkingConfig={ENDPOINTS: {"bridge": {}}}), "--network bridge as well"),
    ("one-network", create(NetworkingConfig={ENDPOINTS: {"acme": {}, "a": {}}}), "--network twice"),
    ("one-network", create(NetworkingConfig={ENDPOINTS: {"acme": {"NetworkID": OTHER_NET}}}), "--network acme as well"),
    ("one-network", create(host={"NetworkMode": "bridge"}, NetworkingConfig={ENDPOINTS: {"acme": {}}}), "--network bridge"),
    ("one-network", create(host={"NetworkMode": ""}, NetworkingConfig={ENDPOINTS: {"x": {"NetworkID": NET}}}), "--network"),
    ("one-network", create(host={"NetworkMode": "host"}, NetworkingConfig={ENDPOINTS: {"acme": {}}}), "--network host"),
    ("endpoint", create(NetworkingConfig={ENDPOINTS: {"acme": {"IPAMConfig": {"IPv6Address": "fd00::9"}}}}), "--ip6"),
    ("endpoint", create(NetworkingConfig={ENDPOINTS: {"acme": {"IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]}}}}), "--link-local-ip"),
    ("endpoint", create(NetworkingConfig={ENDPOINTS: {"acme": {"DriverOpts": {"com.docker.network.endpoint.sysctls": "x"}}}}), "driver-opt"),
    ("endpoint", create(NetworkingConfig={ENDPOINTS: {"acme": {"Links": ["a"]}}}), "--link"),
    ("unknown", create(host={"NewAndOpen": True}), "HostConfig.NewAndOpen"),
    ("unknown", create(host={"Annotations": {"run.oci.x": "1"}}), "HostConfig.Annotations"),
    ("unknown", create(host={"Capabilities": ["CAP_SYS_ADMIN"]}), "HostConfig.Capabilities"),
    ("unknown", create(Privileged=True), "Privileged"),
    ("unknown", create(VolumeDriver="x"), "VolumeDriver"),
    ("unknown", create(HostConfig={}, **create()["HostConfig"]) | {"HostConfig": None}, "outside HostConfig"),
]  # fmt: skip


@pytest.fixture
def asked() -> Asked:
    world = Asked()
    world.engine.volumes = {
        "acme_disguise": VolumeFact("acme_disguise", "local", {"device": "/", "o": "bind"}),
        "acme_nfs": VolumeFact("acme_nfs", "nfs", {}),
        "acme_data": VolumeFact("acme_data", "local", {}),
    }
    return world


def test_the_hardened_container_is_admitted(asked: Asked) -> None:
    assert asked.create(create()) is ADMITTED


@pytest.mark.parametrize(("key", "body", "said"), WRONG, ids=[f"{i}-{w[0]}" for i, w in enumerate(WRONG)])
def test_refused_naming_the_flag(asked: Asked, key: str, body: dict[str, Any], said: str) -> None:
    decision = asked.create(body)
    assert isinstance(decision, Refused)
    assert decision.keys == (key,)
    assert said in decision.message
    assert decision.message.startswith("egress: container on network acme")


def test_every_requirement_is_tried_above() -> None:
    assert {r.key for r in REQUIREMENTS} == {key for key, _, _ in WRONG}


@pytest.mark.parametrize(
    ("key", "body", "said"),
    [w for w in WRONG if w[0] not in {"cgroupns", "endpoint", "unknown"} and not w[1].get("NetworkingConfig", {}).get(ENDPOINTS)],
)  # fmt: skip
def test_refused_again_at_the_start(asked: Asked, key: str, body: dict[str, Any], said: str) -> None:
    """A container that was made while the plugin was off, or whose volume was changed since."""
    asked.engine.containers["x"] = inspected(body, ACME)
    decision = asked.call("/v1.41/containers/x/start")
    assert isinstance(decision, Refused)
    assert decision.keys == (key,)
    assert said in decision.message


@pytest.mark.parametrize(
    "body",
    [
        create(host={"CapDrop": ["all"]}),
        create(host={"CapDrop": "ALL"}),
        create(host={"SecurityOpt": ["no-new-privileges:true"]}),
        create(host={"SecurityOpt": ["no-new-privileges=true", "apparmor=docker-default"]}),
        create(host={"Runtime": "runsc"}),
        create(host={"Binds": [f"{TENANTS}/acme/work:/work:ro"]}),
        create(host={"Binds": [f"{TENANTS}/acme:/work"]}),
        create(host={"Binds": ["acme_data:/data", "acme_new:/new:nocopy"]}),
        create(
            host={"Mounts": [{"Type": "tmpfs", "Target": "/x"}, {"Type": "volume", "Source": "acme_data"}]}
        ),
        create(host={"Mounts": [{"Type": "bind", "Source": f"{TENANTS}/acme/a", "Target": "/x"}]}),
        create(host={"Dns": ["8.8.8.8"], "ExtraHosts": ["x:1.2.3.4"], "ShmSize": 1024}),
        create(host={"StorageOpt": {"size": "1G"}, "GroupAdd": ["1001"]}),
        create(host={"NetworkMode": NET}),
        create(host={"NetworkMode": NET[:12]}),
        create(
            NetworkingConfig={
                ENDPOINTS: {"acme": {"IPAMConfig": {"IPv4Address": "172.20.0.9"}, "Aliases": ["z"]}}
            }
        ),
        create(ExposedPorts={"80/tcp": {}}, Labels={"egress.run": "7"}, Env=["A=1"]),
    ],
)
def test_variants_that_open_nothing(asked: Asked, body: dict[str, Any]) -> None:
    assert asked.create(body) is ADMITTED


@pytest.mark.parametrize("user", ["", "root", "app", "1000", "0:0"])
def test_the_images_user_counts_when_none_is_given(asked: Asked, user: str) -> None:
    asked.engine.images["base"] = user
    decision = asked.create(create(User=""))
    assert isinstance(decision, Refused)
    assert decision.keys == ("user",)


def test_an_image_with_numeric_user_is_enough(asked: Asked) -> None:
    asked.engine.images["base"] = "1000:1000"
    assert asked.create(create(User="")) is ADMITTED


def test_an_image_that_is_not_there_yet_is_for_docker_to_miss(asked: Asked) -> None:
    """Otherwise `docker run` would never pull: it does so when the engine misses the image."""
    assert asked.create(create(User="", Image="later")) is ADMITTED
    asked.engine.containers["x"] = inspected(create(), ACME, user="")
    decision = asked.call("/containers/x/start")
    assert isinstance(decision, Refused)
    assert decision.keys == ("user",)


def test_all_that_is_missing_is_said_at_once(asked: Asked) -> None:
    body = create(User="", host={"CapDrop": None, "ReadonlyRootfs": False, "Privileged": True})
    decision = asked.create(body)
    assert isinstance(decision, Refused)
    assert decision.keys == ("user", "cap-drop", "read-only", "privileged")
    assert "needs --user 1000:1000" in decision.message
    assert "may not have --privileged" in decision.message
    assert "egress run --tenant acme" in decision.message


def test_a_link_out_of_the_tenants_directory(asked: Asked) -> None:
    """A26: the directory is the tenant's own, so it can put a link there; what counts is where it leads."""
    asked.real_paths[f"{TENANTS}/acme/work"] = "/etc"
    decision = asked.create(create(host={"Binds": [f"{TENANTS}/acme/work:/x"]}))
    assert isinstance(decision, Refused)
    assert decision.keys == ("mount",)


def test_the_state_directory_may_itself_be_a_link(asked: Asked) -> None:
    asked.real_paths = {TENANTS: "/data/tenants", f"{TENANTS}/acme/w": "/data/tenants/acme/w"}
    assert asked.create(create(host={"Binds": [f"{TENANTS}/acme/w:/x"]})) is ADMITTED


def test_a_second_network_at_the_start(asked: Asked) -> None:
    asked.engine.containers["x"] = inspected(create(), ACME, WEB)
    decision = asked.call("/containers/x/start")
    assert isinstance(decision, Refused)
    assert decision.keys == ("one-network",)


def test_numeric_user() -> None:
    assert numeric_user("1000:1001") == (1000, 1001)
    assert numeric_user("2147483647:1") == (2147483647, 1)
    assert numeric_user("2147483648:1") is None


def test_the_manual_is_the_table_in_security_md() -> None:
    assert len(manual().splitlines()) == len(REQUIREMENTS) + 2
    assert f"\n{manual()}\n" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
