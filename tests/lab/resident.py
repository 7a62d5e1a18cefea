"""The first process of a container that stays: runs what it is told, one command after the other.

Sent into a container as text (`python3 -c`). A line of JSON in, seconds and the words of a command; a line out, its
status (null: it was stopped for taking too long) and all that it wrote. One line more, at the start: ready.
"""

import json
import subprocess
import sys


def run(seconds: float, *command: str) -> tuple[int | None, str]:
    """As `docker run` would end: 127 for what is not there."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as expired:
        return None, (expired.stdout or b"").decode(errors="replace") if expired.stdout else ""
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout


print(json.dumps((0, "ready")), flush=True)
for line in sys.stdin:
    print(json.dumps(run(*json.loads(line))), flush=True)
