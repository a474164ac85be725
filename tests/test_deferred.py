"""Modules that load at their first use; each test in a Python of its own."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.commands


def python(code):
    """-> what a fresh Python prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_gymnax_loads_no_plotting_before_something_is_drawn():
    loaded = python(
        "import esrun.tasks.gymnax, sys;"
        "print('matplotlib.rcsetup' in sys.modules, 'pandas' in sys.modules);"
        "from gymnax.visualize import Visualizer;"
        "import matplotlib; matplotlib.use('agg');"
        "import matplotlib.pyplot as plt, gymnax.environments.misc.pong as pong;"
        "print(plt is pong.plt, len(pong.sns.color_palette('cubehelix', 3)), len(plt.subplots()));"
        "print('scipy.stats' in sys.modules, 'pandas' in sys.modules)"
    )
    assert loaded == ["False", "False", "True", "3", "2", "True", "True"]


def test_threads_that_use_a_deferred_module_at_once_see_all_of_it(tmp_path):
    (tmp_path / "part.py").write_text(
        "import sys, time\nfirst = getattr(sys.modules['part'], 'later', 1)\n"
        "time.sleep(0.3)\nlater = 2\n"
    )
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
from concurrent.futures import ThreadPoolExecutor
from esrun.backend.deferred import deferred
with deferred('part'):
    import part
with ThreadPoolExecutor(4) as pool:
    print(*pool.map(lambda _: part.later + part.first, range(4)))
"""
    assert python(code) == ["3"] * 4


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("import part", "unloaded 7 loaded"),
        ("import part; import part as again", "unloaded 7 loaded"),
        ("from part import value", "loaded 7 loaded"),
        ("import whole", "unloaded 7 loaded"),
        (
            "import sys; sys.path.append(sys.argv[0]); import whole.inner as part",
            "unloaded 7 loaded",
        ),
    ],
)
def test_a_deferred_module_loads_at_its_first_use(tmp_path, first, expected):
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "__init__.py").write_text("import part\n")
    source = "import sys\nsys.loaded = 'loaded'\nvalue = 7\n"
    (tmp_path / "part.py").write_text(source)
    (tmp_path / "whole" / "inner.py").write_text(source)
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.loaded = 'unloaded'
from esrun.backend.deferred import deferred
with deferred('part', 'whole.inner'):
    {first}
print(sys.loaded)
if 'part' not in globals(): import part
print(part.value, sys.loaded)
"""
    assert python(code) == expected.split()


def test_a_module_that_is_not_installed_is_missed_at_once():
    code = """
from esrun.backend.deferred import deferred
try:
    with deferred('no_such_module'):
        import no_such_module
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert python(code) == ["no_such_module"]
