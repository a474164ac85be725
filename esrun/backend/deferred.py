"""Modules that are loaded when something in them is first used, for packages that import more than
they need."""

import importlib.abc
import sys
import threading
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


@contextmanager
def deferred(*names: str):
    """While this is open, importing one of the modules `names` costs nothing; its first use, at any
    time, loads it.

    A module that is loaded already, or that is not installed, is left to Python. (The standard
    library's LazyLoader loads a module as soon as a second import statement names it.)
    """
    finder = _Finder(names)
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]


_loading = threading.RLock()
_begun: list[ModuleType] = []
"""Modules that are being loaded."""


class _Finder:
    def __init__(self, names: tuple[str, ...]):
        self._names = names

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in self._names else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Later(spec.loader)
        return spec


class _Later(importlib.abc.Loader):
    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> None:
        return None  # an ordinary one

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self._loader  # type: ignore[union-attr]
        module.__class__ = _Unloaded


class _Unloaded(ModuleType):
    """A module without its contents. What every module has (`__spec__`, `__path__`) is there and
    loads nothing."""

    def __getattr__(self, name: str):
        with _loading:  # other threads see all of it, or wait
            if type(self) is _Unloaded:
                if self in _begun:  # it asks itself, while it loads
                    raise AttributeError(f"module {self.__name__!r} has no {name!r} yet")
                _begun.append(self)
                try:
                    self.__spec__.loader.exec_module(self)  # type: ignore[union-attr]
                    self.__class__ = ModuleType  # type: ignore[assignment]
                finally:
                    _begun.remove(self)
        return getattr(self, name)
