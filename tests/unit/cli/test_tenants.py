"""A tenant is made whole or not at all, and a name that is no name touches nothing."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from appliance import docker_host
from appliance.cli.tenant_files import workspace
from appliance.docker_host import ApplianceNetwork
from appliance.settings import Settings
from tests.unit.cli.typed import Egress, refused


def tree(settings: Settings) -> list[Path]:
    """Everything below the instance's directories."""
    return sorted(
        p for d in (settings.config_dir, settings.state_dir) for p in (d, *d.rglob("*")) if p.exists()
    )


class Engine:
    """What a command asks of Docker, recorded."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str, dict[str, str]]] = []
        self.removed: list[str] = []
        self.refusal: docker.errors.APIError | None = None
        self.networks = SimpleNamespace(create=self._create)
        self.api = SimpleNamespace(remove_network=self._remove)

    def _create(self, name: str, driver: str, options: dict[str, str], *, check_duplicate: bool) -> None:
        assert check_duplicate
        if self.refusal:
            raise self.refusal
        self.made.append((name, driver, options))

    def _remove(self, identity: str) -> None:
        if self.refusal:
            raise self.refusal
        self.removed.append(identity)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()

    @contextlib.contextmanager
    def client(_settings: Settings) -> Iterator[Any]:
        yield engine

    monkeypatch.setattr(docker_host, "client", client)
    return engine


def networks(monkeypatch: pytest.MonkeyPatch, *found: ApplianceNetwork) -> None:
    monkeypatch.setattr(docker_host, "networks", lambda _settings: list(found))


def test_add_makes_document_workspace_and_network(egress: Egress, settings: Settings, engine: Engine) -> None:
    result = egress("tenant", "add", "acme")
    assert result.exit_code == 0, result.output
    assert "profile: read-only-web" in (settings.tenants_dir / "acme.yaml").read_text()
    assert (settings.tenants_dir / "acme.yaml").stat().st_mode & 0o777 == 0o644
    assert workspace(settings, "acme").is_dir()
    assert workspace(settings, "acme").parent.stat().st_mode & 0o777 == 0o700
    assert engine.made == [("acme", "egressunit", {"tenant": "acme"})]
    refused(egress("tenant", "add", "acme"), "tenant 'acme' exists", "egress tenant rm acme")


@pytest.mark.parametrize("name", ["Acme", "1a", "../acme", "a/b", "a.b", "a" * 33, "[red]", "\udcff", ""])
def test_a_name_that_is_no_name(egress: Egress, settings: Settings, engine: Engine, name: str) -> None:
    refused(egress("tenant", "add", "--", name), "is no tenant name; use up to 32 of a-z", code=2)
    refused(egress("tenant", "show", "--", name), "is no tenant name", code=2)
    refused(egress("tenant", "rm", "--", name), "is no tenant name", code=2)
    assert tree(settings) == []
    assert engine.made == []


def test_docker_absent_leaves_nothing(egress: Egress, settings: Settings) -> None:
    refused(egress("tenant", "add", "acme"), "no Docker engine answers", "start it")
    assert tree(settings) == []


def test_docker_refusing_leaves_nothing(egress: Egress, settings: Settings, engine: Engine) -> None:
    engine.refusal = docker.errors.APIError("404", explanation="plugin egressunit not found")
    refused(egress("tenant", "add", "acme"), "could not be made", "is the appliance up? (egress up)")
    assert tree(settings) == []


def test_what_was_there_before_stays(egress: Egress, settings: Settings, engine: Engine) -> None:
    kept = workspace(settings, "acme") / "result"
    kept.parent.mkdir(parents=True)
    kept.write_text("work")
    engine.refusal = docker.errors.APIError("500", explanation="no")
    refused(egress("tenant", "add", "acme"))
    assert kept.read_text() == "work"
    assert not (settings.tenants_dir / "acme.yaml").exists()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"profile: everything\n", ("mine.yaml:1:1: profile: everything is not known here; write",)),
        (b"profil: allowlist\n", ("mine.yaml:1:1: unknown key 'profil'; did you mean 'profile'?",)),
        (b"\xff\xfe", ("mine.yaml:1:1", "not UTF-8")),
        (b"rules: [\n", ("mine.yaml:2:1",)),
    ],
)
def test_a_malformed_policy_is_named_as_the_user_named_it(
    egress: Egress, settings: Settings, engine: Engine, document: bytes, words: tuple[str, ...]
) -> None:
    mine = settings.config_dir.with_name("mine.yaml")
    mine.write_bytes(document)
    result = egress("tenant", "add", "acme", "--policy", str(mine))
    refused(result, *words)
    assert ".new" not in result.output
    assert tree(settings) == []
    assert engine.made == []


def test_a_full_disk_leaves_no_draft(
    egress: Egress, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, _raw: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    refused(egress("tenant", "add", "acme"), "acme.yaml: No space left on device; make room there")
    assert tree(settings) == []


def test_only_root_adds_and_removes(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    refused(egress("tenant", "add", "acme"), "needs root; run: sudo egress tenant add")
    refused(egress("tenant", "rm", "acme"), "needs root; run: sudo egress tenant rm")


def test_a_tenant_that_does_not_exist(egress: Egress, tenant: Callable[..., Path]) -> None:
    refused(egress("tenant", "show", "nope"), "no tenant 'nope' (known: none yet)", "egress tenant add nope")
    tenant("acme")
    refused(egress("tenant", "rm", "nope"), "no tenant 'nope' (known: acme)")


def test_list_and_show(egress: Egress, tenant: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    tenant("acme")
    networks(monkeypatch, ApplianceNetwork("acme", "id", "acme", "172.18.0.0/16", ("job",)))
    assert "acme    acme      172.18.0.0/16  1" in egress("tenant", "list").output
    assert json.loads(egress("--json", "tenant", "list").stdout)[0]["containers"] == ["job"]
    assert "profile: read-only-web" in egress("tenant", "show", "acme").output
    assert (
        json.loads(egress("--json", "tenant", "show", "acme").stdout)["document"]
        == "profile: read-only-web\n"
    )


def test_list_without_docker_says_what_it_does_not_know(egress: Egress, tenant: Callable[..., Path]) -> None:
    tenant("acme")
    result = egress("--json", "tenant", "list")
    assert json.loads(result.stdout)[0]["tenant"] == "acme"
    assert "networks and containers are not known" in result.stderr


def test_list_by_somebody_who_may_not_ask_docker(
    egress: Egress, tenant: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_settings: Settings) -> list[ApplianceNetwork]:
        raise PermissionError(errno.EACCES, "Permission denied", "/var/run/docker.sock")

    tenant("acme")
    monkeypatch.setattr(docker_host, "networks", closed)
    result = egress("tenant", "list")
    assert result.exit_code == 0
    assert "not known: /var/run/docker.sock: Permission denied; run it as root" in result.stderr


def test_show_of_a_document_that_is_no_text(
    egress: Egress, tenant: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant("acme").write_bytes(b"\xff")
    networks(monkeypatch)
    refused(egress("tenant", "show", "acme"), "UTF-8")


def test_rm(
    egress: Egress,
    settings: Settings,
    tenant: Callable[..., Path],
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tenant("acme")
    home = workspace(settings, "acme")
    home.mkdir(parents=True)
    networks(monkeypatch, ApplianceNetwork("acme", "id", "acme", "172.18.0.0/16", ("job",)))
    refused(egress("tenant", "rm", "acme"), "running containers: job; stop them first")
    networks(monkeypatch, ApplianceNetwork("acme", "id", "acme", "172.18.0.0/16", ()))
    engine.refusal = docker.errors.APIError("403", explanation="denied")
    refused(egress("tenant", "rm", "acme"), "Docker refuses: denied")
    assert file.exists()
    engine.refusal = None
    assert egress("tenant", "rm", "acme").exit_code == 0
    assert engine.removed == ["id"]
    assert not file.exists()
    assert home.is_dir()


def test_rm_without_docker_removes_nothing(egress: Egress, tenant: Callable[..., Path]) -> None:
    file = tenant("acme")
    refused(egress("tenant", "rm", "acme"), "no Docker engine answers")
    assert file.exists()


def test_purge_takes_the_workspace_too(
    egress: Egress,
    settings: Settings,
    tenant: Callable[..., Path],
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenant("acme")
    home = workspace(settings, "acme")
    home.mkdir(parents=True)
    networks(monkeypatch)
    assert egress("tenant", "rm", "acme", "--purge").exit_code == 0
    assert not home.parent.exists()


def test_what_is_missing_of_a_tenant_is_made_and_its_policy_stays(
    egress: Egress,
    settings: Settings,
    engine: Engine,
    tenant: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tenant("acme", "profile: allowlist\n")
    networks(monkeypatch)
    made = egress("--json", "tenant", "add", "acme", "--if-missing")
    answer = json.loads(made.stdout)
    assert (answer["changed"], answer["network"]) == (True, "acme")
    assert engine.made == [("acme", "egressunit", {"tenant": "acme"})]
    assert workspace(settings, "acme").is_dir()
    networks(monkeypatch, ApplianceNetwork("acme-net", "1", "acme", "", ()))
    again = egress("--json", "tenant", "add", "acme", "--if-missing")
    answer = json.loads(again.stdout)
    assert (again.exit_code, answer["changed"], answer["network"]) == (0, False, "acme-net")
    without = egress("--json", "tenant", "add", "acme", "--if-missing", "--no-network")
    assert json.loads(without.stdout)["network"] is None
    assert len(engine.made) == 1
    assert file.read_text() == "profile: allowlist\n"


def test_a_network_that_cannot_be_made_leaves_an_existing_tenants_policy(
    egress: Egress, engine: Engine, tenant: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tenant("acme")
    networks(monkeypatch)
    engine.refusal = docker.errors.APIError("404", explanation="plugin egressunit not found")
    refused(egress("tenant", "add", "acme", "--if-missing"), "could not be made")
    assert file.read_text() == "profile: read-only-web\n"
