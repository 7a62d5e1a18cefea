"""The gateway namespace: plan, rules, Docker network driver; the only privileged part."""
