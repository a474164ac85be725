"""The command: the first word decides which verb. JAX is imported by the verbs that need it, not
here."""

import gc
import sys
from pathlib import Path

VERBS = ("train", "resume", "eval", "render", "plot", "report", "list", "explain", "doctor")
LATER = ("eval", "render", "plot", "report", "doctor")


def main(arguments: list[str] | None = None) -> int:
    """Run one command -> its exit code: 0 done, 1 failed, 2 wrong usage, 75 interrupted with the
    state saved."""
    gc.disable()  # imports and traces make many objects and drop few; training turns it on again
    try:
        return _run_verb(sys.argv[1:] if arguments is None else arguments)
    finally:
        gc.enable()
        gc.freeze()  # the process ends: Python would search all that lives for garbage once more, for half a second


def _run_verb(arguments: list[str]) -> int:
    verb, rest = (
        (arguments[0], arguments[1:])
        if arguments and arguments[0] in VERBS
        else ("train", arguments)
    )
    if verb in LATER:
        print(f"esrun: `esrun {verb}` is not there yet in this version", file=sys.stderr)
        return 2
    if rest == ["--version"]:
        from esrun import __version__

        print(f"esrun {__version__}")
        return 0
    if verb == "list":
        return list_options(rest)
    if verb == "explain":
        from esrun.commands.explain import explain

        return explain(rest)
    if verb == "resume":
        from esrun.commands.resume import resume

        return resume(rest)
    if (
        rest
        and not rest[0].startswith("-")
        and "=" not in rest[0]
        and not rest[0].startswith(("~", "+"))
    ):
        from difflib import get_close_matches

        near = get_close_matches(rest[0], VERBS, n=1)
        hint = f" (did you mean `esrun {near[0]}`?)" if near else ""
        print(
            f"esrun: {rest[0]} is neither a verb nor KEY=VALUE{hint}: see `esrun --help`",
            file=sys.stderr,
        )
        return 2
    from esrun.commands.train import train

    return train(rest)


def list_options(arguments: list[str]) -> int:
    """Print what can be chosen, a line each."""
    from esrun.config.compose import CONF_DIR

    kinds = {
        "tasks": "task",
        "strategies": "strategy",
        "policies": "policy",
        "experiments": "experiment",
    }
    if len(arguments) > 1 or any(kind not in kinds for kind in arguments):
        print(
            f"esrun: list takes one of {', '.join(kinds)}, got {' '.join(arguments)}",
            file=sys.stderr,
        )
        return 2
    for kind in arguments or kinds:
        if not arguments:
            print(f"{kind} ({kinds[kind]}=...)")
        for file in sorted((CONF_DIR / kinds[kind]).glob("*.yaml")):
            print(f"  {file.stem:24}{_summary(file)}")
    return 0


def _summary(file: Path) -> str:
    """The first sentence of an option's header comment."""
    lines = [
        line[1:].strip()
        for line in file.read_text().splitlines()
        if line.startswith("# ") and "@package" not in line
    ]
    return lines[0] if lines else ""
