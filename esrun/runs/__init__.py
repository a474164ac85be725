"""Runs: one run, and what it leaves on the disk."""
