"""Results: what finished runs left, read and measured."""
