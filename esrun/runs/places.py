"""Where the jobs of a sweep lie: the sweep's folder, and in it the folder of each configuration."""

import itertools
import os
from contextlib import suppress
from pathlib import Path

from esrun.config import compose, hydra
from esrun.config.check import checked
from esrun.config.compose import Composed
from esrun.config.loader import Source
from esrun.config.schema.run import Config
from esrun.errors import ConfigError
from esrun.runs import folder, sweep_record
from esrun.runs.folder import HYDRAS_SWEEP, SWEEP, Made, shown
from esrun.runs.job import order
from esrun.runs.secrets import masked_word
from esrun.runs.sweep_record import Asked


def sweeps_folder(asked: compose.Sweep, overrides: list[str], source: Source) -> Made:
    """-> the sweep's folder: a new one, or the one to go on in. Raises ConfigError."""
    target = Path(os.path.abspath(compose.path_of(asked.whole.hydra, "sweep.dir")))
    typed = folder.is_typed("hydra.sweep.dir", overrides)
    resume = asked.whole.get("resume")
    if resume not in (None, "auto"):
        raise ConfigError(
            f"resume must be null or auto for a sweep, got {resume}: write resume=auto, or esrun "
            "resume SWEEP with its folder"
        )
    if resume and not typed and asked.jobs and folder.is_by_the_clock(target):
        with compose.composing(source, overrides) as one:
            jobs = [one(job, i) for i, job in enumerate(asked.jobs)]
        wanted = {asked_in(job, checked(job.config), target).identity for job in jobs}
        for place in sorted(target.parent.parent.glob("*/*/"), key=str, reverse=True):
            with suppress(ConfigError):  # another program's, or damaged
                folder.check_sweep(place)
                known = {job.identity for job in sweep_record.read(place)}
                if wanted & known and sweep_record.search(place) is None:
                    return Made(place)
    if typed or not folder.is_by_the_clock(target):
        folder.check_sweep(target)
        if sweep_record.search(target) is not None:
            raise ConfigError(
                f"{shown(target)} holds a study, which esrun tune goes on with: write "
                "hydra.sweep.dir=... for another folder"
            )
    return folder.make(target, fresh=not typed)


def placed(found: list[Composed], configs: list[Config], sweep: Path) -> list[Asked]:
    """-> the jobs in their folders: the one that has a job's configuration already, or else its
    own, or where that is another's, the next number.

    Raises ConfigError unless each has its own in the sweep's.
    """
    known: dict[str, list[Path]] = {}
    for job in sweep_record.read(sweep):
        known.setdefault(job.identity, []).append(job.folder)
    others = {place for places in known.values() for place in places}
    asked = _places(found, sweep)
    taken = {*others, *asked}
    free = (
        place
        for place in (sweep / str(i) for i in itertools.count())
        if place not in taken and not os.path.lexists(place)
    )
    jobs = []
    for i, (one, config, own) in enumerate(zip(found, configs, asked, strict=True)):
        job = asked_in(one, config, own)
        if places := known.get(job.identity):
            job = job._replace(folder=places.pop(0))
        elif own in others and own.name == str(i):
            job = job._replace(folder=next(free))
        jobs.append(job)
    return jobs


def asked_in(one: Composed, config: Config, place: Path) -> Asked:
    """-> a job as it is recorded."""
    asked = order(one, config, Made(place), going_on=True)
    words = [masked_word(word) for word in hydra.words_of(one.hydra, "task")]
    return Asked(place, words, asked.written, asked.choices)


def _places(found: list[Composed], sweep: Path) -> list[Path]:
    """-> the folder that each job asks for. Raises ConfigError unless each has its own in the
    sweep's."""
    places = []
    for one in found:
        subdir = compose.path_of(one.hydra, "sweep.subdir")
        place = Path(os.path.normpath(sweep / subdir))
        inside = sweep in place.parents and place.parent.resolve().is_relative_to(sweep.resolve())
        if not inside or place.name in (SWEEP, HYDRAS_SWEEP) or place in places:
            raise ConfigError(
                f"hydra.sweep.subdir must be another folder of the sweep for each job, got "
                f"{subdir!r}: write 'hydra.sweep.subdir=${{hydra.job.num}}'"
            )
        places.append(place)
    return places
