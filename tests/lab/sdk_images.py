"""Images of workloads that use providers' official SDKs: a runner image and what `sdk/` pins, nothing else.

The packages are installed on the host, once, into a tree that is kept and becomes `/opt/sdk` of the image; an
image made from the same pins on the same base is kept.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.lab.debian import CACHE
from tests.lab.namespaces import LabError, run
from tests.lab.turn import turn

PINS = Path(__file__).with_name("sdk")
PLACE = "/opt/sdk"
LABEL = "egress.lab.sdk"  # its value: what the image was made from
INSTALL_SECONDS = 400.0


def _python(tree: Path) -> None:
    # Compiled here, once: a container can keep nothing there, and 7 s of each `import anthropic` were that.
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--compile",
        "--target", str(tree), "--requirement", str(PINS / "requirements.txt"), timeout=INSTALL_SECONDS,
    )  # fmt: skip


def _node(tree: Path) -> None:
    if shutil.which("npm") is None:
        raise LabError("npm is not installed; mend: apt-get install npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PINS / name, tree)
    run("npm", "ci", "--silent", "--ignore-scripts", "--prefix", str(tree), timeout=INSTALL_SECONDS)


@dataclass(frozen=True, slots=True)
class SdkImage:
    """An image, the runner that it stands on, the pins that it has, and where its interpreter looks for them."""

    tag: str
    base: str
    pins: tuple[str, ...]
    environment: str
    install: Callable[[Path], None]

    def tree(self) -> Path:
        """Its packages, installed where they are not yet; Docker is not asked. Raises `LabError`."""
        parts = [sys.version, *((PINS / name).read_text() for name in self.pins)]
        made_by = Path(__file__).read_bytes()
        digest = hashlib.sha256("\0".join(parts).encode() + made_by).hexdigest()
        kept = CACHE / self.tag / digest[:16]
        with turn(self.tag):
            if not kept.exists():
                for draft in kept.parent.glob("new-*"):  # of whoever was ended; other trees may be in use
                    shutil.rmtree(draft, ignore_errors=True)
                draft = kept.with_name(f"new-{os.getpid()}")
                draft.mkdir(parents=True)
                draft.chmod(0o755)
                self.install(draft)
                draft.rename(kept)
        return kept

    def digest(self, tree: Path) -> str:
        """Of all that decides its content, and of who makes it, this file."""
        base = run("docker", "image", "inspect", "-f", "{{.Id}}", self.base).strip()
        return hashlib.sha256(f"{base}\0{self.environment}\0{tree.name}".encode()).hexdigest()

    def build(self) -> None:
        """Unless it is there. Raises `LabError`."""
        tree = self.tree()
        digest = self.digest(tree)
        form = f'{{{{index .Config.Labels "{LABEL}"}}}}'
        previous = run("docker", "image", "ls", "-q", "--no-trunc", self.tag).strip()
        if previous and run("docker", "image", "inspect", "-f", form, previous).strip() == digest:
            return
        self._commit(tree, digest)
        if previous:
            run("docker", "image", "rm", previous, check=False)

    def _commit(self, tree: Path, digest: str) -> None:
        # Without the lab's label: it never runs, and another process's lab would clear it away.
        container = run("docker", "create", "--network", "none", self.base).strip()
        try:
            run("docker", "cp", f"{tree}/.", f"{container}:{PLACE}", timeout=INSTALL_SECONDS)
            changes = (f"ENV {self.environment}", f"LABEL {LABEL}={digest}")
            options = [word for change in changes for word in ("--change", change)]
            run("docker", "commit", *options, container, self.tag, timeout=INSTALL_SECONDS)
        finally:
            run("docker", "rm", "-f", container, check=False)


PYTHON = SdkImage(
    "egress-lab/sdk", "egress/runner-python", ("requirements.txt",), f"PYTHONPATH={PLACE}", _python
)
NODE = SdkImage(
    "egress-lab/sdk-node", "egress/runner-node", ("package.json", "package-lock.json"),
    f"NODE_PATH={PLACE}/node_modules", _node,
)  # fmt: skip


def build_sdk_images() -> None:
    """Both, at the same time. Raises `LabError`."""
    with turn("sdk-images"), ThreadPoolExecutor(max_workers=2) as pool:
        for built in [pool.submit(image.build) for image in (PYTHON, NODE)]:
            built.result()
