"""Why a configuration cannot be composed, as one line: of Hydra's exceptions, of the words typed
and of the files read.

A remedy that is a word of Hydra's grammar is read by its parser before it is printed.
"""

import re
import shlex
import sys
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException
from packaging.requirements import Requirement
from packaging.version import Version

from esrun.config import CONF_DIR, hydra, registry
from esrun.config.extras import installed
from esrun.config.loader import PRIMARY, Source
from esrun.config.quoting import readable, to_be_quoted
from esrun.config.space import EXAMPLE
from esrun.errors import first_line, nearest

SEVERAL = ("experiment", "logger")
"""Groups of which none need be chosen."""

OPENING, CLOSING = "([{", ")]}"

PLUGINS = {
    "hydra/launcher": {
        name: f"hydra-{name}-launcher" for name in ("joblib", "rq", "ray", "submitit")
    }
    | {f"submitit_{name}": "hydra-submitit-launcher" for name in ("local", "slurm")}
    | {f"ray_{name}": "hydra-ray-launcher" for name in ("aws", "jobs")},
    "hydra/sweeper": {
        "ax": "hydra-ax-sweeper",
        "nevergrad": "hydra-nevergrad-sweeper",
        "optuna": "hydra-optuna-sweeper",
    },
}
"""Hydra's own plug-ins, by the package that brings each."""
PINNED = 3
"""The Optuna that the plug-in does not take."""


def explained(error: Exception, overrides: list[str], source: Source) -> str:
    """-> one line for an exception that composing raised."""
    words, unread = _parsed(overrides)
    if unread:
        return _of_grammar(*unread)
    if nameless := next((str(x.input_line) for x in words if not x.key_or_group), None):
        return f"{nameless} must be KEY=VALUE: see `esrun --help`"
    text = str(error)
    if isinstance(error, MissingConfigException):
        return _of_choice(error, source)
    swept = [str(x.input_line) for x in words if x.is_sweep_override()]
    if swept and ("multirun" in text or "Ambiguous value" in text):
        return _of_sweep(hydra.parsed(swept, source, overrides))
    if "does not support sweep type" in text:
        return _of_interval(next(x for x in words if x.is_interval_sweep()))
    for word in words:
        if word.key_or_group in groups(source) and not _chooses(word.value()):
            return _of_value(word, source)
    if found := re.search(r"Could not (override|append to|delete) '([^']+)'", text):
        return _of_key(found[2], source)
    if found := re.search(r"Could not (append to|delete from) config", text):
        return _of_prefix(found[1], words)
    if "missing" in text.lower() and (found := re.search(r"full_key: (\S+)", text)):
        from esrun.config.complaints import must_be_given

        group = found[1].partition(".")[0]
        chosen = [str(x.value()) for x in words if x.key_or_group == group]
        named = [x for x in chosen if x in registry.OPTIONS.get(group, {})]
        return must_be_given(found[1], {"name": named[-1]} if named else {})
    if found := re.search(r"Multiple values for (\S+?)\.?\s", text):
        return f"{found[1]} is chosen twice: leave one of {' '.join(overrides)} out"
    if (found := re.search(r"Error merging override (.+)", text)) and error.__cause__:
        return f"{found[1]} cannot be set: {first_line(error.__cause__)}"
    return f"the configuration cannot be composed: {first_line(error)}"


def groups(source: Source) -> list[str]:
    """-> the names of the configuration groups."""
    return [group for group in hydra.listed(source, "", groups=True) if group != "hydra"]


def _parsed(overrides: list[str]) -> tuple[list[Override], tuple[str, Exception] | None]:
    """-> the words as Hydra reads them, or the first that it cannot read and why."""
    words = []
    for word in overrides:
        try:
            words += OverridesParser.create().parse_overrides([word])
        except Exception as error:
            return [], (word, error)
    return words, None


def _of_grammar(word: str, error: Exception) -> str:
    key, is_pair, value = word.partition("=")
    if not is_pair:
        return f"{word} must be KEY=VALUE: see `esrun --help`"
    closing: list[str] = []
    for c in value:
        if c in OPENING:
            closing.insert(0, CLOSING[OPENING.index(c)])
        elif c in CLOSING and closing[:1] == [c]:
            del closing[0]
    why = f"cannot be read: {first_line(error)}"
    if closing:
        why = "has a bracket that is not closed"
    for meant in (f"{word}{''.join(closing)}", f"{key.strip()}={value.strip()}"):
        read, unread = _parsed([meant])
        if not unread:
            flag = "esrun -m " if any(x.is_sweep_override() for x in read) else ""
            return f"{word} {why}: write {flag}{shlex.quote(meant)}"
    if line := to_be_quoted([word]):
        return line
    if found := re.fullmatch(r"choice\((.*\bnull\b.*)\)", value):  # as Hydra has it
        return f"{word}: choice() takes no null: write {shlex.quote(f'{key}={found[1]}')}"
    if re.search(r"\b(interval|range)\(", value):
        return f"{word} {why}: write for example {shlex.quote(f'{key}=interval(0.1,1)')}"
    meant = f"{key}={readable(value)}"
    remedy = "" if _parsed([meant])[1] else f": write {shlex.quote(meant)}"
    return f"{word} {why}{remedy}"


