"""What `egress up` refuses to begin with, one message and one mend each."""

from __future__ import annotations

import os
import re
from array import array
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance import preflight
from appliance.settings import DockerSettings, NameServer, ResolverSettings, Settings
from squid import render
from squid.child import PROGRAM, WITH_US


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    store = tmp_path / "ca.pem"
    store.write_text("certificates")
    (tmp_path / "etc" / "tenants").mkdir(parents=True)
    return Settings(
        config_dir=tmp_path / "etc",
        state_dir=tmp_path / "state",
        log_dir=tmp_path / "log",
        upstream_ca=store,
        docker=DockerSettings(socket=tmp_path / "docker.sock"),
    )


def test_nft_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.shutil, "which", lambda *_args, **_kw: None)
    failed = {c.name: c for c in (*preflight.programs(), *preflight.kernel()) if not c.ok}
    assert failed["program nft"].mend == "apt-get install nftables"
    assert "kernel nftables" in failed


def test_whoever_lacks_a_capability_starts_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mask, ok in ((0x1FFFFFFFFFF, True), (0x1FFFFFFEFFF, False), (0, False)):
        monkeypatch.setattr(
            Path,
            "read_text",
            lambda *_args, mask=mask, **_kw: f"CapPrm:\t1\nCapEff:\t{mask:016x}\nCapBnd:\t1\n",
        )
        check = preflight.capabilities(settings)
        assert check.ok is ok
        assert ("without" in check.detail) is not ok
        assert ok or "CAP_NET_ADMIN" in check.detail


def test_kernel_without_tproxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_PROBE", "table inet x { chain y { no such statement } }")
    (check, *_) = [c for c in preflight.kernel() if "TPROXY" in c.name]
    assert not check.ok
    assert "CONFIG_NFT_TPROXY" in check.mend


def test_docker_absent(settings: Settings) -> None:
    check = preflight.engine(settings)
    assert not check.ok
    assert "start it" in check.mend


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o700])
def test_a_ca_key_with_loose_modes(settings: Settings, mode: int) -> None:
    settings.ca_dir.mkdir(parents=True)
    key = settings.ca_dir / "root.key"
    key.write_text("key")
    os.chown(key, settings.uids.broker, -1)
    key.chmod(mode)
    check = preflight.ca_modes(settings)
    assert not check.ok
    assert f"chmod 600 {key}" in check.mend
    key.chmod(0o600)
    assert preflight.ca_modes(settings).ok


def test_a_ca_key_that_belongs_to_somebody_else(settings: Settings) -> None:
    settings.ca_dir.mkdir(parents=True)
    key = settings.ca_dir / "root.key"
    key.write_text("key")
    key.chmod(0o600)
    os.chown(key, settings.uids.gateway, -1)
    assert "chown" in preflight.ca_modes(settings).mend
    assert not preflight.ca_modes(settings).ok


def test_a_vault_that_others_can_use(settings: Settings) -> None:
    assert preflight.vault_files(settings).ok
    folder, uid = settings.vault_dir, settings.uids.broker
    folder.mkdir(parents=True)
    key = settings.vault_key_file
    key.write_text("key")
    for path, mode in ((folder, 0o700), (key, 0o600)):
        path.chmod(mode)
        os.chown(path, uid, -1)
    assert preflight.vault_files(settings).ok
    for path, mode in ((key, 0o640), (folder, 0o750)):
        before = path.stat().st_mode
        path.chmod(mode)
        check = preflight.vault_files(settings)
        assert not check.ok
        assert check.mend == f"chown {uid}:{uid} {path} && chmod go= {path}"
        path.chmod(before)
    os.chown(key, settings.uids.gateway, -1)
    assert str(key) in preflight.vault_files(settings).detail


def test_a_full_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1024})()
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _path: usage)
    assert [c.ok for c in preflight.disks(settings)] == [False, False]
    assert all("free at least" in c.mend for c in preflight.disks(settings))


def test_a_malformed_policy_is_named_with_its_place(settings: Settings) -> None:
    assert preflight.policies(settings).ok
    (settings.tenants_dir / "acme.yaml").write_text("profile: everything\n")
    check = preflight.policies(settings)
    assert not check.ok
    assert "acme.yaml:1:" in check.detail


