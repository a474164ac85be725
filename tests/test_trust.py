"""A yaml from a stranger runs nothing and changes nothing, whichever way it comes."""

import json
import os
import pickle
import subprocess
import sys

import pytest
from conftest import MAIN, quickly, tree
from hydra.types import RunMode
from omegaconf import OmegaConf

from esrun.config.compose import composed, sweep
from esrun.config.hydra import loaded
from esrun.config.loader import Source
from esrun.errors import ConfigError

TINY = ["task=sphere", "generations=1", "eval.episodes=2"]

HEADER = "# @package _global_\n"
EVIL = {
    # code by name, wherever Hydra or the standard library looks for some
    "callback": "hydra: {callbacks: {x: {_target_: os.mkdir, path: hacked}}}",
    "callback of Hydra's": "hydra: {callbacks: {x: {_target_: "
    "hydra.experimental.callbacks.PickleJobInfoCallback}}}",
    "callback with _args_": "hydra: {callbacks: {x: {_target_: os.mkdir, _args_: [hacked]}}}",
    "callback nested": "hydra: {callbacks: {x: {_target_: logging.Filter, name: "
    "{_target_: os.mkdir, path: x}}}}",
    "callback in a list": "hydra: {callbacks: {x: {_target_: logging.Filter, name: "
    "[{_target_: os.mkdir, path: x}]}}}",
    "callback interpolated": "evil: os.mkdir\nhydra: {callbacks: {x: {_target_: '${evil}', path: "
    "hacked}}}",
    "callbacks interpolated": "evil: {x: {_target_: os.mkdir, path: hacked}}\nhydra: {callbacks: "
    "'${evil}'}",
    "callback made up": "hydra: {callbacks: {x: {_target_: '${oc.decode:os.mkdir}', path: "
    "hacked}}}",
    "launcher": "hydra: {launcher: {_target_: os.mkdir, path: hacked}}",
    "launcher of a kind": "hydra: {launcher: {_target_: hydra_plugins.evil.Launcher}}",
    "launcher argument": "hydra: {launcher: {extra: {_target_: os.mkdir, path: hacked}}}",
    "launcher partial": "hydra: {launcher: {_partial_: true}}",
    "sweeper": "hydra: {sweeper: {_target_: subprocess.Popen, args: [touch, hacked]}}",
    "sweeper argument": "hydra: {sweeper: {max_batch_size: {_target_: os.mkdir, path: hacked}}}",
    "sweeper interpolated": "evil: os.mkdir\nhydra: {sweeper: {_target_: '${evil}', path: hacked}}",
    "sweeper's keys": "hydra: {sweeper: {params: {hydra.callbacks.x._target_: os.mkdir}}}",
    "handler": "hydra: {job_logging: {version: 1, root: {}, handlers: {x: {(): os.mkdir, path: "
    "hacked}}}}",
    "handler class": "hydra: {hydra_logging: {version: 1, root: {}, handlers: {x: "
    "{class: os.mkdir, path: x}}}}",
    "handler that empties a file": "hydra: {job_logging: {version: 1, root: {handlers: [x]}, "
    "handlers: "
    "{x: {class: logging.FileHandler, filename: thesis.txt, mode: w}}}}",
    "formatter": "hydra: {job_logging: {version: 1, root: {}, formatters: {x: {(): os.mkdir, path: "
    "hacked}}}}",
    "filter": "hydra: {hydra_logging: {version: 1, root: {}, filters: {x: {(): os.mkdir, path: "
    "hacked}}}}",
    "ext://": "hydra: {job_logging: {version: 1, root: {}, "
    "handlers: {x: {class: logging.StreamHandler, "
    "stream: 'ext://antigravity.webbrowser'}}}}",
    "logging interpolated": "evil: {version: 1, root: {}, "
    "filters: {x: {(): os.mkdir, path: hacked}}}\n"
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


def test_a_module_that_lies_in_the_working_directory_is_not_imported(wheel, compiled, tmp_path):
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
        env=os.environ | compiled | {"PYTHONPATH": str(wheel)},
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


# ---- found by hostile hands ----------------------------------------------------------------------

PAYLOAD = (
    "{version: 1, handlers: {x: {class: logging.FileHandler, filename: thesis.txt, mode: w}}, "
)
PAYLOAD += "root: {level: INFO, handlers: [x]}}"


@pytest.fixture
def files(tmp_path):
    """-> (name, text) -> writes a file below `D`; a thesis lies beside it."""
    (tmp_path / "thesis.txt").write_text("all of it")

    def write(name, text):
        (tmp_path / "D" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "D" / name).write_text(text)

    write("pay.yaml", f"{HEADER}hydra: {{hydra_logging: {PAYLOAD}}}\n")
    return write


UP = "../" * 12 + "proc/self/cwd/D"


@pytest.mark.parametrize("flag", [[], ["--help"], ["-m", "seed=0,1"]], ids=" ".join)
def test_an_option_lies_below_its_groups_folder(files, refused, tmp_path, flag):
    files("experiment/up.yaml", f"{HEADER}defaults: [{{override /hydra/launcher: {UP}/pay}}]\n")
    files("my.yaml", f"defaults: [esrun, _self_, {{override hydra/hydra_logging: {UP}/pay}}]\n")
    for words in (
        ["experiment=up", "--config-dir=D"],
        ["--config-dir=D", "--config-name=my"],
        [f"experiment={UP}/pay"],
        [f"+task@_global_={UP}/pay"],
        [f"experiment={tmp_path}/D/pay"],
        ["--config-dir=D", f"--config-name={UP}/pay"],
    ):
        refused(*flag, *words, folder=tmp_path, root=tmp_path)


def test_hydras_help_is_about_hydra_alone(files, esrun, tmp_path):
    files("_dummy_empty_config_.yaml", "defaults: [pay]\n")
    before = tree(tmp_path)
    done = esrun("--hydra-help", "--config-dir=D")
    assert (done.returncode, "== Flags ==" in done.stdout) == (0, True)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "section",
    [
        "{overrides: {hydra: ['+hydra.job.env_set.XLA_FLAGS=--xla_dump_to=dumped']}}",
        "{mode: MULTIRUN, overrides: {task: ['generations=7']}}",
        "{mode: MULTIRUN, sweeper: {params: {'+hydra': '{job_logging:{version:1}}', seed: '0,1'}}}",
        "{mode: MULTIRUN, sweeper: {params: {hydra/launcher: evil}}}",
        "{job_logging: {handlers: {c: {class: x.y}}, handlers.c.class: logging.Filter}}",
        "{launcher: {storage: !!python/object/apply:pathlib.PosixPath [x]}}",
    ],
)
@pytest.mark.parametrize("flag", [[], ["-m", "seed=0,1"], ["--cfg", "job"]], ids=" ".join)
def test_no_file_puts_words_in_the_users_mouth(files, refused, tmp_path, section, flag):
    files("experiment/evil.yaml", f"{HEADER}hydra: {section}\n")
    refused(*flag, *TINY, "experiment=evil", "--config-dir=D", folder=tmp_path, root=tmp_path)


