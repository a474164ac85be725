"""`python -m esrun` is the same as `esrun`."""

from esrun.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
