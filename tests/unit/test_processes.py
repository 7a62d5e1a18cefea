"""The process table: least privilege is a property of the data."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from appliance.privilege import NICE, NICE_BEHIND
from appliance.processes import FIRST_WORKER_PORT, SocketKind, processes
from appliance.settings import Settings, Uplink, UplinkProxy, VaultSettings

SETTINGS = Settings(workers=3)
TABLE = {p.name: p for p in processes(SETTINGS)}


def test_only_netd_is_root_and_only_with_its_capabilities() -> None:
    roots = [p for p in TABLE.values() if p.uid == 0]
    assert [p.name for p in roots] == ["netd"]
    assert "CAP_NET_RAW" not in roots[0].capabilities
    assert all(not p.capabilities for p in TABLE.values() if p.uid != 0)


def test_each_kind_of_process_has_a_uid_of_its_own() -> None:
    kinds = {name.split("-")[0]: p.uid for name, p in TABLE.items()}
    assert len(set(kinds.values())) == len(kinds)


def test_f4_no_control_socket_is_open_to_the_hosts_users() -> None:
    """Each connection costs the process something: root and the appliance's own processes alone may make one."""
    for process in TABLE.values():
        for socket in (x for x in process.listeners if x.kind is SocketKind.UNIX):
            ours = (
                SETTINGS.uids.gateway
                if socket.name in {"calls", "dials", "workloads"}
                else SETTINGS.uids.group
            )
            assert (socket.mode, socket.group) in {(0o600, None), (0o660, ours)}


def test_002_07_the_callers_socket_is_roots_alone_unless_the_operator_names_a_group() -> None:
    def of(settings: Settings) -> tuple[int, int | None]:
        (broker,) = [process for process in processes(settings) if process.name == "broker"]
        (found,) = [listener for listener in broker.listeners if listener.name == "callers"]
        return found.mode, found.group

    assert of(Settings()) == (0o600, None)
    assert of(Settings.model_validate({"callers": {"group": 990}})) == (0o660, 990)


def test_the_group_of_all_is_nobodys_uid() -> None:
    assert SETTINGS.uids.group not in {p.uid for p in TABLE.values()}


def test_who_reads_tenant_bytes_lives_in_the_gateway_namespace() -> None:
    for process in TABLE.values():
        faces_tenants = any(listener.kind is not SocketKind.UNIX for listener in process.listeners)
        assert faces_tenants == process.in_gateway_namespace


def test_each_worker_listens_on_a_port_of_its_own() -> None:
    ports = [TABLE[f"gateway-{i}"].listeners[0].port for i in range(3)]
    assert ports == [FIRST_WORKER_PORT + i for i in range(3)]


def test_namespace_processes_start_after_netd_and_the_broker() -> None:
    names = [p.name for p in processes(SETTINGS)]
    assert names.index("netd") < names.index("resolver") < names.index("gateway-0")
    assert names.index("broker") < names.index("gateway-0")


def test_without_a_fallback_there_is_no_squid() -> None:
    assert "squid" in TABLE
    behind = Uplink(proxy=UplinkProxy(address=IPv4Address("192.0.2.1"), port=3128))
    for settings in (Settings(fallback=False), Settings(uplink=behind)):
        assert "squid" not in [p.name for p in processes(settings)]


def test_who_carries_no_traffic_is_served_behind_who_does() -> None:
    behind = [p.name for p in TABLE.values() if not p.carries_traffic]
    assert behind == ["netd"]
    assert NICE < NICE_BEHIND < 0, "of workloads it is 0"


@pytest.mark.parametrize(
    ("url", "without"),
    [
        (None, True),
        ("sqlite:////var/lib/egress/vault/broker.db", True),
        ("postgresql+psycopg:///egress?host=/run/postgresql", True),
        ("postgresql+psycopg://broker@/egress?host=/run/postgresql", True),
        ("postgresql+psycopg://broker@db.example.com/egress", False),
        ("postgresql+psycopg://broker@203.0.113.5:5432/egress", False),
    ],
)
def test_who_holds_the_secrets_has_a_network_only_where_its_database_is_elsewhere(
    url: str | None,
    without: bool,  # noqa: FBT001 - a table
) -> None:
    (broker,) = [p for p in processes(Settings(vault=VaultSettings(url=url))) if p.name == "broker"]
    assert broker.without_network is without
    assert not any(p.without_network for p in processes(Settings()) if p.name != "broker")
