"""What esrun needs and what it can be given besides, by its own package's metadata."""

import shlex
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement

from esrun.config.schema.run import Config

DEVELOPERS = ("test", "docs", "dev", "bench")
"""Extras that only work on esrun itself needs."""


def needed(extra: str | None = None) -> list[Requirement]:
    """-> what esrun needs, or what an extra adds to that; nothing where esrun is not installed."""
    try:
        found = [Requirement(line) for line in requires("esrun") or []]
    except PackageNotFoundError:
        return []
    return [
        x
        for x in found
        if (x.marker is None if extra is None else x.marker and f'"{extra}"' in str(x.marker))
    ]


def packages_of(config: Config) -> list[str]:
    """-> the packages that a configuration's options need besides esrun's own."""
    parts = (config.task, config.policy, config.strategy)
    names = [x.name for part in parts if part.extra for x in needed(part.extra)]
    return names + ["mujoco"] * (config.task.name == "gymnasium")


def versions(packages: Iterable[str]) -> dict[str, str]:
    """-> what is installed of so many packages."""
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def extras() -> list[str]:
    """-> the names of the extras that options need."""
    try:
        names = metadata("esrun").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        return []
    return [name for name in names if name not in DEVELOPERS]


def installed(wanted: Requirement) -> str | None:
    """-> the version of a package that is there, None if it is not."""
    try:
        return version(wanted.name)
    except PackageNotFoundError:
        return None


def fits(wanted: Requirement) -> bool:
    """Whether a package is there in a version that is asked for."""
    found = installed(wanted)
    return found is not None and wanted.specifier.contains(found, prereleases=True)


def installing(wanted: list[Requirement]) -> str:
    """-> the command that installs packages into the Python that runs."""
    names = [f"{x.name}{x.specifier}" for x in wanted]
    return shlex.join([sys.executable, "-m", "pip", "install", *names])


def installing_extra(extra: str | None, package: str) -> str:
    """-> the command that installs an extra, or the one package where esrun does not know what else
    it takes."""
    known = needed(extra) if extra else []
    return installing(known or [Requirement(package)])
