from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from appliance import docker_host
from appliance.cli import verify_live
from appliance.cli.failures import Failure
from appliance.cli.verify_live import LivePlace, canary_addresses, serving
from appliance.docker_host import ApplianceNetwork
from appliance.settings import Settings
from appliance.verify import battery
from appliance.verify.live.world import CANARIES

ACME = ApplianceNetwork("acme-net", "1", "acme", "172.30.0.0/16", ())
GLOBEX = ApplianceNetwork("globex", "2", "globex", "172.31.0.0/16", ())


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the processes say."""
    said: dict[str, Any] = {"netd": {"ready": True}, "gateway-0": {"ready": True}}
    monkeypatch.setattr(verify_live, "state", lambda _settings: {"processes": said})
    return said


@pytest.fixture
def host(
    tenant: Callable[..., Path], processes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> list[ApplianceNetwork]:
    """A host on which all is as it should be; its networks."""
    tenant("acme")
    found = [ACME, GLOBEX]
    monkeypatch.setattr(docker_host, "networks", lambda _settings: found)
    monkeypatch.setattr(docker_host, "has_image", lambda _settings, _image: True)
    monkeypatch.setattr(docker_host, "log_driver", lambda _settings: "json-file")
    return found


def place(settings: Settings, tenant: str = "acme") -> LivePlace:
    return LivePlace(settings, tenant, (), lambda _line: None)


def test_a_tenants_own_network_is_tried_and_anothers_beside_it(
    settings: Settings, host: list[ApplianceNetwork]
) -> None:
    world = place(settings).plan()
    assert world.tenants == {"reader": "acme-net", "lister": "globex"}
    host.remove(GLOBEX)
    alone = place(settings)
    assert alone.plan().tenants == {"reader": "acme-net", "lister": "acme-net"}
    table = battery.gather(world)
    assert {case.attack for case in table} > {case.attack for case in alone.choose(table)}
    assert not any(case.id == "A19-lister" for case in alone.choose(table))


def test_who_is_missing_is_named_with_the_mend(
    settings: Settings, host: list[ApplianceNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Failure, match="egress tenant add nobody"):
        place(settings, "nobody")
    host.remove(ACME)
    with pytest.raises(Failure, match="docker network create"):
        place(settings)
    host.append(ACME)
    monkeypatch.setattr(docker_host, "has_image", lambda _settings, _image: False)
    with pytest.raises(Failure, match="make images"):
        place(settings)


def test_only_an_instance_that_serves_is_tried(settings: Settings, processes: dict[str, Any]) -> None:
    serving(settings)
    processes["netd"]["fallback_serves"] = True
    with pytest.raises(Failure, match="egress fallback auto"):
        serving(settings)
    processes["netd"] = {"ready": False}
    with pytest.raises(Failure, match="not ready: netd; see: egress doctor"):
        serving(settings)
    processes.update({name: {"error": "not-running"} for name in processes})
    with pytest.raises(Failure, match="sudo egress up"):
        serving(settings)


def test_a_canary_is_an_address_of_nobody() -> None:
    assert canary_addresses(()) == CANARIES
    assert canary_addresses(("10.9.9.9", "198.18.9.9", "10.9.9.9")) == ("10.9.9.9", "198.18.9.9")
    for wrong, why in (
        (("8.8.8.8", "10.0.0.1"), "is somebody's"),
        (("x", "y"), "no IPv4"),
        (("10.9.9.9",), "too few"),
    ):
        with pytest.raises(Failure, match=why):
            canary_addresses(wrong)


def test_no_canary_is_where_a_container_an_exception_or_the_uplink_is(
    settings: Settings, host: list[ApplianceNetwork]
) -> None:
    settings.operator_file.parent.mkdir(parents=True, exist_ok=True)
    settings.operator_file.write_text(
        "exceptions:\n  - {name: db.example.com, cidr: 10.201.0.0/16, port: 443, tenant: acme}\n"
    )
    ranges = {network for network, _whose in place(settings)._pools()}
    assert {IPv4Network("172.30.0.0/16"), settings.uplink.address.network} < ranges
    assert IPv4Network("10.201.0.0/16") in ranges


def test_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_live, "LOCK", tmp_path / "lock")
    with verify_live._alone(), pytest.raises(Failure, match="at work"), verify_live._alone():
        pass
