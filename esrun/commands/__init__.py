"""Commands: a verb a file. Words in, exit code out."""
