"""What goes into each runner image, as data; its digest identifies the result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from appliance.workload import WORKLOAD_ID

RUNNER_UID = WORKLOAD_ID
DIGEST_LABEL = "egress.image.inputs"
ENTRYPOINT = "/usr/local/bin/egress-entrypoint"

# Weight that no job reads. python3-pip would refuse `pip install` because of EXTERNALLY-MANAGED (PEP 668); in
# a throw-away container with a read-only root it protects nothing, and installs go to $HOME anyway.
EXCLUDED_PATHS = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
    "/usr/include/*",
    "/usr/lib/*/*.a",
    "/usr/lib/python3*/EXTERNALLY-MANAGED",
)

_COMMON_PACKAGES = ("ca-certificates", "curl", "git")
_COMMON_ENVIRONMENT = (("LANG", "C.UTF-8"), ("HOME", "/home/runner"))


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image: a tag, the Debian packages it is asked for, and its environment."""

    tag: str
    packages: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    command: tuple[str, ...]

    def digest(self, suite: str, *further: bytes) -> str:
        """Hex SHA-256 of everything that decides the content, except the archive's own state."""
        description = json.dumps([asdict(self), suite, EXCLUDED_PATHS, RUNNER_UID], sort_keys=True).encode()
        return hashlib.sha256(b"\0".join([description, *further])).hexdigest()

    def changes(self, digest: str) -> list[str]:
        """The Dockerfile instructions that `docker import` applies."""
        return [
            *(f"ENV {name}={value}" for name, value in self.environment),
            f"USER {RUNNER_UID}:{RUNNER_UID}",
            "WORKDIR /workspace",
            f"ENTRYPOINT {json.dumps([ENTRYPOINT])}",
            f"CMD {json.dumps(list(self.command))}",
            f"LABEL {DIGEST_LABEL}={digest}",
        ]


RUNNER_PYTHON = Recipe(
    "egress/runner-python:latest",
    (*_COMMON_PACKAGES, "python3", "python3-pip", "python3-venv"),
    (
        *_COMMON_ENVIRONMENT,
        ("PYTHONUNBUFFERED", "1"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("PIP_NO_CACHE_DIR", "1"),
    ),
    ("python3",),
)
RUNNER_NODE = Recipe(
    "egress/runner-node:latest",
    (*_COMMON_PACKAGES, "nodejs", "npm"),
    # npm's own calls home are POSTs that the read-only profile refuses: do not even try.
    (
        *_COMMON_ENVIRONMENT,
        ("npm_config_audit", "false"),
        ("npm_config_fund", "false"),
        ("npm_config_update_notifier", "false"),
    ),
    ("node",),
)
RECIPES = {"runner-python": RUNNER_PYTHON, "runner-node": RUNNER_NODE}
