"""`esrun list [KIND]`: what can be chosen, a line each."""

from importlib.metadata import EntryPoint
from pathlib import Path

from esrun.config import CONF_DIR, registry
from esrun.errors import ConfigError

KINDS = {
    "tasks": "task",
    "strategies": "strategy",
    "policies": "policy",
    "loggers": "logger",
    "experiments": "experiment",
}


def list_options(words: list[str]) -> int:
    """Print the options -> the exit code. Plug-ins are named and not imported."""
    if len(words) > 1 or any(kind not in KINDS for kind in words):
        raise ConfigError(f"list takes one of {', '.join(KINDS)}, got {' '.join(words)}")
    for kind in words or KINDS:
        group = KINDS[kind]
        if not words:
            print(f"{kind} ({group}={'[...]' if group == 'logger' else '...'})")
        for file in sorted((CONF_DIR / group).glob("*.yaml")):
            print(f"  {file.stem:24}{_summary(file)}")
        for point in registry.plugins(group) if group in registry.PLURAL else ():
            print(f"  {point.name:24}{_origin(point)}")
    return 0


def _summary(file: Path) -> str:
    """The first sentence of an option's header comment."""
    for line in file.read_text().splitlines():
        if line.startswith("# ") and "@package" not in line:
            return line[1:].strip()
    return ""


def _origin(point: EntryPoint) -> str:
    """Where a plug-in comes from; its yaml is the user's."""
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "an installed package"
    return f"From {package}; its yaml is found by --config-dir."
