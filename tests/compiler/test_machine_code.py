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
import zipfile
from pathlib import Path

import numpy as np
import pytensor.tensor as pt
import pytest
from pytensor.link.numba.dispatch.basic import numba_funcify_and_cache_key

import dae
from dae import RandomStreams
from dae.compiler import _gemm, _kernels, _threads, ops

RECORD = Path(__file__).with_name("data") / "machine_code_versions.json"
MODULES = [
    "compiler._threads",
    "compiler._kernels",
    "compiler._gemm",
    "compiler.ops",
    "random._twister",
    "random.streams",
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


@pytest.mark.parametrize("module", [_threads, _kernels, _gemm, ops])
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
        *(rng.uniform((2,) * ndim).owner for ndim in range(3)),
        rng.uniform((2,), dtype="float32").owner,
        rng.normal((2,)).owner,
        rng.binomial((2,)).owner,
    ]
    keys = [numba_funcify_and_cache_key(node.op, node)[1] for node in nodes]
    assert None not in keys
    assert len(set(keys)) == len(keys)


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
