"""What the lab's package servers serve: a wheel, an npm package and a git repository, made here, no registry."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

from tests.lab import internet

CONTENT = internet.STATE / "content"
NAME, VERSION = "egress-greeting", "1.0.0"
GREETING = "hello from the lab"
BIG_BYTES = 8 << 20


def _wheel() -> bytes:
    """A pure wheel (packaging.python.org, binary distribution format)."""
    info = f"egress_greeting-{VERSION}.dist-info"
    files = {
        "egress_greeting.py": f'def greet():\n    return "{GREETING}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def _write_pypi(root: Path) -> None:
    wheel = _wheel()
    name = f"egress_greeting-{VERSION}-py3-none-any.whl"
    digest = hashlib.sha256(wheel).hexdigest()
    (root / "packages").mkdir(parents=True)
    (root / "packages" / name).write_bytes(wheel)
    (root / "simple" / NAME).mkdir(parents=True)
    (root / "simple" / NAME / "index.html").write_text(
        f'<!DOCTYPE html><html><body><a href="/packages/{name}#sha256={digest}">{name}</a></body></html>\n'
    )


def _write_npm(root: Path) -> None:
    package = {"name": NAME, "version": VERSION, "main": "index.js"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in (
            ("package/package.json", json.dumps(package)),
            ("package/index.js", f'module.exports = () => "{GREETING}";\n'),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    tarball = f"{NAME}-{VERSION}.tgz"
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(out.getvalue()).digest()).decode()
    dist = {"tarball": f"https://{internet.NPM.name}/{NAME}/-/{tarball}", "integrity": integrity}
    packument = {
        "name": NAME,
        "dist-tags": {"latest": VERSION},
        "versions": {VERSION: {**package, "dist": dist}},
    }
    (root / NAME / "-").mkdir(parents=True)
    (root / NAME / "-" / tarball).write_bytes(out.getvalue())
    (root / NAME / "packument.json").write_text(json.dumps(packument))


def _git(*arguments: str, cwd: Path) -> None:
    person = {
        f"GIT_{role}_{what}": f"lab@{internet.GIT.name}"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1", **person}
    subprocess.run(("git", *arguments), cwd=cwd, env=environment, check=True, capture_output=True, timeout=30)


def _write_git(root: Path) -> None:
    work = root / "work"
    work.mkdir(parents=True)
    _git("init", "-q", "-b", "main", cwd=work)
    (work / "README").write_text(f"{GREETING}\n")
    _git("add", "README", cwd=work)
    _git("commit", "-q", "-m", "Greeting", cwd=work)
    _git("clone", "-q", "--bare", str(work), str(root / "greeting.git"), cwd=root)
    # Pushing works for who reaches it: the gateway's refusal is then the only thing in the way.
    _git("config", "http.receivepack", "true", cwd=root / "greeting.git")


def write_all() -> None:
    """Content of every site below `CONTENT/<site name>`."""
    for site in internet.SITES:
        (CONTENT / site.name).mkdir(parents=True)
        (CONTENT / site.name / "index.html").write_text(f"{GREETING}: {site.name}\n")
    (CONTENT / internet.WWW.name / "big.bin").write_bytes(os.urandom(1 << 20) * (BIG_BYTES >> 20))
    _write_pypi(CONTENT / internet.PYPI.name)
    _write_npm(CONTENT / internet.NPM.name)
    _write_git(CONTENT / internet.GIT.name)
