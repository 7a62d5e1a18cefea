"""What is handed out: wheel and sdist hold everything, say where they come from, and start on a bare host.

Built once for all tests here, in a copy of the tree that is a repository of its own.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from appliance.cli.version import BUILD_ID

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("appliance", "netns", "squid")
SHARED = "share/egress-appliance"
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", "dist", "build", "results", "__pycache__", ".*_cache", "*.egg-info", "*.pyc"
)
NAMED = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
SECONDS = 120


def run(*command: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(cwd), **more}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def done(*command: str | Path, cwd: Path, **more: str) -> str:
    result = run(*command, cwd=cwd, **more)
    assert result.returncode == 0, (command, result.stdout[-2000:], result.stderr[-2000:])
    return result.stdout


def release(tree: Path, **more: str) -> str:
    return done("./release", cwd=tree, PYTHON=sys.executable, **more)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree as it stands, committed."""
    copy = tmp_path_factory.mktemp("release") / "tree"
    shutil.copytree(ROOT, copy, ignore=LEFT_BEHIND, symlinks=True)
    done("git", "init", "-q", cwd=copy)
    done("git", "add", "-A", cwd=copy)
    done("git", *NAMED, "commit", "-q", "-m", "all of it", cwd=copy)
    return copy


@pytest.fixture(scope="module")
def built(tree: Path) -> Path:
    """The directory that `make dist` fills, signed."""
    done("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tree.parent / "key", cwd=tree.parent)
    said = release(tree, SIGNING_KEY=str(tree.parent / "key"))
    assert "signed: SHA256SUMS.sig" in said
    return tree / "dist"


def one(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def commit_of(tree: Path) -> str:
    return done("git", "rev-parse", "HEAD", cwd=tree).strip()


def shipped(tree: Path) -> set[str]:
    """Every file of the packages and of the images, as the wheel has to name it."""
    files = {
        str(file.relative_to(tree))
        for folder in (*PACKAGES, "images")
        for file in (tree / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    return {f"{SHARED}/{name}" if name.startswith("images/") else name for name in files}


def test_the_wheel_has_every_file_of_the_packages(tree: Path, built: Path) -> None:
    wheel = zipfile.ZipFile(one(built, "*.whl"))
    inside = {
        re.sub(r"^[^/]+\.data/data/", "", name) for name in wheel.namelist() if ".dist-info/" not in name
    }
    expected = shipped(tree)
    assert {"squid/templates/squid.conf.j2", "appliance/policy/integrations/github.yaml"} < expected
    assert f"{SHARED}/images/entrypoint" in expected
    assert inside - {"appliance/cli/build_id"} == expected


def test_the_entry_point_of_images_stays_executable(built: Path) -> None:
    wheel = zipfile.ZipFile(one(built, "*.whl"))
    (entry,) = [info for info in wheel.infolist() if info.filename.endswith("/images/entrypoint")]
    assert entry.external_attr >> 16 & 0o111


def test_the_sdist_has_every_committed_file(tree: Path, built: Path) -> None:
    with tarfile.open(one(built, "*.tar.gz")) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    committed = set(done("git", "ls-files", cwd=tree).split())
    assert {"pyproject.toml", "hatch_build.py", "README.md", "LICENSE"} < committed
    assert inside - {"PKG-INFO", "appliance/cli/build_id"} == committed


def test_the_same_commit_gives_the_same_octets(tree: Path, built: Path, tmp_path: Path) -> None:
    """In another checkout, with other times and modes of files, and without a key."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", tree, clone], check=True, timeout=SECONDS, umask=0o077)
    (clone / "dist").mkdir()
    (clone / "dist" / "SHA256SUMS.sig").write_text("of an earlier build", encoding="ascii")
    assert "not signed: name a key with SIGNING_KEY" in release(clone)
    again = {file.name: file.read_bytes() for file in (clone / "dist").iterdir()}
    assert "SHA256SUMS.sig" not in again, "an old signature beside new sums"
    assert len(again) == 4
    assert again.items() < {file.name: file.read_bytes() for file in built.iterdir()}.items()


def test_the_sums_are_those_of_the_files_and_the_key_signed_them(tree: Path, built: Path) -> None:
    sums = (built / "SHA256SUMS").read_text(encoding="ascii")
    for line in sums.splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((built / name).read_bytes()).hexdigest() == digest
    assert len(sums.splitlines()) == 3
    assert (built / "appliance.lock").read_bytes() == (tree / "appliance.lock").read_bytes()
    assert "  appliance.lock\n" in sums
    public = (tree.parent / "key.pub").read_text(encoding="ascii")
    signers = tree.parent / "signers"
    signers.write_text(f"operator {public}", encoding="ascii")
    verify = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "operator", "-n", "egress-appliance",
              "-s", str(built / "SHA256SUMS.sig")]  # fmt: skip
    for text, code in ((sums, 0), (sums.replace("a", "b"), 255)):
        verified = subprocess.run(
            verify, input=text, text=True, check=False, capture_output=True, timeout=SECONDS
        )
        assert verified.returncode == code, verified.stderr


def test_a_commit_or_a_key_that_is_not_there(tree: Path, built: Path) -> None:
    before = {file.name: file.read_bytes() for file in built.iterdir()}
    missing = run("./release", cwd=tree, PYTHON=sys.executable, COMMIT="nosuch")
    assert missing.returncode == 1
    assert "release: no commit nosuch" in missing.stderr
    assert run("./release", cwd=tree, PYTHON=sys.executable, SIGNING_KEY="nosuch").returncode != 0
    assert {file.name: file.read_bytes() for file in built.iterdir()} == before


def wheel_of(folder: Path, place: Path) -> Path:
    done(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", place, cwd=folder)
    return one(place, "*.whl")


def id_in(wheel: Path) -> str:
    return zipfile.ZipFile(wheel).read("appliance/cli/build_id").decode("ascii").strip()


def test_the_wheel_says_from_which_commit_it_is(tree: Path, built: Path) -> None:
    assert id_in(one(built, "*.whl")) == commit_of(tree)


def test_a_wheel_of_a_changed_tree_says_so(tree: Path, built: Path, tmp_path: Path) -> None:
    del built  # `dist` of another test is ignored by git, and no change
    (tree / "appliance" / "more.yaml").write_text("a: 1\n", encoding="ascii")
    try:
        assert id_in(wheel_of(tree, tmp_path)) == f"{commit_of(tree)}+changes"
    finally:
        (tree / "appliance" / "more.yaml").unlink()


def test_a_wheel_from_the_sdist_is_the_same_wheel_also_in_another_checkout(
    tree: Path, built: Path, tmp_path: Path
) -> None:
    inner = tree / "dist" / "unpacked"
    with tarfile.open(one(built, "*.tar.gz")) as sdist:
        sdist.extractall(inner)  # our own
    (folder,) = inner.iterdir()
    wheel = wheel_of(folder, tmp_path)
    shutil.rmtree(inner)
    assert id_in(wheel) == commit_of(tree)
    names = set(zipfile.ZipFile(one(built, "*.whl")).namelist())
    assert set(zipfile.ZipFile(wheel).namelist()) == names


def test_without_a_commit_of_its_own_a_wheel_is_of_unknown_build(tree: Path, tmp_path: Path) -> None:
    """In somebody else's repository, which git would find above it."""
    other = tmp_path / "other"
    shutil.copytree(tree, other / "egress", ignore=LEFT_BEHIND)
    done("git", "init", "-q", cwd=other)
    done("git", *NAMED, "commit", "-q", "--allow-empty", "-m", "another's", cwd=other)
    assert id_in(wheel_of(other / "egress", tmp_path / "w")) == "unknown"


def test_a_checkout_has_no_build_id() -> None:
    assert not BUILD_ID.exists()


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`egress` of the wheel in an environment of its own; what it depends on is lent by ours."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    done(sys.executable, "-m", "venv", "--without-pip", home, cwd=home.parent)
    wheel = one(built, "*.whl")
    install = ("-m", "pip", "--disable-pip-version-check", "--python", home / "bin" / "python", "install")
    done(sys.executable, *install, "-q", "--no-deps", "--no-index", wheel, cwd=home.parent)
    packages = one(home / "lib", "python3*") / "site-packages"
    (packages / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return home


def settings_of(folder: Path) -> Path:
    document = {
        "instance": "egressunit",
        **{f"{name}_dir": str(folder / name) for name in ("config", "state", "run", "log")},
        "docker": {"socket": str(folder / "docker.sock"), "daemon_json": str(folder / "daemon.json")},
    }
    file = folder / "egress.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


def test_the_installed_command_starts_outside_the_tree(tree: Path, installed: Path, tmp_path: Path) -> None:
    egress = installed / "bin" / "egress"
    assert "Egress appliance:" in done(egress, "--help", cwd=tmp_path)
    where = done(
        installed / "bin" / "python", "-c", "import squid.render as m; print(m.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(installed)
    facts = json.loads(done(egress, "version", "--json", cwd=tmp_path))
    assert facts == {
        "version": tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"],
        "build": commit_of(tree),
        "python": sys.version.split()[0],
    }


def test_the_installed_command_finds_its_data(installed: Path, tmp_path: Path) -> None:
    egress = installed / "bin" / "egress"
    listed = done(egress, "--settings", settings_of(tmp_path), "integration", "list", cwd=tmp_path)
    assert "github" in listed
    assert (installed / SHARED / "images" / "build.py").is_file()


def test_the_installed_doctor_says_what_the_host_lacks(installed: Path, tmp_path: Path) -> None:
    egress = installed / "bin" / "egress"
    result = run(egress, "--settings", settings_of(tmp_path), "doctor", cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    if os.geteuid() != 0:
        assert "needs root" in result.stderr
        return
    assert "FAIL  Docker: no answer" in result.stdout
    assert "mend: no Docker engine answers" in result.stdout


def test_what_is_imported_is_declared() -> None:
    """Beside the standard library and ourselves; the environment of the tests has more than is declared."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[>=\[]", line)[0].lower() for line in project["dependencies"]}
    providers = importlib.metadata.packages_distributions()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for top in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {*PACKAGES}:
                    distributions = {name.lower().replace("_", "-") for name in providers.get(top, ())}
                    assert distributions & declared, f"{file.relative_to(ROOT)} imports {top}"
