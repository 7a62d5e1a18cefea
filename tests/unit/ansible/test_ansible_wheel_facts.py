"""A release is named by its wheel, and a wheel that nobody published is none."""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parents[3] / "ansible/plugins/modules/wheel_facts.py"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    specification = importlib.util.spec_from_file_location("wheel_facts", FILE)
    assert specification is not None
    assert specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


def wheel(
    folder: Path, build: str | None = COMMIT, name: str = "egress-appliance", version: str = "1.2.0"
) -> Path:
    path = folder / "egress_appliance-1.2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
        archive.writestr("egress_appliance-1.2.0.dist-info/METADATA", metadata)
        if build is not None:
            archive.writestr("appliance/cli/build_id", build + "\n")
    return path


def test_a_release_is_named_by_version_and_build(module: ModuleType, tmp_path: Path) -> None:
    path = wheel(tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert module.release(path) == ("1.2.0-0123456789ab", digest)


@pytest.mark.parametrize("build", [f"{COMMIT}+changes", "unknown"])
def test_a_build_of_no_commit_is_named_by_its_octets(module: ModuleType, tmp_path: Path, build: str) -> None:
    name, digest = module.release(wheel(tmp_path, build))
    assert name == f"1.2.0-changed-{digest[:12]}"


def test_what_is_no_wheel_of_ours(module: ModuleType, tmp_path: Path) -> None:
    text = tmp_path / "text.whl"
    text.write_text("no archive")
    for path, word in (
        (text, "is no wheel of egress-appliance"),
        (tmp_path / "none.whl", "No such file"),
        (wheel(tmp_path, None), "is no wheel of egress-appliance"),
    ):
        with pytest.raises(module.NotTheWheelError, match=word):
            module.release(path)
    for given in ({"name": "other"}, {"version": "../../etc"}):
        with pytest.raises(module.NotTheWheelError, match="name a wheel of egress-appliance"):
            module.release(wheel(tmp_path, **given))


def test_the_checksums_must_know_it(module: ModuleType, tmp_path: Path) -> None:
    path, sums = wheel(tmp_path), tmp_path / "SHA256SUMS"
    digest = module.release(path)[1]
    for text in (f"{digest}  {path.name}\n", f"{'0' * 64}  other.tar.gz\n{digest} *{path.name}\n"):
        sums.write_text(text)
        module.compare(path, digest, sums)
    for text, word in (
        (f"{'0' * 64}  {path.name}\n", "is not what was published"),
        (f"{digest}  other.whl\n", "does not know"),
        ("", "does not know"),
    ):
        sums.write_text(text)
        with pytest.raises(module.NotTheWheelError, match=word):
            module.compare(path, digest, sums)
    with pytest.raises(module.NotTheWheelError, match="cannot be read"):
        module.compare(path, digest, tmp_path / "none")


def test_the_checksums_must_know_the_lock_too(module: ModuleType, tmp_path: Path) -> None:
    path, lock, sums = wheel(tmp_path), tmp_path / "appliance.lock", tmp_path / "SHA256SUMS"
    lock.write_text("a==1\n")
    known = "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in (path, lock)
    )
    sums.write_text(known)
    assert module.published(path, sums, lock) == module.release(path)
    lock.write_text("a==2\n")
    with pytest.raises(module.NotTheWheelError, match=r"appliance\.lock has .* is not what was published"):
        module.published(path, sums, lock)
    sums.write_text(known.splitlines()[0] + "\n")
    with pytest.raises(module.NotTheWheelError, match=r"does not know appliance\.lock"):
        module.published(path, sums, lock)
    assert module.published(path, sums, None) == module.published(path, None, lock) == module.release(path)
    sums.write_text(known.splitlines()[1] + "\n")
    with pytest.raises(module.NotTheWheelError, match=r"does not know egress_appliance"):
        module.published(path, sums, None)


def test_a_lock_that_is_not_there_is_told(module: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(module.NotTheWheelError, match=r"name the appliance\.lock"):
        module.published(wheel(tmp_path), None, tmp_path / "none.lock")