def test_what_is_composed_again_is_checked_again(files, tmp_path, monkeypatch):
    files(
        "experiment/two.yaml", f"{HEADER}defaults: [{{/extra@_global_: 'x_${{oc.env:WHICH}}'}}]\n"
    )
    files("extra/x_good.yaml", "{}\n")
    files("extra/x_evil.yaml", f"hydra: {{job_logging: {PAYLOAD}}}\n")
    source = Source(directory=str(tmp_path / "D"))
    monkeypatch.setenv("WHICH", "good")
    with loaded(source, ["experiment=two"]) as hydra:
        cfg = hydra.compose_config("esrun", ["experiment=two"], RunMode.MULTIRUN)
        # as a launcher does, perhaps in another process
        loader = pickle.loads(pickle.dumps(hydra.config_loader))
        assert loader.load_sweep_config(cfg, ["experiment=two", "seed=1"]).seed == 1
        monkeypatch.setenv("WHICH", "evil")
        with pytest.raises(ConfigError, match="job_logging"):
            loader.load_sweep_config(cfg, ["experiment=two", "seed=1"])


def test_completion_imports_no_package(esrun, files, tmp_path):
    (tmp_path / "evilpkg").mkdir()
    (tmp_path / "evilpkg" / "__init__.py").write_text("open('hacked', 'w')")
    files("my.yaml", "defaults: [esrun]\nhydra: {searchpath: ['pkg://evilpkg']}\n")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); {MAIN}"
    words = ["-sc", "query=bash", "--config-dir=D", "--config-name=my"]
    esrun(*words, code=code, COMP_LINE="esrun task=pend", COMP_POINT="15")
    assert not (tmp_path / "hacked").exists()


def test_no_logging_option_writes_a_file(refused, tmp_path):
    said = refused(*TINY, "hydra/job_logging=default", folder=tmp_path, root=tmp_path)
    assert "writes no file" in said


