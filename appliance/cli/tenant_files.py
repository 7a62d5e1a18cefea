"""The files of a tenant: its policy document and its workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.cli.failures import Failure
from appliance.workload import TENANT_NAME, TENANT_NAME_MEND

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.settings import Settings


def existing(settings: Settings, name: str) -> Path:
    """The policy file of tenant `name`. Raises `Failure` when there is no such tenant."""
    if not TENANT_NAME.fullmatch(name):
        raise Failure(f"{name!r} is no tenant name; {TENANT_NAME_MEND}", exit_code=2)
    file = settings.tenants_dir / f"{name}.yaml"
    if not file.exists():
        known = ", ".join(sorted(f.stem for f in settings.tenants_dir.glob("*.yaml"))) or "none yet"
        raise Failure(f"no tenant {name!r} (known: {known}); add it with: egress tenant add {name}")
    return file


def workspace(settings: Settings, name: str) -> Path:
    """The one host directory that containers of tenant `name` may have mounted."""
    return settings.state_dir / "tenants" / name / "workspace"


def write_document(file: Path, raw: bytes) -> None:
    """The whole document or none of it, also on a full disk. Raises `OSError` naming the file."""
    draft = file.with_name(f".{file.name}.new")
    try:
        draft.write_bytes(raw)
        draft.chmod(0o644)  # the gateway's and the resolver's uids read it
        draft.replace(file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error
    finally:
        draft.unlink(missing_ok=True)
