"""An integration definition as people write it: which requests of a provider carry a secret, and where."""

from __future__ import annotations

from appliance.policy.slot import STYLES, SecretKind, Slot, Style

__all__ = ["STYLES", "SecretKind", "Slot", "Style"]