def _of_choice(error: MissingConfigException, source: Source) -> str:
    missing = error.missing_cfg_file or ""
    group, _, given = missing.rpartition("/")
    if not group:
        places = source.directory or source.tree or "the current folder"
        return (
            f"--config-name={missing} must be a yaml file of a folder that is searched, and "
            f"{places} has no {missing}.yaml: name its folder by --config-dir"
        )
    if not hydra.listed(source, group):
        return f"{group} is no group of options{nearest(group, groups(source))}"
    if (group, given) == ("hydra/sweeper", "optuna") and (line := of_old_plugin()):
        return line
    if package := PLUGINS.get(group, {}).get(given):
        install = shlex.join([sys.executable, "-m", "pip", "install", package])
        return f"{group}={given} needs the package {package}, which is not installed: {install}"
    choices = hydra.listed(source, group)
    near, known = nearest(given, choices), ", ".join(choices)
    if group in SEVERAL and given.casefold() in ("", "none", "null"):
        return f"{group}={given} is not a choice: leave it out, or write one of {known}"
    return f"{group}={given} is not a choice{near}: write one of {known}"


def of_old_plugin() -> str | None:
    """-> the line for Hydra's plug-in for Optuna where a newer Optuna is installed than it pins."""
    found = installed(Requirement("optuna"))
    if found is None or Version(found).major < PINNED:
        return None
    return (
        f"hydra/sweeper=optuna is for an Optuna before {PINNED}, and {found} is installed: write "
        f"esrun tune {EXAMPLE}"
    )


def _of_sweep(swept: list[Override]) -> str:
    words = [str(x.input_line) for x in swept]
    for word in swept:
        if word.is_interval_sweep():
            return _of_interval(word)
        if is_empty(word):
            return of_empty(word)
    verb = "is" if len(words) == 1 else "are"
    return (
        f"{' '.join(words)} {verb} a sweep over several values: write one value, or "
        f"esrun -m {shlex.join(words)}"
    )


def is_empty(word: Override) -> bool:
    """Whether a sweep has no value."""
    return word.is_discrete_sweep() and not list(word.sweep_iterator())


def of_empty(word: Override) -> str:
    """-> the line for such a sweep."""
    key, value = word.key_or_group, str(word.input_line).partition("=")[2]
    if value.startswith("glob"):
        return f"{word.input_line} matches no option of {key}: `esrun list` names them"
    return f"{word.input_line} has no value in it: write for example {key}=0"


def _of_interval(word: Override) -> str:
    interval: Any = word.value()
    return (
        f"{word.input_line} is a space to be searched: write esrun tune "
        f"{shlex.quote(str(word.input_line))}, or values, esrun -m "
        f"{word.key_or_group}={interval.start},{interval.end}"
    )


def _chooses(value: Any) -> bool:
    """Whether a value can be the name of an option, or a list of them."""
    return isinstance(value, str) or (isinstance(value, list) and all(map(_chooses, value)))


def _of_value(word: Override, source: Source) -> str:
    group = word.key_or_group
    if word.value() is None and group in SEVERAL:
        return f"{word.input_line} chooses nothing: leave it out"
    choices = ", ".join(hydra.listed(source, group))
    return f"{group} must be the name of an option, got {word.input_line}: write one of {choices}"


def _of_key(key: str, source: Source) -> str:
    """The key is none, at the root: what is below it is told by the option's own check."""
    primary: Any = yaml.safe_load((CONF_DIR / "esrun.yaml").read_text())
    known = {*groups(source), *primary} - {"defaults"}
    key = key.split("@")[0]
    if key in known and source.name != PRIMARY.name:
        return (
            f"{key} is not in the configuration {source.name}.yaml: begin that file with "
            f"defaults: [{PRIMARY.name}, _self_]"
        )
    known |= {f"{name}.{x}" for name in known for x in primary.get(name) or () if "." in key}
    return (
        f"{key} is not a key of this configuration{nearest(key, known)}: `esrun --help` shows them"
    )


def _of_prefix(which: str, words: list[Override]) -> str:
    mark = "+" if which == "append to" else "~"
    word = next((x for x in words if str(x.input_line).startswith(mark)), None)
    if word is None:
        return "a key cannot be taken out or added here"
    plain = str(word.input_line)[1:]
    if mark == "~":
        return f"{word.input_line} takes out what is not there: leave it out"
    return f"{plain.partition('=')[0]} is there already: write {shlex.quote(plain)}"
