"""One lab and one appliance for all tests of this level: they take a while to come up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.verify.case import Image
from tests.lab import policies
from tests.lab.appliance import Appliance
from tests.lab.containers import IMAGES, build_images, build_static_client
from tests.lab.lab import Lab


@pytest.fixture(scope="session")
def closed_lab() -> Iterator[Lab]:
    """The closed Internet with its canaries, and the images that workloads run."""
    build_images(lambda _line: None)
    with Lab() as lab:
        build_static_client(IMAGES[Image.STATIC], IMAGES[Image.PYTHON])
        yield lab


@pytest.fixture(scope="session")
def appliance(closed_lab: Lab) -> Iterator[Appliance]:
    """A running appliance with the demo's tenants, its uplink in the lab."""
    with Appliance(closed_lab, policies.POLICIES) as appliance:
        yield appliance


@pytest.fixture
def lab(closed_lab: Lab, appliance: Appliance) -> Lab:
    """The lab, with the appliance in it."""
    return closed_lab
