"""Training: the loop, compiled and not."""
