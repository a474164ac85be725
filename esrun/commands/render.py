"""`esrun render RUN ...`: films of what policies do."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from esrun import files
from esrun.backend import devices
from esrun.commands.flags import parsers
from esrun.commands.overrides import moved
from esrun.config.extras import installing, installing_extra, needed
from esrun.config.schema.environments import CLASSIC
from esrun.errors import DONE, ConfigError, printable
from esrun.results.where import config_of, kept_generations, run_folders
from esrun.runs.folder import shown

FILMS = (".gif", ".mp4")
STILLS = (".png", *FILMS)
LARGEST = 2**31
"""Bytes of a file that may be replaced."""


def render(arguments: list[str]) -> int:
    """Write the film -> the exit code. Raises ConfigError."""
    flags = vars(parsers()["render"].read(arguments))
    (runs, file), output = moved(flags.pop("runs")), flags.pop("output")
    if not runs:
        raise ConfigError("render needs a run: write esrun render outputs/DATE/TIME, or latest")
    folders = run_folders(runs)
    every = flags.pop("all")
    if every and len(folders) > 1:
        raise ConfigError("--all takes one run: write a command for each")
    configs = [config_of(folder, None, file) for folder in folders]
    for config in configs:
        check_renderer(config)
    default = folders[0].path if len(folders) == 1 else Path()
    endings = STILLS if all(config.task.still for config in configs) else FILMS
    if every:
        into = checked_folder(default / "render" if output is None else Path(output))
        kept = kept_generations(folders[0])
        paths = {x: checked_output(into / f"{x}{endings[0]}", endings, False) for x in kept}
        path = into
    else:
        paths = {}
        path = default / f"render{endings[0]}" if output is None else Path(output)
        path = checked_output(path, endings)
    devices.start(configs[0].runtime.precision, configs[0].runtime.deterministic)
    from esrun.results import pictures

    wanted = pictures.Wanted(**flags)
    try:
        if every:
            for made in pictures.render_each(folders[0], configs[0], wanted, paths):
                print(printable(shown(made)), flush=True)
        else:
            pictures.render(list(zip(folders, configs, strict=True)), wanted, path)
            print(printable(shown(path)))
    except OSError as error:
        raise ConfigError(f"{shown(path)} cannot be written: {error.strerror}") from error
    return DONE


def checked_folder(folder: Path) -> Path:
    """-> the folder that films go into, which is made if need be. Raises ConfigError."""
    if folder.suffix.lower() in STILLS:
        raise ConfigError(f"--all writes a film a policy into a folder: -o {folder} is a file")
    if not folder.parent.is_dir() or (os.path.lexists(folder) and not folder.is_dir()):
        raise ConfigError(f"-o must be a folder, or a name for one in a folder, got {folder}")
    return folder


def checked_output(path: Path, endings: tuple[str, ...], folder_is_there: bool = True) -> Path:
    """-> the path, if a film or a picture with one of the `endings` can be written there: such a
    file may be replaced, nothing else. Raises ConfigError."""
    if path.suffix.lower() not in endings:
        raise ConfigError(f"-o must end in {' or '.join(endings)}, got {path}")
    if path.suffix.lower() == ".mp4" and not find_spec("imageio_ffmpeg"):
        raise ConfigError(
            f"{path} needs the package imageio_ffmpeg, which is not installed: "
            f"{installing_extra('video', 'imageio-ffmpeg')}; or write {path.with_suffix('.gif')}"
        )
    if folder_is_there and not path.parent.is_dir():
        raise ConfigError(f"-o {path}: there is no folder {path.parent}")
    if folder_is_there and not os.access(path.parent, os.W_OK):
        raise ConfigError(f"-o {path}: the folder {path.parent} cannot be written to")
    try:
        with files.open_to_read(path, LARGEST) as file:
            held = file.read(12)
    except FileNotFoundError:
        return path
    except OSError as error:
        raise ConfigError(f"-o {path} cannot be replaced: {error}") from error
    if held and not held.startswith((b"GIF8", b"\x89PNG")) and held[4:8] != b"ftyp":
        raise ConfigError(f"-o {path} is no film, and esrun replaces nothing else: another name")
    return path


def check_renderer(config: Any) -> None:
    """Raise ConfigError where what draws an environment is not installed."""
    if getattr(config.task, "env", None) in CLASSIC and not find_spec("pygame"):
        raise ConfigError(
            f"{config.task.env} is drawn by pygame, which is not installed: "
            f"{installing([x for x in needed() if x.name == 'pygame'])}"
        )
