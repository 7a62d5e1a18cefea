"""A directory that others use is no instance's."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.settings import Settings
from appliance.shared_directories import is_shared


@pytest.mark.parametrize(
    "path",
    ["/", "//", "/etc", "/var", "/var/lib", "/var/log", "/var/log/", "/run", "/srv", "/home", "/root", "/tmp",
     "/var/tmp", "/opt", "/data", "/usr", "/usr/share/egress", "/boot/x", "/dev/shm/x", "/proc/1/root",
     "/sys/fs/x", "/var/lib/../log", "/srv/x/..", "//var/lib", "/./run", "/var/lib/docker", "/etc/systemd",
     "/var/run", "/var/lock", "/run/lock", "/var/run/docker", "/var/run/lock", "/var/run/user/", "//var/run/docker",
     "/home/ann", "/home/ann/"],
)  # fmt: skip
def test_what_others_use(path: str) -> None:
    assert is_shared(Path(path))


@pytest.mark.parametrize(
    "path",
    ["/etc/egress", "/srv/egress", "/run/egress", "/var/run/egress", "/var/log/egress", "/data/a/b",
     "/home/ann/egress"],
)  # fmt: skip
def test_what_may_be_an_instances_own(path: str) -> None:
    assert not is_shared(Path(path))


def test_the_places_that_hold_without_a_word_are_its_own() -> None:
    settings = Settings()
    for path in (settings.config_dir, settings.state_dir, settings.run_dir, settings.log_dir):
        assert not is_shared(path)
