"""Which folders esrun writes to, and what it deletes: never anything of the user's."""

import os
import shutil

import pytest
from conftest import finished, tree, wait_for

from esrun.errors import ConfigError
from esrun.runs.checkpoint import Checkpoint, save
from esrun.runs.folder import Made, check_sweep, earlier_run, make

TINY = ["task=sphere", "generations=2", "eval.episodes=2"]
WRONG_WHEN_BUILT = ["strategy=openai_es", "+strategy.optimizer_options.b9=1"]


@pytest.fixture
def project(tmp_path):
    """-> a folder of the user's, with what people have."""
    folder = tmp_path / "proj"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "thesis.txt").write_text("all of it")
    (folder / "run.json").write_text('{"config": {}, "choices": {}, "scripts": {"test": "x"}}')
    (folder / "metrics.jsonl").write_text("mine")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "0000000001-0123456789abcdef.safetensors").write_bytes(b"mine")
    return folder


@pytest.mark.parametrize("wrong", [[], WRONG_WHEN_BUILT], ids=["right", "wrong"])
@pytest.mark.parametrize("record", [True, False], ids=["run.json", "no run.json"])
@pytest.mark.parametrize(
    ("words", "inside"),
    [
        (["hydra.run.dir=proj"], False),
        (["hydra.run.dir=."], True),
        (["hydra.run.dir=proj", "resume=auto"], False),
        (["resume=proj"], False),
        (["-m", "hydra.sweep.dir=proj", "seed=0,1"], False),
        (["-m", "hydra.sweep.dir=.", "seed=0,1"], True),
        (["-m", "hydra.sweep.dir=sweep", "hydra.sweep.subdir=../proj"], False),
        (["hydra.mode=MULTIRUN", "hydra.sweep.dir=proj"], False),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_a_folder_that_holds_something_else_is_refused(
    refused, tmp_path, project, words, inside, record, wrong
):
    if not record:
        (project / "run.json").unlink()
    refused(*TINY, *words, *wrong, folder=project if inside else tmp_path, root=tmp_path)


def test_resume_of_another_programs_folder_is_refused(refused, tmp_path, project):
    assert "run.json" in refused("resume", "proj", folder=tmp_path, root=tmp_path)
    assert "run.json" in refused("resume", ".", folder=project, root=tmp_path)


@pytest.mark.parametrize(
    "content", ["x", "", "{", "[]", "null", '{"config": 3}', '{"versions": {"esrun": "1"}}']
)
def test_a_run_json_that_is_none_makes_no_run_folder(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ConfigError, match=r"run\.json"):
        earlier_run(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["thesis.txt"],
        ["sub/"],
        [".git/"],
        [".lock", "x"],
        [".hydra/"],
        ["esrun.log"],
        ["x.partial"],
    ],
    ids=str,
)
def test_a_single_foreign_thing_is_enough(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    with pytest.raises(ConfigError, match="something else than a run"):
        earlier_run(tmp_path)


def test_a_lock_that_is_somebody_elses_is_not_taken(tmp_path):
    (tmp_path / ".lock").write_text("pid 123")
    with pytest.raises(ConfigError, match="something else than a run"):
        earlier_run(tmp_path)


@pytest.mark.parametrize("names", [[], [".lock"], [".lock", "run.json.0123abcd.partial"]], ids=str)
def test_what_a_start_that_was_killed_left_is_free(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    assert earlier_run(tmp_path) is None
    assert earlier_run(tmp_path / "not there") is None


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("thesis.txt", "no folder"),
        ("thesis.txt/below", "cannot be made"),
        ("x" * 300, "cannot be made"),
        ("nul\0", "cannot be made"),
        ("dangling", "no folder"),
    ],
)
def test_a_path_where_no_folder_can_be_gets_one_line(tmp_path, path, complaint):
    (tmp_path / "thesis.txt").write_text("all of it")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match=complaint):
        earlier_run(tmp_path / path) or make(tmp_path / path)
    assert tree(tmp_path) == before


def test_only_what_was_made_is_unmade_and_only_if_it_is_empty(tmp_path):
    (tmp_path / "mine").mkdir()
    made = make(tmp_path / "mine" / "a" / "b")
    assert made == Made(
        tmp_path / "mine" / "a" / "b", (tmp_path / "mine" / "a" / "b", tmp_path / "mine" / "a")
    )
    (tmp_path / "mine" / "a" / "note").write_text("x")
    made.unmake()
    assert tree(tmp_path).keys() == {"mine", "mine/a", "mine/a/note"}
    make(tmp_path / "mine").unmake()
    assert (tmp_path / "mine").is_dir()


