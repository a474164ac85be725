"""`esrun list [KIND]`: what can be chosen, a sentence each."""

import re
import shutil
import textwrap
from pathlib import Path

from esrun.commands.flags import parsers
from esrun.commands.words import KINDS
from esrun.config import CONF_DIR, plugins
from esrun.config.plugins import PLURAL
from esrun.errors import ConfigError, nearest

NAMES = 26
"""Columns for the names."""


def list_options(words: list[str]) -> int:
    """Print the options -> the exit code. Plug-ins are named and not imported."""
    flags = parsers()["list"].read(words)
    singular = {group: kind for kind, group in KINDS.items()}
    kind = singular.get(flags.kind, flags.kind)
    if kind is not None and kind not in KINDS:
        known = ", ".join(KINDS)
        raise ConfigError(
            f"list takes one of {known}, got {kind}{nearest(kind, KINDS)}: see `esrun help list`"
        )
    if flags.config_dir and not Path(flags.config_dir).is_dir():
        raise ConfigError(f"--config-dir must be a folder, got {flags.config_dir}")
    for name in [kind] if kind else KINDS:
        group = KINDS[name]
        if not kind:
            print(f"{name} ({group}={'[...]' if group == 'logger' else '...'})")
        for option, says in _options(group, flags.config_dir).items():
            print(_wrapped(option, says))
    return 0


def _options(group: str, directory: str | None) -> dict[str, str]:
    """-> a sentence on each option of a group, those of the user and of plug-ins too."""
    found = {file.stem: sentence(file.read_text()) for file in sorted(_files(CONF_DIR, group))}
    for point in plugins.points(group) if group in PLURAL else ():
        found.setdefault(point.name, f"From {plugins.origin(point)}.")
    for file in sorted(_files(Path(directory), group)) if directory else ():
        found[file.stem] = sentence(file.read_text(errors="replace")) or f"From {file}."
    return found


def _files(folder: Path, group: str) -> list[Path]:
    return list((folder / group).glob("*.yaml"))


def sentence(text: str) -> str:
    """-> the first sentence of the comment that a yaml file begins with."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.removeprefix("#").strip())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(lines), maxsplit=1)[0]


def _wrapped(name: str, says: str) -> str:
    """-> an option on as many lines as the terminal's width asks for."""
    width = shutil.get_terminal_size((100, 24)).columns
    indent = " " * (NAMES if width >= 2 * NAMES else 6)
    first = f"  {name:{len(indent) - 2}}"
    return textwrap.fill(
        says,
        max(width - 1, 30),
        initial_indent=first if len(first) == len(indent) else f"{first} ",
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
