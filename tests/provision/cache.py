"""What targets are made of, made once and kept outside of the checkout: packages, wheels, images."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from tests.lab import debian
from tests.lab.certificates import Authority
from tests.lab.internet import Site
from tests.provision.commands import ROOT, Failed, run
from tests.provision.releases import BASE, Release

CACHE = Path(os.environ.get("EGRESS_PROVISION_CACHE", "/var/cache/egress-provision"))
RUNNER = "egress/runner-python"
DIGEST_LABEL = "egress.provision.inputs"
PKI_DAYS = 20
"""Certificates of the origin last 30."""
PLATFORMS = (*(f"manylinux_2_{minor}_x86_64" for minor in range(34, 4, -1)), "manylinux2014_x86_64")


def packages(release: Release) -> Path:
    """An apt repository of what can be installed on a target."""
    return CACHE / release.name / "packages"


def wheels(release: Release) -> Path:
    """All wheels of requirements.lock for the release's Python."""
    return CACHE / release.name / "wheels"


def images() -> Path:
    """Archives for `docker load`."""
    return CACHE / "images"


def pki() -> Path:
    """The origin's certificate and its authority's."""
    return CACHE / "pki"


def prepare(release: Release) -> None:
    """Make what is missing or out of date. Raises `Failed`."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _certificates()
        _debian(release)
        _wheels(release)
        _runner()


def _debian(release: Release) -> None:
    """The image of a target, and the packages that its release has."""
    described = json.dumps([release.suite, BASE, release.installable, "2"])
    digest = hashlib.sha256(described.encode()).hexdigest()
    label = f'{{{{index .Config.Labels "{DIGEST_LABEL}"}}}}'
    built = run("docker", "image", "inspect", "--format", label, release.image, check=False)
    if built.out.strip() == digest and (packages(release) / "Packages").exists():
        return
    print(f"==> a {release.suite} host's image and packages", flush=True)
    folder = packages(release)
    run("rm", "-rf", str(folder))
    folder.mkdir(parents=True)
    tree = folder.parent / "tree.tar"
    fetch = (
        'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes --download-only -o APT::Install-Recommends=true '
        f"-o Dir::Cache::archives={folder}/ install {' '.join(release.installable)}"
    )
    source = 'echo "deb [trusted=yes] file:/srv/packages ./" >"$1/etc/apt/sources.list"'
    own = 'rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/apt/sources.list.d/"*; : >"$1/etc/machine-id"'
    run(
        "mmdebstrap", "--quiet", "--variant=minbase", '--aptopt=Acquire::Retries "3"',
        '--aptopt=Acquire::Check-Valid-Until "false"', "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
        f"--include={','.join(BASE)}", f"--customize-hook={fetch}", f"--customize-hook={own}",
        f"--customize-hook={source}", release.suite, str(tree), debian.mirror(),
        within=900,
    )  # fmt: skip
    run(
        "docker", "import", "--change", f"LABEL {DIGEST_LABEL}={digest}", "--change", "ENV container=docker",
        "--change", 'CMD ["/usr/lib/provision/first"]',
        str(tree), release.image, within=300,
    )  # fmt: skip
    tree.unlink()
    _index(folder)


def _index(folder: Path) -> None:
    """A flat repository's index (deb(5) control fields and where the file is)."""
    entries = []
    for file in sorted(folder.glob("*.deb")):
        content = file.read_bytes()
        control = run("dpkg-deb", "--field", str(file)).out.rstrip("\n")
        digest = hashlib.sha256(content).hexdigest()
        entries.append(f"{control}\nFilename: ./{file.name}\nSize: {len(content)}\nSHA256: {digest}\n")
    if not entries:
        raise Failed(f"{folder}: apt-get fetched no package; look what `apt-get update` says on this machine")
    (folder / "Packages").write_text("\n".join(entries), encoding="utf-8")


def _wheels(release: Release) -> None:
    """Of runtime and development alike: the lock is one."""
    lock = ROOT / "requirements.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    folder = wheels(release)
    holds = folder.parent / "wheels.digest"
    if holds.exists() and holds.read_text(encoding="ascii") == digest:
        return
    print(f"==> wheels for Python {release.python}", flush=True)
    run("rm", "-rf", str(folder))
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    run(
        sys.executable, "-m", "pip", "download", "--quiet", "--retries", "10", "--no-deps", "--require-hashes",
        "--only-binary=:all:", "--python-version", release.python, *platforms,
        "--dest", str(folder), "--requirement", str(lock), within=900,
    )  # fmt: skip
    holds.write_text(digest, encoding="ascii")


def _runner() -> None:
    """The runner image as an archive; where this machine has none it is built first."""
    inspected = run("docker", "image", "inspect", "--format", "{{.Id}}", RUNNER, check=False)
    if inspected.status != 0:
        run(sys.executable, str(ROOT / "images/build.py"), "runner-python", within=900)
        inspected = run("docker", "image", "inspect", "--format", "{{.Id}}", RUNNER)
    archive, holds = images() / "runner-python.tar", images() / "runner-python.id"
    if archive.exists() and holds.exists() and holds.read_text(encoding="ascii") == inspected.out:
        return
    images().mkdir(exist_ok=True)
    run("docker", "save", "--output", str(archive), f"{RUNNER}:latest", within=300)
    holds.write_text(inspected.out, encoding="ascii")


def _certificates() -> None:
    """An authority whose key is kept nowhere, and one site's certificate."""
    folder = pki()
    certificate = folder / "site.pem"
    if certificate.exists() and time.time() - certificate.stat().st_mtime < PKI_DAYS * 86400:
        return
    folder.mkdir(exist_ok=True)
    authority = Authority(datetime.now(UTC))
    issued, key = authority.issue(Site("www.example.com", "93.184.215.10"))
    (folder / "authority.crt").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    (folder / "site.key").write_bytes(key)
    certificate.write_bytes(issued)


def docker_is_here() -> None:
    """Raise `Failed` where the machine's own engine does not answer."""
    try:
        subprocess.run(["docker", "version"], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(f"Docker does not answer ({error}); run: make setup") from error
