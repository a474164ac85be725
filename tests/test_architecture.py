"""The house: which room may import which, as docs/design.md says."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "esrun"
FLOORS = {
    "cli": 8, "__main__": 9, "commands": 7, "results": 6, "runs": 5, "training": 4, "strategies": 3,
    "tasks": 3, "policies": 2, "config": 2, "backend": 1, "types": 0, "errors": 0, "files": 0,
    "garbage_collection": 0, "stdio": 0, "numpy_policy": 7, "header": 1, "": 10,
}  # fmt: skip
"""A room imports itself and what lies on lower floors. `config` stands beside the components."""
BACKEND_WORDS = ("pmap", "default_backend", "platform")
OF_SYSTEMS = {
    "backend.machine": ("sched_getaffinity", "sysconf", "getuid", "resource", "/proc", "/sys"),
    "runs.interrupts": ("SIGHUP", "SIGUSR1", "SIGUSR2"),
    "runs.process_signals": ("register_at_fork",),
}
"""What some systems lack, and the one module that may ask for it."""


def modules():
    """-> every module of the package by its dotted name, parsed."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text())
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imported(tree, known):
    """-> the dotted names of all that a module imports, those of esrun's own below `esrun.`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                own = whole.removeprefix("esrun.")
                yield whole if own in known or f"{own}.__init__" in known else node.module


def own_imports():
    """-> (module, module of esrun that it imports), all of them."""
    known = modules()
    for name, tree in known.items():
        for target in imported(tree, known):
            if target.startswith("esrun."):
                yield name, target.removeprefix("esrun.")


def room(module):
    return module.partition(".")[0]


def upward(pairs):
    """-> the imports that go up, or to a neighbour."""
    return [
        (name, target)
        for name, target in pairs
        if room(name) != room(target) and FLOORS[room(name).replace("__init__", "")]
        <= FLOORS[room(target)]
    ]  # fmt: skip


def test_no_import_goes_up():
    assert upward(own_imports()) == []


def test_an_import_that_goes_up_would_be_seen():
    wrong = ("training.loop", "runs.run"), ("tasks.sine", "strategies.snes")
    assert upward([*wrong, ("runs.run", "training.loop")]) == list(wrong)


def test_a_strategy_imports_neither_the_configuration_nor_a_sibling():
    wrong = [
        (name, target)
        for name, target in own_imports()
        if room(name) == "strategies"
        and (room(target) == "config" or (
            room(target) == "strategies" and not target.startswith("strategies.parts")
        ))
    ]  # fmt: skip
    assert wrong == []


def test_only_the_backend_knows_platforms_and_what_jax_has_inside():
    wrong = []
    for name, tree in modules().items():
        if room(name) == "backend":
            continue
        words = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        wrong += [(name, word) for word in words if word in BACKEND_WORDS]
        targets = imported(tree, {})
        wrong += [(name, x) for x in targets if x.startswith(("jax.extend", "jax._src"))]
    assert wrong == []


@pytest.mark.parametrize("asked", OF_SYSTEMS)
def test_one_module_asks_for_what_some_systems_lack(asked):
    def names(tree):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                yield node.attr
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield "/".join(node.value.split("/")[:2])  # a path's first folder
        yield from imported(tree, {})

    users = {
        x: {word for word in names(tree)} & {*OF_SYSTEMS[asked]} for x, tree in modules().items()
    }
    assert {name for name, used in users.items() if used} == {asked}


def test_only_two_files_know_hydras_inside():
    known = modules()
    users = {
        name for name in known for x in imported(known[name], {}) if x.startswith("hydra._internal")
    }
    assert users == {"config.hydra", "config.loader"}


def test_no_module_imports_itself_by_way_of_others():
    graph = {}
    for name, target in own_imports():
        graph.setdefault(name, set()).add(target)

    def reaches(start):
        seen, waiting = set(), [start]
        while waiting:
            for target in graph.get(waiting.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return seen

    assert [name for name in graph if name in reaches(name)] == []


@pytest.mark.commands
@pytest.mark.parametrize("room", ["config", "commands"])
def test_jax_is_not_imported_by_what_comes_before_it(room):
    names = [f"esrun.{name}" for name in modules() if name.startswith(f"{room}.")]
    code = f"import sys, importlib\nfor name in {names}: importlib.import_module(name)\n"
    code += "assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_and_functions_stay_short():
    too_long = []
    for name, tree in modules().items():
        lines = len((PACKAGE / f"{name.replace('.', '/')}.py").read_text().splitlines())
        too_long += [(name, lines)] * (lines > 250)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("make_"):
                length = (node.end_lineno or 0) - node.lineno + 1
                too_long += [(name, node.name, length)] * (length > 60)
    assert too_long == []