def test_a_workspace_that_the_hosts_users_can_enter(settings: Settings) -> None:
    """A container may leave a setuid file there, of a uid that is a user's on the host."""
    assert preflight.workspaces(settings).ok
    home = settings.state_dir / "tenants/acme"
    home.mkdir(parents=True)
    os.chown(home, 0, 0)
    home.chmod(0o755)
    check = preflight.workspaces(settings)
    assert not check.ok
    assert f"chmod 700 {home}" in check.mend
    home.chmod(0o700)
    assert preflight.workspaces(settings).ok


def test_no_trust_store(settings: Settings) -> None:
    assert preflight.trust_store(settings).ok
    settings.upstream_ca.write_text("")
    assert not preflight.trust_store(settings).ok


def test_an_interpreter_that_the_service_uids_cannot_read(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert preflight.interpreter(settings).ok
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "python").symlink_to("/usr/bin/python3")
    monkeypatch.setattr(preflight.sys, "executable", str(private / "python"))
    check = preflight.interpreter(settings)
    assert not check.ok
    assert "install where every uid may read" in check.mend


def test_a_fallback_that_cannot_run_is_told_with_how_to_do_without(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "FALLBACK_PROGRAMS", ("/nowhere/squid",))
    check = preflight.fallback(settings)
    assert (check.ok, check.detail) == (False, "/nowhere/squid not found")
    assert "squid-openssl" in check.mend
    assert "`fallback: false`" in check.mend
    without = preflight.fallback(settings.model_copy(update={"fallback": False}))
    assert without.ok
    assert "without the gateway nothing passes" in without.detail
    monkeypatch.setattr(preflight, "FALLBACK_PROGRAMS", ("/bin/sh",))
    assert preflight.fallback(settings).ok
    elsewhere = ResolverSettings(servers=(NameServer(address=IPv4Address("9.9.9.9"), port=5353),))
    check = preflight.fallback(settings.model_copy(update={"resolver": elsewhere}))
    assert "no name server on port 53" in check.detail


def test_every_program_that_squid_needs_is_looked_for() -> None:
    configuration = (Path(render.__file__).parent / "templates/squid.conf.j2").read_text()
    needed = {PROGRAM, render.GENERATOR, WITH_US[0], *re.findall(r"/usr/(?:s?bin|lib)/\S+", configuration)}
    assert needed <= set(preflight.FALLBACK_PROGRAMS)


def test_a_mend_is_one_that_the_settings_take(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chained, `fallback: false` alone would be refused."""
    chained = settings.model_copy(update={"uplink": settings.uplink.model_copy(update={"chained": True})})
    elsewhere = ResolverSettings(servers=(NameServer(address=IPv4Address("9.9.9.9"), port=5353),))
    monkeypatch.setattr(preflight, "FALLBACK_PROGRAMS", ("/nowhere/squid",))
    mends = [preflight.fallback(chained).mend]
    monkeypatch.setattr(preflight, "FALLBACK_PROGRAMS", ("/bin/sh",))
    mends.append(preflight.fallback(chained.model_copy(update={"resolver": elsewhere})).mend)
    for mend in mends:
        assert mend.endswith("or leave `uplink.chained` away and write `fallback: false` in the settings")


@pytest.mark.parametrize("cid", [3, 0xFFFFFFFF, None], ids=["guest", "no transport", "no device"])
def test_a_channel_to_the_hypervisor_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cid: int | None
) -> None:
    device = tmp_path / "vsock"
    if cid is not None:
        device.touch()
    monkeypatch.setattr(preflight, "VSOCK", device)

    def ioctl(_file: object, request: int, into: array[int]) -> int:
        assert request == preflight._GET_LOCAL_CID
        into[0] = cid or 0
        return 0

    monkeypatch.setattr(preflight.fcntl, "ioctl", ioctl)
    check = preflight.host_channel()
    assert check.ok
    assert check.warns is (cid == 3)
    assert ("CID 3" in check.detail) is (cid == 3)
