"""The one way in which the driver says no."""

from __future__ import annotations


class DriverRefused(Exception):
    """Docker's request cannot be granted. `str()` is one line for the person at `docker`, with the mend."""