def test_what_only_the_built_run_can_tell_leaves_the_users_empty_folder(refused, tmp_path):
    (tmp_path / "mine").mkdir()
    refused(*TINY, *WRONG_WHEN_BUILT, "hydra.run.dir=mine", folder=tmp_path, root=tmp_path)
    refused(*TINY, *WRONG_WHEN_BUILT, "hydra.run.dir=mine/a/b", folder=tmp_path, root=tmp_path)


def test_a_missing_package_is_told_before_anything_is_made(refused, tmp_path):
    code = "import sys; sys.modules['wandb'] = None; from esrun.cli import main; code = main(); "
    code += "assert 'jax' not in sys.modules; sys.exit(code)"
    for words in (["hydra.run.dir=new/er"], ["hydra.run.dir=mine"], ["-m", "seed=0,1"]):
        said = refused(*TINY, "logger=[wandb]", *words, code=code, folder=tmp_path, root=tmp_path)
        assert "logger=[wandb] needs the package wandb" in said


def test_jobs_of_a_sweep_that_share_a_folder_are_refused(refused, tmp_path):
    words = ["-m", *TINY, "seed=0,1", "hydra.sweep.dir=new", "hydra.sweep.subdir=same"]
    assert "another folder of the sweep for each job" in refused(
        *words, folder=tmp_path, root=tmp_path
    )


def test_a_sweep_goes_on_in_its_own_folder_and_the_users_notes_stay(typed, tmp_path):
    words = ["-m", *TINY, "seed=0,1", "hydra.sweep.dir=sweep"]
    assert typed(*words).returncode == 0
    (tmp_path / "sweep" / "notes.txt").write_text("mine")
    (tmp_path / "sweep" / "0" / "notes.txt").write_text("mine")
    (tmp_path / "sweep" / "0" / "checkpoints" / "best.partial").write_text("mine")
    (tmp_path / "sweep" / "0" / "checkpoints" / "best.safetensors").write_text("mine")
    done = typed(*words, "generations=4", "checkpoint.keep=1", "checkpoint.every=1")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "sweep" / "0" / "checkpoints").glob("0*.safetensors"))) == 1
    for path in (
        "notes.txt",
        "0/notes.txt",
        "0/checkpoints/best.partial",
        "0/checkpoints/best.safetensors",
    ):
        assert (tmp_path / "sweep" / path).read_text() == "mine"


def test_a_sweeps_folder_is_known_by_its_record(tmp_path):
    check_sweep(tmp_path / "not there")
    check_sweep(tmp_path)
    (tmp_path / "sweep.json.0123abcd.partial").touch()
    check_sweep(tmp_path)
    hydras = "hydra: {job: {name: my_rl}}\ntask: {}\nstrategy: {}\npolicy: {}\n"
    for content in ("", "{}", "[]", '{"esrun": 1}', "[" * 50_000, "\x00", hydras):
        for name in ("sweep.json", "multirun.yaml"):
            (tmp_path / name).write_text(content)
            with pytest.raises(ConfigError, match="something else than a sweep"):
                check_sweep(tmp_path)
            (tmp_path / name).unlink()
    (tmp_path / "sweep.json").write_text('{"format": 1, "esrun": "sweep", "jobs": []}')
    check_sweep(tmp_path)
    (tmp_path / "run.json").touch()
    with pytest.raises(ConfigError, match="something else than a sweep"):
        check_sweep(tmp_path)


def test_a_checkpoint_replaces_older_ones_of_its_own_kind_alone(tmp_path):
    mine = [
        "0000000001-x.safetensors", "1-0123456789abcdef.safetensors", "thesis.partial",
        "a.safetensors.partial", "0000000001-0123456789abcdef.safetensors.partial",
    ]  # fmt: skip
    for name in mine:
        (tmp_path / name).write_text("mine")
    (tmp_path / "0000000001-0123456789abcdef.safetensors.89abcdef.partial").touch()
    for generation in (5, 10, 15):
        save(tmp_path, Checkpoint({}, {"generation": generation}), keep=1)
    left = {path.name for path in tmp_path.iterdir()}
    assert {name[:10] for name in left - {*mine}} == {"0000000015"}
    assert all((tmp_path / name).read_text() == "mine" for name in mine)


@pytest.mark.parametrize("how", ["moved", "copied", "linked"])
def test_a_run_folder_that_was_moved_copied_or_linked_goes_on(typed, tmp_path, how):
    assert typed(*TINY, "hydra.run.dir=run").returncode == 0
    other = tmp_path / "far" / "away"
    other.parent.mkdir()
    if how == "moved":
        shutil.move(tmp_path / "run", other)
    elif how == "copied":
        shutil.copytree(tmp_path / "run", other)
    else:
        other.symlink_to(tmp_path / "run")
    done = typed("resume", "far/away", "generations=4")
    assert done.returncode == 0, done.stderr
    assert "resumed" in done.stdout
    assert len((other / "metrics.jsonl").read_text().splitlines()) == 4


