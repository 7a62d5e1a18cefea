"""Hardened containers on a tenant's network, as the admission plugin demands them."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.verify.case import Image, Output
from tests.lab import internet
from tests.lab.namespaces import LabError, run
from tests.lab.turn import turn

SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]
CLIENT_LABEL = "egress.lab.client"  # its value: what the static client was made from
_numbers = itertools.count()

HARDENED = (
    "--user", "1000:1000", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only",
    "--pids-limit", "256", "--memory", "512m", "--tmpfs", "/tmp", "--label", internet.CONTAINER_LABEL,
)  # fmt: skip


IMAGES = {
    Image.PYTHON: "egress/runner-python",
    Image.NODE: "egress/runner-node",
    Image.STATIC: "egress-lab/static-client",
}

Workload = Callable[
    [str, str, Sequence[str]], Output
]  # tenant (its network has the same name), image, command


def run_hardened(
    network: str, image: str, command: Sequence[str], *options: str, seconds: float = SECONDS
) -> Output:
    """Run `command` to its end in a hardened container, which is removed in every case."""
    name = f"{internet.PREFIX}{os.getpid()}-{next(_numbers)}"
    argv = (
        "docker",
        "run",
        "--rm",
        "--name",
        name,
        "--network",
        network,
        *HARDENED,
        *options,
        image,
        *command,
    )
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as expired:
        run("docker", "rm", "-f", name, check=False)
        partial = expired.stdout.decode(errors="replace") if isinstance(expired.stdout, bytes) else ""
        return Output(None, f"{partial}\n(stopped after {seconds:.0f} s)")
    return Output(done.returncode, done.stdout)


def start_hardened(network: str, image: str, command: Sequence[str], *options: str) -> str:
    """Start a hardened container in the background; returns its id."""
    argv = ("docker", "run", "-d", "--network", network, *HARDENED, *options, image, *command)
    return run(*argv, timeout=SECONDS).strip().splitlines()[-1]


def address_of(container: str) -> str:
    """Its IPv4 address on the one network that it has."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return run("docker", "inspect", "-f", form, container).strip()


def logs_of(container: str) -> str:
    """All that it wrote to standard output so far."""
    return run("docker", "logs", container, check=False)


def inside_container(container: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run the host's program `argv` in the container's network namespace."""
    pid = run("docker", "inspect", "-f", "{{.State.Pid}}", container).strip()
    command = ("nsenter", f"--target={pid}", "--net", *argv)
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def build_static_client(tag: str, base: str) -> None:
    """The C client, linked against nothing that could read a proxy variable, on top of a runner image.

    An image made from the same source on the same base is kept; one that is replaced is removed.
    """
    source = Path(__file__).with_name("client.c")
    base_id = run("docker", "image", "inspect", "-f", "{{.Id}}", base).strip()
    digest = hashlib.sha256(source.read_bytes() + base_id.encode()).hexdigest()
    previous = run("docker", "image", "ls", "-q", "--no-trunc", tag).strip()
    form = f'{{{{index .Config.Labels "{CLIENT_LABEL}"}}}}'
    if not previous or run("docker", "image", "inspect", "-f", form, previous).strip() != digest:
        _build_static_client(source, tag, base, digest)
    for image in replaced_images():
        run("docker", "image", "rm", image, check=False)


def _build_static_client(source: Path, tag: str, base: str, digest: str) -> None:
    with tempfile.TemporaryDirectory(prefix="egress-client-") as scratch:
        binary = Path(scratch) / "static-client"
        libraries = ("-lssl", "-lcrypto", "-lresolv")
        run("gcc", "-O2", "-static", "-o", str(binary), str(source), *libraries, timeout=120)
        container = run(
            "docker", "create", "--network", "none", "--label", internet.CONTAINER_LABEL, base
        ).strip()
        try:
            run("docker", "cp", str(binary), f"{container}:/usr/local/bin/static-client")
            run("docker", "commit", "--change", f"LABEL {CLIENT_LABEL}={digest}", container, tag, timeout=120)
        finally:
            run("docker", "rm", "-f", container, check=False)


def replaced_images() -> list[str]:
    """Ids of static clients that a newer one took the name from; there must be none."""
    return run(
        "docker", "image", "ls", "-q", "--filter", "dangling=true", "--filter", f"label={CLIENT_LABEL}"
    ).split()


def build_images(say: Callable[[str], None]) -> None:
    """Bring the runner images up to date, passing on what the builder says. Raises `LabError`."""
    command = (sys.executable, str(ROOT / "images" / "build.py"))
    with (
        turn("runner-images"),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as builder,
    ):
        assert builder.stdout is not None
        said = []
        for line in builder.stdout:
            said.append(line)
            say(line.rstrip())
    if builder.returncode != 0:
        raise LabError("".join(said[-20:]))
