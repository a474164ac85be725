"""Loggers: trackers beside the run folder's own files, one a file."""
