"""Egress appliance: the one thing a container that runs untrusted code can reach."""