def test_no_file_names_a_run_to_go_on_with(files, esrun, refused, tmp_path):
    assert (
        esrun("task=sphere", "eval.episodes=2", "generations=2", "hydra.run.dir=mine").returncode
        == 0
    )
    files("experiment/r.yaml", f"{HEADER}generations: 4\nresume: mine\ncheckpoint: {{keep: 1}}\n")
    words = ["task=sphere", "eval.episodes=2", "experiment=r", "--config-dir=D"]
    assert "must be typed" in refused(*words, folder=tmp_path, root=tmp_path)
    assert esrun(*words, "resume=mine").returncode == 0


BROKEN = [
    "a: [", "a: 1\na: 2", "a: !!nothing x", "\t- x", "3", "defaults: 3", "defaults: [{a: 1, b: 2}]",
    "defaults: [evil]", "hydra: null", "hydra: {job: {env_copy: [NOPE]}}",
    "hydra: {run: {dir: '${nope}'}}", "hydra: {sweeper: {params: '${nope}'}}", "\x00",
    "# @package a b c\nx: 1", "hydra: {run: {dir: '???'}}",
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN, ids=repr)
def test_a_file_that_cannot_be_read_is_one_line(files, refused, tmp_path, text):
    files("evil.yaml", text)
    refused("--config-dir=D", "--config-name=evil", folder=tmp_path, root=tmp_path)


WORDS = ["experiment=null", "task=null", "task=3", "hydra/launcher=null", "hydra.run.dir=${nope}",
         "hydra.run.dir=???", "hydra.run.dir=${task.nam}/x"]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_a_word_that_leads_nowhere_is_one_line(refused, tmp_path, word):
    for flag in ([], ["-m", "seed=0,1"]):
        if "run.dir" in word and flag:
            word = word.replace("run.dir", "sweep.dir")
        if word == "experiment=null":
            continue
        refused(*flag, *TINY[1:], word, folder=tmp_path, root=tmp_path)


def test_a_sweeps_words_are_used_as_they_were_typed(esrun, tmp_path):
    words = ["-m", "task=sphere", "eval.episodes=2", "generations=3,4", "eval.every=${generations}",
             "hydra.sweep.dir=sw", "hydra.sweep.subdir=${hydra.job.override_dirname}"]  # fmt: skip
    done = esrun(*words)
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("sw/*/run.json"))]
    assert [record["config"]["eval"]["every"] for record in records] == [3, 4]


def test_a_secret_that_a_word_names_is_not_written(esrun, tmp_path):
    done = esrun(
        *TINY, "policy.activation=${oc.env:NAME}", "task=cartpole", NAME="relu-tell-nobody"
    )
    assert done.returncode == 2  # it is said to who typed it, and written nowhere
    words = ["-m", "task=cartpole", "policy.activation=${oc.env:NAME}", "generations=1", "seed=0",
             "eval.episodes=2", "task.episode_length=10", "task.episodes=1", "policy.hidden=[4]",
             "strategy=openai_es", "strategy.population_size=8"]  # fmt: skip
    done = esrun(*words, NAME="softplus")
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "multirun").rglob("*"):
        assert not path.is_file() or b"softplus" not in path.read_bytes(), path


def test_a_job_has_a_folder_of_its_own_below_the_sweeps(refused, esrun, tmp_path):
    for subdir in (".", "''", "..", "../x", "/tmp/x", "sweep.json", "multirun.yaml", "same"):
        words = ["-m", *TINY, "seed=0,1", "hydra.sweep.dir=new", f"hydra.sweep.subdir={subdir}"]
        said = refused(*words, folder=tmp_path, root=tmp_path)
        assert "hydra.sweep.subdir must be another folder" in said
    remedy = said.partition("write '")[2].rstrip("'\n")
    words = ["-m", *TINY, "seed=0,1", "hydra.sweep.dir=new", remedy]
    assert esrun(*words).returncode == 0


@pytest.mark.parametrize(
    "name",
    quickly(["a b", "it's", "back\\slash", "end\\", "q\\'uote", "ünï", "$x"], "a b", "q\\'uote"),
)
def test_a_sweep_runs_wherever_its_folder_lies(esrun, tmp_path, name):
    (tmp_path / name).mkdir()
    done = esrun("-m", *TINY, "seed=0", folder=tmp_path / name)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / name).glob("multirun/*/*/0/summary.json"))) == 1
