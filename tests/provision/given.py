"""What an operator sets for the hosts of this run."""

from __future__ import annotations

from typing import Any

from tests.provision.builds import Build
from tests.provision.cache import RUNNER

TENANT = "acme"
CREDENTIAL = "/run/credentials/egress-broker.service/vault-passphrase"


def variables(build: Build) -> dict[str, Any]:
    """A tenant, a vault with a passphrase, a release by its checksums, packages from the host's own stores."""
    return {
        # What is not of the network is the machine's, below all targets: it is mounted read-only in them.
        "host_baseline_kernel_settings_enabled": False,
        "appliance_wheel": str(build.wheel),
        "appliance_checksums": str(build.sums),
        "appliance_lock": str(build.lock),
        "appliance_wheelhouse": "/srv/wheels",
        "appliance_wheelhouse_on_host": True,
        "appliance_settings": {"vault": {"unlock": "passphrase_file", "passphrase_file": CREDENTIAL}},
        "broker_vault_passphrase": "not a secret of anybody, of the tests alone",
        "broker_remove_host_key": True,
        "tenants_list": [{"name": TENANT}],
        "tenants_images": [
            {"name": f"{RUNNER}:latest", "archive": "/srv/images/runner-python.tar", "on_host": True}
        ],
    }
