"""`esrun list [KIND]`: what can be chosen, a line each."""

from pathlib import Path

from esrun.config import CONF_DIR
from esrun.errors import ConfigError

KINDS = {
    "tasks": "task",
    "strategies": "strategy",
    "policies": "policy",
    "experiments": "experiment",
}


def list_options(words: list[str]) -> int:
    """Print the options -> the exit code."""
    if len(words) > 1 or any(kind not in KINDS for kind in words):
        raise ConfigError(f"list takes one of {', '.join(KINDS)}, got {' '.join(words)}")
    for kind in words or KINDS:
        if not words:
            print(f"{kind} ({KINDS[kind]}=...)")
        for file in sorted((CONF_DIR / KINDS[kind]).glob("*.yaml")):
            print(f"  {file.stem:24}{_summary(file)}")
    return 0


def _summary(file: Path) -> str:
    """The first sentence of an option's header comment."""
    for line in file.read_text().splitlines():
        if line.startswith("# ") and "@package" not in line:
            return line[1:].strip()
    return ""
