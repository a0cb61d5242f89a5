"""What the modules of `dae` import: only what lies below them, and nothing that sets things up."""

import ast
import graphlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sources import read_sources

import dae

MAY_IMPORT = {
    "commands": {"training", "reports", "models", "compiler", "random", "datasets", "_files"},
    "estimator": {"training", "datasets"},
    "training": {"models", "compiler", "random", "datasets", "_files"},
    "models": {"compiler", "random"},
    "compiler": {"_machine_code"},
    "random": {"_machine_code"},
    "reports": set(),
    "datasets": {"_files"},
    "_machine_code": set(),
    "_files": set(),
    "__init__": set(),
}
"""The folders and modules of `dae`, and what each imports at the most, apart from itself.

Not in it are the modules that start a command: `dae.train` imports `dae.commands`.
"""


class WithoutTypes(ast.NodeTransformer):
    """Takes out of a source what only type checkers read."""

    def visit_If(self, node):
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def imports(source, modules):
    """Yield the modules of `dae` that a source imports, also within functions.

    What is imported from a package is that package, if it is not a module in it. The names that
    `dae` itself looks up when they are used, such as `dae.load_data`, are none of these modules.
    What only type checkers import, under ``if TYPE_CHECKING``, is left out.
    """
    for node in ast.walk(WithoutTypes().visit(ast.parse(source))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names = [f"{base}.{alias.name}" for alias in node.names]
            if base != "dae":
                names = [name if name in modules else base for name in names]
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "dae":
            names = [f"dae.{node.attr}"]
        for name in names:
            if name.startswith(("dae.", ".")) and name != "dae.__version__":
                yield name


def import_graph(sources):
    return {name: set(imports(source, sources)) for name, source in sources.items()}


def violations(sources):
    """The imports that the table does not allow, and those of private modules from elsewhere."""
    found = []
    for name, imported in import_graph(sources).items():
        room = [*name.split("."), "__init__"][1]
        allowed = {"commands"} if f"dae.commands.{room}" in sources else MAY_IMPORT.get(room)
        if allowed is None:
            found.append(f"{name} is not in the table")
            continue
        for other in sorted(imported):
            folder, _, last = other.rpartition(".")
            if other not in sources:
                found.append(f"{name} imports {other}, which is no module")
            elif other.split(".")[1] not in {*allowed, room}:
                found.append(f"{name} imports {other}, which is not below it")
            elif last.startswith("_") and not f"{name}.".startswith(f"{folder}."):
                found.append(f"{name} imports {other}, which is private")
    return found


def cycle(sources):
    """The modules of an import cycle, or None."""
    try:
        graphlib.TopologicalSorter(import_graph(sources)).prepare()
    except graphlib.CycleError as error:
        return error.args[1]


def test_imports_lead_downwards():
    sources = read_sources()
    assert {[*name.split("."), "__init__"][1] for name in sources} >= MAY_IMPORT.keys()
    assert violations(sources) == []


def test_imports_have_no_cycles():
    assert cycle(read_sources()) is None


GOOD = {
    "dae": "import math\nfrom importlib import import_module\n__version__ = '1'",
    "dae.train": "from dae.commands.train import main",
    "dae.commands": "",
    "dae.commands.train": "import dae\ndae.__version__\nfrom dae.training import fit",
    "dae.training": "from dae.training._loop import fit",
    "dae.training._loop": "from dae import datasets\nfrom dae._files import atomic_write",
    "dae.datasets": "from dae.datasets._idx import read",
    "dae.datasets._idx": "import dae._files\nimport numpy.random",
    "dae._files": "import os",
}


def test_good_imports_pass():
    assert violations(GOOD) == []
    assert cycle(GOOD) is None


places = pytest.mark.parametrize(
    "place", ["{}", "def f():\n    {}", "class C:\n  def f(self):\n    {}", "if True: {}"]
)


def with_line(name, line, place):
    return GOOD | {name: f"{GOOD.get(name, '')}\n{place.format(line)}"}


@places
@pytest.mark.parametrize(
    ("name", "line", "violation"),
    [
        ("dae.datasets", "import dae.training", "dae.training, which is not below it"),
        ("dae.datasets", "from dae import training", "dae.training, which is not below it"),
        ("dae.datasets", "from dae.training import f", "dae.training, which is not below it"),
        ("dae.training", "from dae.commands import f", "dae.commands, which is not below it"),
        ("dae.training", "import dae; dae.commands.f()", "dae.commands, which is not below it"),
        ("dae.training", "import dae.train", "dae.train, which is not below it"),
        ("dae.train", "import dae.datasets", "dae.datasets, which is not below it"),
        ("dae", "import dae.datasets", "dae.datasets, which is not below it"),
        ("dae._files", "import dae.datasets", "dae.datasets, which is not below it"),
        ("dae.datasets", "import os, dae.training as t", "dae.training, which is not below it"),
        ("dae.training", "from dae import load_data", "dae.load_data, which is no module"),
        ("dae.training", "import dae; dae.load_data()", "dae.load_data, which is no module"),
        ("dae.training", "from ._loop import f", "._loop, which is no module"),
        ("dae.training", "from dae.datasets import _idx", "dae.datasets._idx, which is private"),
        ("dae.training", "import dae.datasets._idx", "dae.datasets._idx, which is private"),
    ],
)
def test_an_import_that_does_not_lead_downwards_is_seen(name, line, violation, place):
    assert violations(with_line(name, line, place)) == [f"{name} imports {violation}"]


def test_what_only_type_checkers_import_may_lead_upwards():
    line = "if TYPE_CHECKING:\n    from dae.training import fit"
    assert violations(with_line("dae.datasets", line, "{}")) == []
    assert cycle(with_line("dae.datasets", line, "{}")) is None


def test_a_module_that_is_not_in_the_table_is_seen():
    assert violations(GOOD | {"dae.attic.roof": ""}) == ["dae.attic.roof is not in the table"]


@places
@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        ("dae.datasets._idx", "from dae.datasets import f", ["dae.datasets", "dae.datasets._idx"]),
        ("dae.commands.train", "import dae.train", ["dae.commands.train", "dae.train"]),
    ],
)
def test_a_cycle_is_seen(name, line, expected, place):
    assert sorted(set(cycle(with_line(name, line, place)))) == expected


