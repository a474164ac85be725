"""Configuration: what may be said, and checking it. JAX is not imported here."""
