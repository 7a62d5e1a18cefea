"""Nothing is written into the checkout: after a run as root, a run as anybody else could not write there."""

from __future__ import annotations

from pathlib import Path

from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(Path("~/.cache/egress-appliance/hypothesis").expanduser())
