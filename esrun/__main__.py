"""`python -m esrun` is the same as `esrun`."""

import contextlib
import os
import sys

if __name__ == "__main__":
    # -m puts the working directory before everything that is installed: a module or a plug-in that
    # happens to lie there is not meant, and may be anybody's
    with contextlib.suppress(FileNotFoundError):  # it may be gone
        if sys.path[:1] == [os.getcwd()] and not sys.flags.safe_path:
            del sys.path[0]
    from esrun.cli import command

    raise SystemExit(command())