# What importing does


def output(program, *arguments):
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(dae.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


# The Numba linker is loaded before, since it brings rewrites of PyTensor's own.
CHANGES = """
import sys
import pytensor
import pytensor.link.numba.dispatch
from pytensor.compile.mode import optdb
from pytensor.graph.rewriting.basic import node_rewriter
from pytensor.graph.rewriting.db import RewriteDatabase

def rewrites(db):
    found = {(db.name, tag, rewrite) for tag, group in db.__db__.items() for rewrite in group}
    inner = {rewrite for _, _, rewrite in found if isinstance(rewrite, RewriteDatabase)}
    return found.union(*map(rewrites, inner))

before = rewrites(optdb), str(pytensor.config)
exec(sys.argv[1])
after = rewrites(optdb), str(pytensor.config)
print(len(before[0]) > 1000, *(a == b for a, b in zip(before, after)))
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import dae.datasets, dae.reports.tiles, dae.reports.curves, dae.random", "True True"),
        (
            "optdb['specialize'].register('dae', node_rewriter(None)(print), 'fast_run')",
            "False True",
        ),
        ("pytensor.config.floatX = 'float32'", "True False"),
    ],
)
def test_data_pictures_and_streams_leave_pytensor_as_it_is(code, expected):
    assert output(CHANGES, code) == f"True {expected}"


@pytest.mark.parametrize(
    ("modules", "loaded"),
    [
        ("dae, dae.datasets, dae.reports.tiles, dae.reports.curves", False),
        ("dae.random", True),
    ],
)
def test_data_and_pictures_do_not_load_pytensor(modules, loaded):
    assert output(f"import sys, {modules}; print('pytensor' in sys.modules)") == str(loaded)
