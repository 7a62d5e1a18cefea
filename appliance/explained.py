"""Errors whose text is for the person at the terminal: it says what is wrong and what to do."""

from __future__ import annotations


class Explained(Exception):
    """Raised as one of its kinds, for example `DockerUnavailable`; `str()` is what is printed."""
