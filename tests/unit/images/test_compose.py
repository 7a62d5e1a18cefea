"""The example for Compose asks for what admission demands, in a way that both generations of Compose pass on."""

from __future__ import annotations

from pathlib import Path

from appliance import yamldoc
from appliance.workload import WORKLOAD_ID

FILE = Path(__file__).parents[3] / "images" / "compose.yaml"


def test_the_job_is_hardened() -> None:
    (job,) = yamldoc.load(FILE).data["services"].values()
    assert job["user"] == f"{WORKLOAD_ID}:{WORKLOAD_ID}"
    assert job["cap_drop"] == ["ALL"]
    assert job["security_opt"] == ["no-new-privileges"]
    assert job["read_only"] is True
    assert job["pids_limit"] > 0
    assert job["mem_limit"]
    assert job["logging"]["driver"] == "local"


def test_no_second_call_connects_it() -> None:
    """docker-compose 1 takes a container off each of `networks` and connects it again, which is refused."""
    document = yamldoc.load(FILE).data
    (job,) = document["services"].values()
    assert job["network_mode"] == "acme"
    assert "networks" not in job
    assert "networks" not in document
