"""Only a probe that root has announced is known, and only while it lasts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.admission_probe import announced, is_announced

ME = os.getuid()


def test_known_while_it_lasts(tmp_path: Path) -> None:
    with announced(tmp_path) as target:
        assert target.startswith("/containers/egress-probe-")
        assert is_announced(tmp_path, target, ME)
        with announced(tmp_path) as other:
            assert other != target
    assert not is_announced(tmp_path, target, ME)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda target: target[:-1],
        lambda target: target.upper(),
        lambda target: "/v1.41" + target,
        lambda target: target + "?size=1",
        lambda target: target.replace("egress-probe-", "../egress-probe-"),
        lambda _: "/containers/json",
        lambda _: "/containers/egress-probe-" + "0" * 32 + "/json",
    ],
)
def test_no_other_target_is_known(tmp_path: Path, change) -> None:
    with announced(tmp_path) as target:
        assert not is_announced(tmp_path, change(target), ME)


def test_a_file_of_another_user_or_another_kind_announces_nothing(tmp_path: Path) -> None:
    with announced(tmp_path) as target:
        assert not is_announced(tmp_path, target, ME + 1)
        file = tmp_path / target.split("/")[2]
        file.unlink()
        file.symlink_to("/etc/passwd")
        assert not is_announced(tmp_path, target, ME)


def test_without_the_directory_the_probe_is_made_and_known_to_nobody(tmp_path: Path) -> None:
    with announced(tmp_path / "absent") as target:
        assert not is_announced(tmp_path / "absent", target, ME)
