"""A yaml from a stranger runs nothing and changes nothing, whichever way it comes."""

import os
import subprocess
import sys

import pytest
from conftest import MAIN, tree
from omegaconf import OmegaConf

from esrun.config.compose import composed, sweep
from esrun.config.hydra import Source
from esrun.errors import ConfigError

TINY = ["task=sphere", "generations=1", "eval.episodes=2"]

HEADER = "# @package _global_\n"
EVIL = {
    # code by name, wherever Hydra or the standard library looks for some
    "callback": "hydra: {callbacks: {x: {_target_: os.mkdir, path: hacked}}}",
    "callback of Hydra's": "hydra: {callbacks: {x: {_target_: hydra.experimental.callbacks.PickleJobInfoCallback}}}",
    "callback with _args_": "hydra: {callbacks: {x: {_target_: os.mkdir, _args_: [hacked]}}}",
    "callback nested": "hydra: {callbacks: {x: {_target_: logging.Filter, name: {_target_: os.mkdir, path: x}}}}",
    "callback in a list": "hydra: {callbacks: {x: {_target_: logging.Filter, name: [{_target_: os.mkdir, path: x}]}}}",
    "callback interpolated": "evil: os.mkdir\nhydra: {callbacks: {x: {_target_: '${evil}', path: hacked}}}",
    "callbacks interpolated": "evil: {x: {_target_: os.mkdir, path: hacked}}\nhydra: {callbacks: '${evil}'}",
    "callback made up": "hydra: {callbacks: {x: {_target_: '${oc.decode:os.mkdir}', path: hacked}}}",
    "launcher": "hydra: {launcher: {_target_: os.mkdir, path: hacked}}",
    "launcher of a kind": "hydra: {launcher: {_target_: hydra_plugins.evil.Launcher}}",
    "launcher argument": "hydra: {launcher: {extra: {_target_: os.mkdir, path: hacked}}}",
    "launcher partial": "hydra: {launcher: {_partial_: true}}",
    "sweeper": "hydra: {sweeper: {_target_: subprocess.Popen, args: [touch, hacked]}}",
    "sweeper argument": "hydra: {sweeper: {max_batch_size: {_target_: os.mkdir, path: hacked}}}",
    "sweeper interpolated": "evil: os.mkdir\nhydra: {sweeper: {_target_: '${evil}', path: hacked}}",
    "sweeper's keys": "hydra: {sweeper: {params: {hydra.callbacks.x._target_: os.mkdir}}}",
    "handler": "hydra: {job_logging: {version: 1, root: {}, handlers: {x: {(): os.mkdir, path: hacked}}}}",
    "handler class": "hydra: {hydra_logging: {version: 1, root: {}, handlers: {x: {class: os.mkdir, path: x}}}}",
    "handler that empties a file": "hydra: {job_logging: {version: 1, root: {handlers: [x]}, handlers: "
    "{x: {class: logging.FileHandler, filename: thesis.txt, mode: w}}}}",
    "formatter": "hydra: {job_logging: {version: 1, root: {}, formatters: {x: {(): os.mkdir, path: hacked}}}}",
    "filter": "hydra: {hydra_logging: {version: 1, root: {}, filters: {x: {(): os.mkdir, path: hacked}}}}",
    "ext://": "hydra: {job_logging: {version: 1, root: {}, handlers: {x: {class: logging.StreamHandler, "
    "stream: 'ext://antigravity.webbrowser'}}}}",
    "logging interpolated": "evil: {version: 1, root: {}, filters: {x: {(): os.mkdir, path: hacked}}}\n"
    "hydra: {job_logging: '${evil}'}",
    # what makes code run by another way
    "environment": "hydra: {job: {env_set: {PATH: evil, XLA_FLAGS: --xla_dump_to=hacked}}}",
    "environment, copied": "hydra: {job: {env_copy: [PATH]}}",
    "log's name": "hydra: {job: {name: ../../thesis}}",
    "help": "hydra: {help: {template: evil}}",
}


