"""`python -m tests.escape …` is `egress verify …`, from the source tree that this file is in."""

from __future__ import annotations

import sys

from appliance.cli.main import cli

if __name__ == "__main__":
    cli(["verify", *sys.argv[1:]], prog_name="egress")
