"""appliance.verify.tenants: made with the operator's command, gone afterwards, whatever the case did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.verify.case import Output
from appliance.verify.tenants import eventually, tenant
from tests.unit.verify.recording import Recording


def world_in(directory: Path) -> Any:
    def answers(*words: str) -> Output:
        if words[1:3] == ("tenant", "add"):
            file = directory / f"{words[3]}.yaml"
            file.write_text(Path(words[5]).read_text())
            return Output(0, f"a note\n{json.dumps({'tenant': words[3], 'policy': str(file)})}\n")
        return Output(0, "")

    return Recording(answers)


def test_a_tenant_lasts_as_long_as_its_case(tmp_path: Path) -> None:
    world = world_in(tmp_path)
    with tenant(world, "profile: allowlist\n") as made:
        assert made.file.read_text() == "profile: allowlist\n"
        made.write("profile: read-only-web\n")
        assert made.file.read_text() == "profile: read-only-web\n"
        assert list(tmp_path.iterdir()) == [made.file]
    assert world.did[1:] == [
        ("egress", "policy", "reload"),
        ("egress", "tenant", "rm", made.name, "--purge"),
    ]


@pytest.mark.parametrize("harm", ["removed", "dangling"])
def test_it_is_removed_after_a_case_that_broke_off_without_its_document(tmp_path: Path, harm: str) -> None:
    world = world_in(tmp_path)

    def break_off() -> None:
        with tenant(world, "profile: allowlist\n") as made:
            made.file.unlink()
            if harm == "dangling":
                made.file.symlink_to(tmp_path / "absent" / "file")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert ["add" if "add" in words else "rm" for words in world.did if "tenant" in words] == ["add", "rm"]
    assert [file.is_file() for file in tmp_path.iterdir()] == [True]


def test_one_that_could_not_be_made_is_no_tenant() -> None:
    world: Any = Recording(lambda *_words: Output(1, "egress: no\n"))
    with pytest.raises(OSError, match="no tenant could be added: egress: no"), tenant(world, ""):
        pytest.fail("there is none")


def test_waiting_ends() -> None:
    seen = iter([False, True])
    assert eventually(lambda: next(seen))
    assert not eventually(lambda: False, 0.15)
