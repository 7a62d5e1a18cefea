"""A tenant's files are found by its name, and its document is written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from appliance.cli.failures import Failure
from appliance.cli.tenant_files import existing, workspace, write_document
from appliance.settings import Settings


def test_a_tenant_that_exists(settings: Settings) -> None:
    file = settings.tenants_dir / "acme.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("profile: allowlist\n")
    assert existing(settings, "acme") == file
    assert workspace(settings, "acme") == settings.state_dir / "tenants" / "acme" / "workspace"
    with pytest.raises(
        Failure, match=r"no tenant 'globex' \(known: acme\); add it with: egress tenant add globex"
    ):
        existing(settings, "globex")


@pytest.mark.parametrize("name", ["", "../acme", "Acme", "a/b", ".hidden"])
def test_what_is_no_name_is_no_path_either(settings: Settings, name: str) -> None:
    with pytest.raises(Failure, match="is no tenant name"):
        existing(settings, name)


def test_a_document_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "acme.yaml"
    write_document(file, b"profile: allowlist\n")
    assert file.stat().st_mode & 0o777 == 0o644

    def full(_self: Path, _mode: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "chmod", full)
    with pytest.raises(OSError, match=r"No space left.*acme\.yaml"):
        write_document(file, b"profile: read-only-web\n")
    assert [x.name for x in tmp_path.iterdir()] == ["acme.yaml"]
    assert file.read_bytes() == b"profile: allowlist\n"
