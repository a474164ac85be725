"""`esrun report`: finished sweeps as one page. A section of it is a file here; JAX is not
imported."""
