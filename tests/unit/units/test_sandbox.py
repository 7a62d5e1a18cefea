"""appliance.units.sandbox: what each process keeps, and that netd alone keeps more."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.processes import Process, processes
from appliance.settings import Settings, VaultSettings
from appliance.units.sandbox import (
    EVERYWHERE,
    IN_OWN_MOUNTS,
    LEFT_ON_NETD,
    MEMORY,
    WRITES_CODE,
    capabilities,
    kind,
    sandbox,
)

SETTINGS = Settings()
TABLE = {process.name: process for process in processes(SETTINGS)}
UNPRIVILEGED = [process for process in TABLE.values() if process.uid != 0]


def directives(process: Process, settings: Settings = SETTINGS) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in sandbox(settings, process):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("process", UNPRIVILEGED, ids=lambda process: process.name)
def test_who_reads_hostile_bytes_or_holds_secrets_is_shut_in(process: Process) -> None:
    found = directives(process)
    for key, value in (*EVERYWHERE, *IN_OWN_MOUNTS):
        assert found[key] == [value]
    assert found["AmbientCapabilities"] == [""]
    (allowed, taken, launchers) = found["SystemCallFilter"]
    assert allowed == "@system-service", "an allow list: what is not named is refused"
    assert {"@privileged", "@resources", "@keyring", "setns", "unshare"} < set(
        taken.removeprefix("~").split()
    )
    assert set(launchers.split()) == {"@chown", "capset", "setfsuid", "setgroups", "setresuid"}


def test_netd_lacks_what_is_written_down_with_its_reason_and_nothing_else() -> None:
    netd, worker = directives(TABLE["netd"]), directives(TABLE["gateway-0"])
    beside = {"ReadWritePaths"}  # what ProtectSystem=strict is opened for
    lacking = set(worker) - set(netd) - beside
    assert lacking < set(LEFT_ON_NETD)
    assert all(LEFT_ON_NETD.values())
    assert netd["RestrictNamespaces"] == ["net"]
    assert netd["IPAddressDeny"] == ["any"], "it asks the kernel and its neighbours, and nobody by IP"


def test_no_unit_of_netds_has_mounts_of_its_own() -> None:
    """The gateway's namespace, mounted there, would not be seen by any other process."""
    assert not set(directives(TABLE["netd"])) & {key for key, _ in IN_OWN_MOUNTS} - {"RestrictNamespaces"}


def test_the_privileged_calls_that_netd_keeps_are_such_as_launchers_make() -> None:
    """`setns`, which it makes too, is of @process."""
    (_, _, launchers) = directives(TABLE["gateway-0"])["SystemCallFilter"]
    reason = LEFT_ON_NETD["SystemCallFilter=~@privileged"]
    named = set(reason.partition(", for")[0].replace(" and ", ", ").split(", "))
    assert named <= {call.removeprefix("@") for call in launchers.split()}
    assert "setns" not in reason


OPENS_AND_DROPS = {"CAP_CHOWN", "CAP_SETGID", "CAP_SETPCAP"}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("broker", {"CAP_SETUID"}),
        ("gateway-0", {"CAP_SETUID", "CAP_NET_RAW"}),
        ("squid", {"CAP_SETUID", "CAP_NET_RAW"}),
        ("resolver", {"CAP_SETUID", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE"}),
        ("netd", set(TABLE["netd"].capabilities)),
    ],
)
def test_a_launcher_has_the_capabilities_that_it_uses(name: str, more: set[str]) -> None:
    assert capabilities(TABLE[name]) == OPENS_AND_DROPS | more
    assert directives(TABLE[name])["CapabilityBoundingSet"] == [" ".join(sorted(OPENS_AND_DROPS | more))]


def test_memory_is_never_written_and_run_but_where_cffi_needs_it() -> None:
    for name, process in TABLE.items():
        without = kind(process) in WRITES_CODE
        assert directives(process).get("MemoryDenyWriteExecute") == (None if without else ["yes"]), name


def test_each_process_writes_to_what_is_its_own() -> None:
    run, audit = "/run/egress", "/var/log/egress/audit"
    writable = {name: directives(TABLE[name]).get("ReadWritePaths", []) for name in TABLE}
    assert writable["gateway-0"] == [run, f"{audit}/gateway-0"]
    assert writable["resolver"] == [run, f"{audit}/resolver"]
    assert writable["squid"] == [run, f"{audit}/squid"]
    assert writable["broker"] == [run, "/var/lib/egress/ca", "/var/lib/egress/vault", f"{audit}/broker"]


def test_the_broker_writes_where_its_vault_was_put() -> None:
    vault = VaultSettings(url="sqlite:////srv/vault/broker.db", key_file=Path("/srv/keys/kek"))
    found = directives(TABLE["broker"], Settings(vault=vault))["ReadWritePaths"]
    assert {"/srv/vault", "/srv/keys"} < set(found)


def test_a_broker_with_a_remote_vault_reaches_it_and_one_without_makes_no_connection() -> None:
    assert directives(TABLE["broker"])["RestrictAddressFamilies"] == ["AF_UNIX"]
    remote = Settings(vault=VaultSettings(url="postgresql+psycopg://broker@db.example.com/egress"))
    (broker,) = [process for process in processes(remote) if process.name == "broker"]
    assert "AF_INET" in directives(broker, remote)["RestrictAddressFamilies"][0].split()


def test_secrets_are_not_swapped_out() -> None:
    assert [name for name, p in TABLE.items() if "MemorySwapMax" in directives(p)] == ["broker"]


def test_every_kind_of_process_has_its_bounds() -> None:
    assert {kind(process) for process in TABLE.values()} == set(MEMORY)
    for process in TABLE.values():
        assert {"MemoryMax", "TasksMax", "LimitNOFILE", "CPUWeight", "Nice"} < set(directives(process))
    carrying, behind = directives(TABLE["gateway-0"]), directives(TABLE["netd"])
    assert int(carrying["CPUWeight"][0]) > int(behind["CPUWeight"][0]) > 100, "a container has 100"
