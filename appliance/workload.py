"""What a tenant's container is called and runs as: agreed between command line, policy, driver and images."""

from __future__ import annotations

import re

TENANT_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?")
TENANT_NAME_MEND = "use up to 32 of a-z, 0-9 and '-', a letter first and no '-' last"
PLATFORM = "@platform"
"""In a tenant's place where the broker asks for itself; no tenant can be called so."""
WORKLOAD_ID = 1000  # uid and gid of the runner images, and owner of each tenant's workspace
RUN_LABEL = "egress.run"  # container label with the id of one `egress run`