def test_outputs_may_lie_behind_a_link(typed, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "outputs").symlink_to("scratch")
    assert typed(*TINY).returncode == 0
    assert len(list((tmp_path / "scratch").glob("*/*/summary.json"))) == 1
    assert not os.path.lexists(tmp_path / "multirun")


# ---- found by hostile hands ----------------------------------------------------------------------


def test_a_folder_that_was_moved_away_ends_the_run_and_what_stands_there_is_left(start, tmp_path):
    words = [
        "task=sine", "strategy=openai_es", "strategy.population_size=32", "policy.hidden=[8]",
        "generations=1000000000", "eval.episodes=2", "checkpoint.every=50", "checkpoint.seconds=1",
        "hydra.run.dir=run",
    ]  # fmt: skip
    process = start(tmp_path, *words)
    wait_for(lambda: any((tmp_path / "run" / "checkpoints").glob("*.safetensors")), process)
    (tmp_path / "run").rename(tmp_path / "moved")
    for name in ("summary.json", "policy.safetensors", "metrics.jsonl"):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).write_text("mine")
    (tmp_path / "run" / "checkpoints").mkdir()
    for i in range(5):
        name = f"000000000{i}-0123456789abcdef.safetensors"
        (tmp_path / "run" / "checkpoints" / name).write_text("mine")
    before = tree(tmp_path / "run")
    code, said = finished(process)
    assert code == 1
    assert "is gone" in said
    assert tree(tmp_path / "run") == before


def test_a_change_of_directory_does_not_change_what_is_unmade(refused, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    chdir = [*TINY, *WRONG_WHEN_BUILT, "hydra.job.chdir=true"]
    refused(*chdir, "hydra.run.dir=../../../x", folder=tmp_path / "a" / "b" / "c", root=tmp_path)
    refused(*chdir, "hydra.run.dir=new/er", folder=tmp_path, root=tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ["hydra.run.dir=new/" + "x" * 300],
        ["hydra.run.dir=new/../thesis.txt/y"],
        ["-m", "seed=0,1", "hydra.sweep.dir=new/" + "x" * 300],
        ["-m", "seed=0,1", "hydra.sweep.dir=new", *WRONG_WHEN_BUILT],
    ],
    ids=lambda words: words[-1][:20],
)
def test_what_is_refused_leaves_nothing(typed, tmp_path, words):
    (tmp_path / "thesis.txt").write_text("all of it")
    done = typed(*TINY, *words)
    assert done.returncode == 2, done.stdout
    assert tree(tmp_path) == {"thesis.txt": b"all of it"}


def test_a_newer_name_does_not_cost_the_newest_valid_checkpoint(typed, tmp_path):
    assert typed(*TINY, "hydra.run.dir=run").returncode == 0
    kept = tmp_path / "run" / "checkpoints"
    for name in ("9999999999-0123456789abcdef", "٠٠٠٠٠٠٠٠٠١-0123456789abcdef"):
        (kept / f"{name}.safetensors").write_text("mine")
    assert typed("resume", "run", "generations=4", "checkpoint.keep=1").returncode == 0
    done = typed("resume", "run", "generations=6", "checkpoint.keep=1")
    assert "resumed   after generation 4" in done.stdout, done.stdout + done.stderr
    assert len(list(kept.iterdir())) == 3


@pytest.mark.parametrize(
    "name", ["checkpoints gone", "a file in their place", "another file among them"]
)
def test_a_run_without_its_checkpoints_does_not_begin_anew(typed, tmp_path, name):
    assert typed(*TINY, "hydra.run.dir=run").returncode == 0
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    if name == "a file in their place":
        (tmp_path / "run" / "checkpoints").touch()
    if name == "another file among them":
        (tmp_path / "run" / "checkpoints").mkdir()
        (tmp_path / "run" / "checkpoints" / "best.safetensors").write_text("mine")
    before = tree(tmp_path)
    done = typed("resume", "run", "generations=4")
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert tree(tmp_path) == before


def test_leftovers_are_plain_files(tmp_path):
    (tmp_path / "run.json.0123abcd.partial").mkdir()
    (tmp_path / "run.json.0123abcd.partial" / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="something else than a run"):
        earlier_run(tmp_path)


def test_resume_auto_goes_where_it_is_told(typed, tmp_path):
    assert typed(*TINY, "hydra.run.dir=outputs/old/one").returncode == 0
    done = typed(*TINY, "hydra.run.dir=outputs/new/one", "resume=auto")
    assert done.returncode == 0
    assert (tmp_path / "outputs" / "new" / "one" / "summary.json").exists()
    assert "is done already" in typed(*TINY, "resume=auto").stdout