@pytest.fixture
def conf(tmp_path):
    """-> (text) -> writes it as an experiment and as a primary configuration below `conf`."""
    for group in ("experiment", "hydra/job_logging", "hydra/launcher"):
        (tmp_path / "conf" / group).mkdir(parents=True)
    (tmp_path / "thesis.txt").write_text("all of it")
    (tmp_path / "conf" / "hydra" / "job_logging" / "evil.yaml").write_text(
        "version: 1\nroot: {handlers: [x]}\n"
        "handlers: {x: {class: logging.FileHandler, filename: thesis.txt, mode: w}}\n"
    )
    (tmp_path / "conf" / "hydra" / "launcher" / "evil.yaml").write_text(
        "_target_: os.mkdir\npath: hacked\n"
    )

    def write(text):
        (tmp_path / "conf" / "experiment" / "evil.yaml").write_text(f"{HEADER}{text}\n")
        (tmp_path / "conf" / "evil.yaml").write_text(f"defaults: [esrun, _self_]\n{text}\n")

    return write


@pytest.mark.parametrize("kind", EVIL)
def test_no_file_of_options_names_code(conf, tmp_path, kind):
    conf(EVIL[kind])
    before = tree(tmp_path)
    directory = Source(directory=str(tmp_path / "conf"))
    for words, source in (
        (["experiment=evil"], directory),
        ([], directory._replace(name="evil")),
        ([], Source("evil", None, str(tmp_path / "conf"))),
    ):
        with pytest.raises(ConfigError):
            composed(words, source)
        with pytest.raises(ConfigError):
            sweep([*words, "seed=0,1"], source)
    assert tree(tmp_path) == before


def test_no_option_of_hydras_own_groups_comes_from_a_file_of_the_users(conf, tmp_path):
    conf("defaults: [{override /hydra/launcher: evil}]")
    for words in (["experiment=evil"], ["hydra/job_logging=evil"], ["hydra/launcher=evil"]):
        with pytest.raises(
            ConfigError, match="=evil must be an option of Hydra or of an installed plug-in"
        ):
            composed(words, Source(directory=str(tmp_path / "conf")))


ROUTES = {
    "experiment": ["experiment=evil", "--config-dir=conf"],
    "sweep": ["-m", "experiment=evil,null", "--config-dir=conf"],
    "mode": ["hydra.mode=MULTIRUN", "experiment=evil", "--config-dir=conf"],
    "primary": ["--config-dir=conf", "--config-name=evil"],
    "tree": ["--config-path=conf", "--config-name=evil"],
    "search path": ["hydra.searchpath=[file://conf]", "experiment=evil"],
    "help": ["--help", "experiment=evil", "--config-dir=conf"],
    "Hydra's help": ["--hydra-help", "experiment=evil", "--config-dir=conf"],
    "cfg": ["--cfg", "all", "experiment=evil", "--config-dir=conf"],
    "info": ["--info", "all", "experiment=evil", "--config-dir=conf"],
    "explain": ["explain", "experiment=evil", "--config-dir=conf"],
    "resolve": ["--cfg", "hydra", "--resolve", "--config-name=evil", "--config-dir=conf"],
}
STRONGEST = ["callback", "handler that empties a file", "sweeper interpolated", "launcher"]


@pytest.mark.parametrize("route", ROUTES)
def test_whichever_way_it_comes(conf, refused, tmp_path, route):
    for kind in STRONGEST:
        conf(EVIL[kind])
        refused(*ROUTES[route], folder=tmp_path, root=tmp_path)


@pytest.mark.parametrize(
    "place", ["pkg://evil", "evil://x", "structured://", "evil", 3, "${oc.env:HOME}"], ids=str
)
def test_no_package_is_imported_as_a_place_of_options(conf, refused, tmp_path, place):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "__init__.py").write_text("open('hacked', 'w')")
    conf(f"hydra: {{searchpath: ['file:///tmp', '{place}']}}")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); {MAIN}"
    said = refused(
        "--config-dir=conf", "--config-name=evil", folder=tmp_path, root=tmp_path, code=code
    )
    assert "hydra.searchpath must name folders" in said


