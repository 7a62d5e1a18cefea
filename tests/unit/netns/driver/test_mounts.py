"""Docker's two ways to write a mount."""

from __future__ import annotations

import pytest
from requests_to_docker import create

from netns.driver.container_spec import of_request
from netns.driver.go_json import Struct
from netns.driver.mounts import Mount, MountKind, mounts_of


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/in", Mount(MountKind.ANONYMOUS, "", "--volume /in")),
        ("/a:/b", Mount(MountKind.BIND, "/a", "--volume /a:/b")),
        ("/a:/b:ro,Z", Mount(MountKind.BIND, "/a", "--volume /a:/b:ro,Z")),
        ("/a:/b:ro,shared", Mount(MountKind.BIND, "/a", "--volume /a:/b:ro,shared", "shared")),
        ("name:/b", Mount(MountKind.VOLUME, "name", "--volume name:/b")),
        ("./a:/b", Mount(MountKind.VOLUME, "./a", "--volume ./a:/b")),
    ],
)
def test_volume_flags(text: str, mount: Mount) -> None:
    spec = of_request(Struct.of(create(host={"Binds": [text]}), ""))
    assert mounts_of(spec) == (mount,)


def test_mount_flags() -> None:
    entries = [
        {"Type": "tmpfs", "Target": "/t"},
        {"Type": "volume", "Target": "/v"},
        {"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": {"Subpath": "../x"}},
        {"Type": "cluster", "Source": "v", "Target": "/v"},
        {},
    ]
    found = mounts_of(of_request(Struct.of(create(host={"Mounts": entries}), "")))
    assert [(mount.kind, mount.widens) for mount in found] == [
        (MountKind.TMPFS, ""),
        (MountKind.ANONYMOUS, ""),
        (MountKind.VOLUME, "volume-subpath"),
        (MountKind.OTHER, ""),
        (MountKind.OTHER, ""),
    ]
