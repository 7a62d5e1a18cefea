"""`python -m tests.lab up|down|check`: keep a lab up while working on it."""

from __future__ import annotations

import sys

from tests.lab.lab import Lab, clear, exclusive
from tests.lab.namespaces import existing


def main() -> int:
    """Command line; 64 (EX_USAGE) for an unknown verb."""
    verb = sys.argv[1] if len(sys.argv) == 2 else ""
    if verb == "up":
        lab = Lab(wait_seconds=5)
        lab.up()
        print(f"up: {', '.join(existing())}; authority {lab.authority}")
    elif verb == "down":
        with exclusive(wait_seconds=2):
            clear()
    elif verb == "check":
        Lab().assert_closed()
        print("closed")
    else:
        print(__doc__, file=sys.stderr)
        return 64
    return 0


if __name__ == "__main__":
    sys.exit(main())
