"""`esrun tune [KEY=VALUE ...] 'KEY=interval(a,b)' ...`: searching settings, by Optuna."""

from esrun.commands.flags import parsers
from esrun.config.loader import Source
from esrun.errors import ConfigError


def tune(arguments: list[str]) -> int:
    """Search, and say what was found -> the exit code. Raises ConfigError."""
    flags = parsers()["tune"].read(arguments)
    if flags.multirun:
        raise ConfigError("esrun tune runs its settings by itself: leave -m out")
    from esrun.runs.tuning.tune import run_tune

    source = Source(flags.config_name or "esrun", flags.config_dir, flags.config_path)
    return run_tune(flags.overrides, source)
