"""The stricter proxy that answers while the gateway is away."""
