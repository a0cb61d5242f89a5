"""Machine code is kept, so a change of what it is made from must show in its key."""

import ast
import compileall
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import uuid
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytensor.tensor as pt
import pytest
from pytensor.link.numba.dispatch.basic import numba_funcify_and_cache_key

import dae
from dae import RandomStreams, _machine_code
from dae.compiler import _block, _copies, _gemm, _kernels, _matrix, _threads, ops

RECORD = Path(__file__).with_name("data") / "machine_code_versions.json"
MODULES = [
    "_machine_code",
    "compiler._threads",
    "compiler._kernels",
    "compiler._gemm",
    "compiler._block",
    "compiler._copies",
    "compiler._matrix",
    "compiler.ops",
    "random._twister",
    "random.ops",
]


def digest(source):
    """The SHA-256 of a module's code: comments, docstrings and layout do not count."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            is_text = [
                isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
                for statement in body
            ]
            kept = [s for s, text in zip(body, is_text, strict=True) if not text]
            node.body = [
                statement
                for statement in kept
                if not (
                    isinstance(statement, ast.Assign)
                    and getattr(statement.targets[0], "id", None) == "VERSION"
                )
            ] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


@pytest.mark.parametrize("name", MODULES)
def test_code_that_changes_has_a_new_version(name):
    module = importlib.import_module(f"dae.{name}")
    actual = digest(Path(module.__file__).read_text(encoding="utf-8"))
    recorded = json.loads(RECORD.read_text())[name].get(str(module.VERSION))
    assert actual == recorded, (
        f"the code of {module.__name__} is not what version {module.VERSION} was: raise its "
        f'VERSION, and record "{module.VERSION + 1}": "{actual}" in {RECORD.name}'
    )


def test_the_digest_sees_code_and_nothing_else():
    source = '"""Text."""\nVERSION = 1\ndef f(x):\n    """Text."""\n    return x + 1  # why\n'
    same = 'VERSION = 2\ndef f(x):\n\n    return (x + 1)\n"""Text."""\n'
    assert digest(source) == digest(same)
    assert digest(source) != digest(source.replace("+", "-"))


@pytest.mark.parametrize(
    "module", [_machine_code, _threads, _kernels, _gemm, _block, _copies, _matrix, ops]
)
def test_a_new_version_is_a_new_key(module, monkeypatch):
    node = ops.Gemm()(0, 1, pt.dmatrix(), pt.dmatrix()).owner
    _, before = numba_funcify_and_cache_key(node.op, node)
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    _, after = numba_funcify_and_cache_key(node.op, node)
    assert before != after


def test_keys_tell_ops_apart():
    rng = RandomStreams(1)
    a, A = pt.dvector(), pt.dmatrix()
    nodes = [
        *(ops.Gemm(*flags)(0, 1, A, A).owner for flags in np.ndindex(2, 2)),
        ops.Gemm(inplace=True)(A, 1, A, A).owner,
        ops.Gemm()(0, 1, A, A, A, A).owner,
        ops.sigmoid(a).owner,
        ops.column_sum(A).owner,
        ops.cross_entropy(A, A)[0].owner,
        ops.log_likelihood(A, pt.lvector(), 1)[0].owner,
        ops.row_argmax(A).owner,
        *(rng.uniform((2,) * ndim).owner for ndim in range(3)),
        rng.uniform((2,), dtype="float32").owner,
        rng.normal((2,)).owner,
        rng.binomial((2,)).owner,
    ]
    keys = [numba_funcify_and_cache_key(node.op, node)[1] for node in nodes]
    assert None not in keys
    assert len(set(keys)) == len(keys)


@pytest.fixture
def new_libraries(monkeypatch):
    """As if nothing had been compiled in this process, but the cache on disk is that of others."""
    monkeypatch.setattr(_machine_code, "_libraries", {})


def double(a):
    for i in range(a.size):
        a[i] *= 2


def test_a_loop_is_compiled_once_and_kept(new_libraries, monkeypatch):
    compiled = []

    def count(*args):
        compiled.append(args[2].__name__)
        return call_compiled(*args)

    call_compiled = _machine_code.call_compiled
    monkeypatch.setattr(_machine_code, "call_compiled", count)
    module = SimpleNamespace(__name__="somewhere", VERSION=uuid.uuid4().int)  # not kept before
    for version in (module.VERSION, module.VERSION, module.VERSION + 1):
        module.VERSION = version
        _machine_code._libraries.clear()
        loop = _machine_code.compiled_loop(
            "dae_test_double", numba.njit(double), [_machine_code.array_type("float64", 1)], module
        )

        @numba.njit
        def function(a, loop=loop):
            loop((a,))

        a = np.arange(5.0)
        function(a)
        assert a.tolist() == [0, 2, 4, 6, 8]
    assert compiled == ["double"] * 2


def test_loops_take_no_arrays_of_other_types(new_libraries):
    module = SimpleNamespace(__name__="somewhere", VERSION=1)
    loop = _machine_code.compiled_loop(
        "dae_test_double", numba.njit(double), [_machine_code.array_type("float64", 1)], module
    )

    @numba.njit
    def function(a):
        loop((a,))

    for a in (np.zeros(3, np.float32), np.zeros((3, 3)), np.zeros(6)[::2]):
        with pytest.raises(numba.core.errors.TypingError, match="dae_test_double takes array"):
            function(a)


def test_without_pytensor_s_cache():
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", STEP],
        env=os.environ | {"PYTENSOR_FLAGS": f"{os.environ['PYTENSOR_FLAGS']},numba__cache=False"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr


STEP = """
import numpy as np, pytensor, dae
da = dae.DenoisingAutoencoder(np.random.RandomState(1), n_visible=6, n_hidden=3)
cost, updates = da.get_cost_updates(0.3, 0.1)
print(dae.__file__, float(pytensor.function([da.x], cost, updates=updates)(np.ones((4, 6)))))
"""


@pytest.mark.parametrize("kind", ["zip", "without sources"])
def test_a_step_compiles_where_its_sources_cannot_be_read(kind, tmp_path):
    package = shutil.copytree(
        Path(dae.__file__).parent, tmp_path / "dae", ignore=shutil.ignore_patterns("__pycache__")
    )
    place, options = tmp_path, []
    if kind == "zip":
        place = tmp_path / "dae.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for path in package.rglob("*.py"):
                archive.write(path, path.relative_to(tmp_path))
        shutil.rmtree(package)
    else:
        compileall.compile_dir(package, legacy=True, optimize=2, quiet=1)
        for path in package.rglob("*.py"):
            path.unlink()
        options = ["-OO"]
    flags = f"{os.environ['PYTENSOR_FLAGS']},floatX=float64"
    process = subprocess.run(
        [sys.executable, *options, "-W", "error", "-c", STEP],
        env=os.environ | {"PYTHONPATH": str(place), "PYTENSOR_FLAGS": flags},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    file, cost = process.stdout.split()
    assert file.startswith(str(place))
    assert np.isfinite(float(cost))
