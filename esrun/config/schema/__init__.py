"""The schema: what a configuration may say, checked before JAX is imported."""