@pytest.mark.parametrize(
    "hydra", ["${other}", "[]", "3", "{searchpath: '${other}'}", "{searchpath: 'pkg://evil'}"]
)
def test_the_search_path_is_read_as_it_is_written(conf, tmp_path, hydra):
    conf(
        f"hydra: "
        f"{hydra if hydra[0] in '[{3' else repr(hydra)}\nother: {{searchpath: ['pkg://evil']}}"
    )
    with pytest.raises(ConfigError):
        composed([], Source("evil", str(tmp_path / "conf")))


@pytest.mark.parametrize(
    "word",
    [
        "+hydra.callbacks.x._target_=os.mkdir",
        "+hydra.callbacks={x:{_target_:os.mkdir}}",
        "hydra.launcher._target_=os.mkdir",
        "hydra.launcher={_target_:os.mkdir}",
        "+hydra.launcher.x={y:[{_target_:os.mkdir}]}",
        "hydra.sweeper._target_=os.mkdir",
        "+hydra.job_logging.handlers={x:{class:logging.FileHandler,filename:thesis.txt,mode:w}}",
        "hydra.searchpath=[pkg://evil]",
    ],
)
def test_typed_on_the_command_line_it_is_refused_too(refused, tmp_path, word):
    (tmp_path / "thesis.txt").write_text("all of it")
    refused(*TINY, word, folder=tmp_path, root=tmp_path)
    refused("-m", *TINY, word, "seed=0,1", folder=tmp_path, root=tmp_path)


def test_a_run_folders_record_is_a_file_like_any_other(refused, esrun, tmp_path):
    assert esrun(*TINY, "hydra.run.dir=run").returncode == 0
    record = tmp_path / "run" / ".hydra" / "config.yaml"
    record.write_text(record.read_text() + EVIL["callback"])
    refused("--config-dir=run/.hydra", "--config-name=config", folder=tmp_path, root=tmp_path)


def test_a_module_that_lies_in_the_working_directory_is_not_imported(wheel, tmp_path):
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "evil-1.0.dist-info").mkdir()
    (tmp_path / "evil-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"
    )
    (tmp_path / "evil-1.0.dist-info" / "entry_points.txt").write_text(
        "[esrun.tasks]\nevil = evil:make\n"
    )
    for name in (
        "hydra_plugins/evil.py",
        "evil.py",
        "yaml.py",
        "pydantic.py",
        "haiku.py",
        "gymnax.py",
    ):
        (tmp_path / name).write_text("open('hacked', 'w')")
    done = subprocess.run(
        [sys.executable, "-m", "esrun", *TINY],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "hacked").exists()


def test_what_people_write_into_such_files_is_taken(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        f"{HEADER}seed: 3\nhydra:\n  run: {{dir: 'runs/${{now:%Y}}'}}\n"
        "  sweep: {dir: sweeps, subdir: '${hydra:job.num}'}\n"
        "  mode: MULTIRUN\n  job: {chdir: true}\n  sweeper: {params: {seed: 'range(3)', task: "
        "'sphere,ackley'}}\n"
    )
    (tmp_path / "my.yaml").write_text(
        f"defaults: [esrun, _self_]\nhydra: {{searchpath: ['file://{tmp_path}']}}\nseed: 4\n"
    )
    directory = Source(directory=str(tmp_path))
    assert composed(["experiment=mine"], directory).config["seed"] == 3
    assert composed([], directory._replace(name="my")).config["seed"] == 4
    jobs = sweep(["experiment=mine"], directory).jobs
    assert len(jobs) == 6
    assert [job[-3:-1] for job in jobs][:2] == [
        ["seed=0", "task=sphere"],
        ["seed=0", "task=ackley"],
    ]


def test_what_is_typed_of_hydras_own_section_is_taken():
    one = composed(
        [
            "+hydra.job.env_set={A: b}",
            "+hydra.launcher.n=3",
            "hydra.verbose=true",
            "hydra/job_logging=stdout",
        ]
    )
    assert OmegaConf.to_container(one.hydra.job.env_set) == {"A": "b"}
