"""What a container would see of the host's files. Pure.

Source: moby `volume/mounts/linux_parser.go` for the `--volume` syntax, Docker Engine API 1.41 for `Mounts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from netns.driver.container_spec import ContainerSpec
from netns.driver.facts import VolumeFact

# Of a bind's options only those that neither share a mount with the host nor widen anything.
_HARMLESS_MODES = frozenset({"ro", "rw", "z", "Z", "nocopy", "private", "rprivate", "cached", "delegated"})
_PRIVATE = frozenset({"", "private", "rprivate"})
VOLUME_SEPARATOR = "_"  # no tenant's name has one, so `acme_data` can be of `acme` only


class MountKind(Enum):
    """Where the content comes from."""

    BIND = "bind"
    VOLUME = "volume"
    ANONYMOUS = "anonymous"
    TMPFS = "tmpfs"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Mount:
    """`source` is a host path (bind) or a volume's name; `widens` names an option that we do not grant."""

    kind: MountKind
    source: str
    flag: str
    widens: str = ""


def mounts_of(spec: ContainerSpec) -> tuple[Mount, ...]:
    """Every mount that a specification asks for. Raises `UnclearBody`."""
    found = [_volume_flag(text) for text in spec.host.texts("Binds")]
    for mount in spec.host.structs("Mounts"):
        kind, source = mount.text("Type"), mount.text("Source")
        flag = f"--mount type={kind},source={source}"
        if kind == "tmpfs":
            found.append(Mount(MountKind.TMPFS, "", flag))
        elif kind == "bind":
            options = mount.struct("BindOptions")
            propagation = options.text("Propagation") if options else ""
            found.append(Mount(MountKind.BIND, source, flag, "" if propagation in _PRIVATE else propagation))
        elif kind == "volume":
            options = mount.struct("VolumeOptions")
            driver = options.struct("DriverConfig") if options else None
            widens = "volume-driver" if driver and tuple(driver) else ""
            widens = widens or ("volume-subpath" if options and options.text("Subpath") else "")
            found.append(Mount(MountKind.VOLUME if source else MountKind.ANONYMOUS, source, flag, widens))
        else:
            found.append(Mount(MountKind.OTHER, source, flag))
    return tuple(found)


def _volume_flag(text: str) -> Mount:
    flag = f"--volume {text}"
    source, separator, rest = text.partition(":")
    if not separator:
        return Mount(MountKind.ANONYMOUS, "", flag)
    modes = rest.partition(":")[2]
    widens = next((mode for mode in modes.split(",") if mode and mode not in _HARMLESS_MODES), "")
    kind = MountKind.BIND if source.startswith("/") else MountKind.VOLUME
    return Mount(kind, source, flag, widens)


def refused_mount(
    mount: Mount,
    tenant: str,
    tenant_dir: str,
    real_paths: Mapping[str, str],
    volumes: Mapping[str, VolumeFact | None],
) -> str:
    """Why a tenant may not have this mount, or an empty string.

    `tenant_dir` is the one directory whose content may be bound, with symbolic links already resolved;
    `real_paths` gives the same for each source. A volume that is not there yet is made by Docker's own
    driver without options.
    """
    if mount.widens:
        return f"{mount.flag} (option {mount.widens})"
    match mount.kind:
        case MountKind.TMPFS | MountKind.ANONYMOUS:
            return ""
        case MountKind.BIND:
            inside = (
                mount.source.startswith("/")
                and ".." not in PurePosixPath(mount.source).parts
                and PurePosixPath(real_paths.get(mount.source, "/")).is_relative_to(tenant_dir)
            )
            return "" if inside else f"{mount.flag} (only directories below {tenant_dir})"
        case MountKind.VOLUME:
            prefix = tenant + VOLUME_SEPARATOR
            if not mount.source.startswith(prefix):
                return f"{mount.flag} (only volumes named {prefix}…)"
            volume = volumes[mount.source]
            if volume is not None and (volume.driver != "local" or volume.options):
                return f"{mount.flag} (the volume has driver options)"
            return ""
        case MountKind.OTHER:
            return mount.flag
