"""What the shell offers while a command is typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance import settings as settings_module

if TYPE_CHECKING:
    import click


def tenant_names(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Tenants that begin with `typed`; none when the settings cannot be read (no command has run yet)."""
    del parameter
    try:
        settings = settings_module.load(context.find_root().params.get("settings_file"))
        names = sorted(f.stem for f in settings.tenants_dir.glob("*.yaml"))
    except (OSError, settings_module.SettingsError):
        return []
    return [name for name in names if name.startswith(typed)]
