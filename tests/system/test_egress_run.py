"""`egress run` as an operator uses it."""

from __future__ import annotations

import pytest

from tests.lab.appliance import egress
from tests.lab.lab import Lab

pytestmark = pytest.mark.system


def test_a_job_ends_with_its_own_code_and_a_summary_of_what_was_refused(lab: Lab) -> None:
    job = "curl -sS -X POST -d x=1 -o /dev/null https://www.example.com/echo; exit 7"
    done = egress("run", "--tenant", "lab-acme", "--", "sh", "-c", job, check=False)
    assert done.returncode == 7
    assert "path-not-allowed" in done.stdout + done.stderr
