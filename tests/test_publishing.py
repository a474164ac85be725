"""What people meet before the command: the package's metadata, the citation, the image, continuous
integration."""

import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch

import pytest
import yaml
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGE = (ROOT / "Dockerfile").read_text()
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
COPIES = [
    (words[:-1], words[-1])
    for line in re.findall(r"^COPY (.+)$", IMAGE, re.MULTILINE)
    if (words := line.split())
]


def test_what_is_cited_is_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert {key: cited[key] for key in ("version", "license")} == {
        "version": PROJECT["version"],
        "license": PROJECT["license"],
    }
    assert cited["authors"] == PROJECT["authors"] == [{"name": "The esrun authors"}]


def test_continuous_integration_tries_every_python_and_system_that_is_named():
    classifiers = " ".join(PROJECT["classifiers"])
    matrix = WORKFLOW["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == re.findall(r"Python :: (3\.\d+)", classifiers)
    assert PROJECT["requires-python"] == f">={matrix['python'][0]}"
    systems = {"ubuntu-latest": "Linux", "macos-latest": "MacOS"}
    assert [systems[x] in classifiers for x in matrix["system"]] == [True, True]
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    scripts = re.findall(r"scripts/[\w.]+", " ".join(step.get("run", "") for step in steps))
    assert "scripts/test" in scripts
    assert [name for name in scripts if not (ROOT / name).is_file()] == []


@pytest.mark.commands
def test_what_the_image_copies_is_enough_to_install(tmp_path):
    kept = [x[1:] for x in (ROOT / ".dockerignore").read_text().split() if x.startswith("!")]
    for sources, target in COPIES:
        for source in sources:
            assert any(fnmatch(source, pattern) for pattern in kept), source
            place = tmp_path / "image" / target / (source if target == "./" else "")
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / "image" / target)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    pip = [sys.executable, "-m", "pip", "install", *offline, "--target", tmp_path / "site"]
    subprocess.run([*pip, "."], cwd=tmp_path / "image", check=True, capture_output=True)
    assert (tmp_path / "site" / "esrun" / "conf" / "esrun.yaml").is_file()
    assert "scripts/constraints.txt" in [x for sources, _ in COPIES for x in sources]


def test_a_signal_to_the_container_reaches_esrun():
    assert re.search(r'^ENTRYPOINT \["esrun"\]$', IMAGE, re.MULTILINE)  # no shell between


def test_every_extra_for_developers_is_known_as_one():
    from esrun.config.extras import DEVELOPERS

    page = (ROOT / "docs" / "install.md").read_text()
    for extra in PROJECT["optional-dependencies"]:
        assert (f"`{extra}`" in page) != (extra in DEVELOPERS), extra
