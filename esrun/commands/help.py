"""`esrun help [VERB|GROUP=OPTION]`: help on a verb; the keys of an option, as its yaml has them."""

from pathlib import Path

import yaml

from esrun.commands.flags import parsers
from esrun.commands.words import KINDS, VERBS
from esrun.config import CONF_DIR, plugins
from esrun.config.loader import Source
from esrun.errors import DONE, ConfigError, nearest


def show_help(words: list[str]) -> int:
    """Print help -> the exit code."""
    flags = parsers()["help"].read(words)
    about = flags.about
    if about in (None, "train"):
        from esrun.commands.train import train

        return train(["--help", *(["--config-dir", flags.config_dir] if flags.config_dir else [])])
    group, is_option, name = about.partition("=")
    if is_option:
        print(_option(group, name.strip("[]"), flags.config_dir), end="")
    elif about in VERBS:
        print(parsers()[about].format_help(), end="")
    elif about in KINDS or about in KINDS.values():
        from esrun.commands.list import list_options

        return list_options([about])
    else:
        raise ConfigError(
            f"help takes a verb or GROUP=OPTION, got {about}{nearest(about, [*VERBS, *KINDS])}: "
            f"write one of {', '.join(VERBS)}, or for example strategy=cma_es"
        )
    return DONE


def _option(group: str, name: str, directory: str | None) -> str:
    """-> the yaml of an option with its comments; a plug-in's without one from its factory."""
    from esrun.config import hydra

    choices = hydra.listed(Source(directory=directory), group) if group in KINDS.values() else []
    if not choices:
        groups = list(KINDS.values())
        raise ConfigError(
            f"{group} is no group of options{nearest(group, groups)}: write one of "
            f"{', '.join(f'{x}=...' for x in groups)}"
        )
    if name not in choices:
        raise ConfigError(
            f"{group}={name} is not a choice{nearest(name, choices)}: write one of "
            f"{', '.join(choices)}"
        )
    for folder in (directory, CONF_DIR):
        file = Path(folder) / group / f"{name}.yaml" if folder else None
        if file and file.is_file():
            return file.read_text(errors="replace")
    found = plugins.option(f"{group}/{name}")
    return yaml.safe_dump(found[1], sort_keys=False) if found else ""
