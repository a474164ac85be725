"""Backend: what we do to JAX and to the machine. Nothing else knows platforms, device counts or
pmap."""
