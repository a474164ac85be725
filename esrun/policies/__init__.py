"""Policies: one haiku architecture a file."""
