"""Parts that strategies share: noise, shaping, sizes, termination."""
