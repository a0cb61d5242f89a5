"""Whatever the number of threads, and whoever else has threads, the digits are the same."""

import math
import os
import subprocess
import sys
import textwrap
import threading

import numba
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numba.core import types
from numba.core.cgutils import unpack_tuple
from numba.extending import intrinsic
from numpy.testing import assert_array_equal

from dae.compiler import _threads, get_num_threads, ops, set_num_threads

pytestmark = pytest.mark.skipif(os.name != "posix", reason="there are no threads of POSIX")

TRANSPOSES = [(False, False), (False, True), (True, False), (True, True)]
SIZES = st.integers(1, 400)


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    """Three threads, which are used however long others keep the cores busy."""
    before, penalty = get_num_threads(), _threads._pool.penalty.value
    _threads._pool.penalty.value = 0
    set_num_threads(3)
    yield
    _threads._pool.penalty.value = penalty
    set_num_threads(before)


@pytest.fixture(scope="module")
def functions():
    """Functions of PyTensor, for each dtype: a product for each pair of transposes; the others."""
    compiled = {}
    for dtype in ["float32", "float64"]:
        a, b, c = (pt.matrix(dtype=dtype) for _ in range(3))
        for transposes in TRANSPOSES:
            product = ops.Gemm(*transposes)(c, np.array(-0.3, dtype), a, b)
            compiled[dtype, transposes] = pytensor.function([c, a, b], product)
        left, right = a[::3], b[::3]
        two = ops.Gemm(True)(c, np.array(-0.3, dtype), a, b, left, right)
        compiled[dtype, "two"] = pytensor.function([c, a, b], two)
        others = [ops.sigmoid(a), *ops.cross_entropy(b, a), ops.column_sum(a)]
        compiled[dtype] = pytensor.function([a, b], others)
    return compiled


def with_threads(number, function, *args):
    set_num_threads(number)
    return function(*args)


@intrinsic
def share(typing, function, blocks, arguments):
    """Call ``function(i, *arguments)`` in threads, for all i below a number of blocks."""
    signature = function.get_call_type(typing, (types.intp, *arguments.types), {})
    compiled = function.dispatcher.get_compile_result(signature)

    def write(context, builder, _, args):
        def write_block(builder, index, *values):
            context.add_linking_libs([compiled.library])
            context.call_internal_no_propagate(
                builder, compiled.fndesc, signature, [index, *values]
            )

        _threads.write_shared(builder, args[1], unpack_tuple(builder, args[2]), write_block)
        return context.get_dummy_value()

    return types.void(function, blocks, arguments), write


@intrinsic
def write_wanted_blocks(_, nanoseconds):
    def write(context, builder, signature, args):
        return _threads.wanted_blocks(builder, *args)

    return types.intp(types.intp), write


@numba.njit
def wanted_blocks(nanoseconds):
    return write_wanted_blocks(nanoseconds)


dae_threads = types.ExternalFunction("dae_threads", types.intp())
pthread_self = types.ExternalFunction("pthread_self", types.uintp())
sched_yield = types.ExternalFunction("sched_yield", types.int32())


@numba.njit
def note_thread(i, started, ids, seen):
    """Note which thread does a block, and wait until as many blocks have begun as may at once."""
    ids[i] = pthread_self()
    started[i] = 1
    for _ in range(10_000_000):
        if started.sum() >= seen:
            break
        sched_yield()


@numba.njit
def thread_ids(blocks, seen):
    started, ids = np.zeros(blocks, np.int64), np.zeros(blocks, np.uintp)
    share(note_thread, blocks, (started, ids, seen))
    return ids


@pytest.mark.parametrize("number", [1, 7, 2, 3])
def test_as_many_threads_work_as_was_said(number):
    set_num_threads(number)
    assert get_num_threads() == number
    ids = thread_ids(40, number)
    assert len(set(ids)) == number
    assert threading.get_ident() in ids


@settings(deadline=None, max_examples=40)
@given(blocks=st.integers(0, 50), number=st.sampled_from([1, 2, 3, 7]))
def test_every_block_is_done_once(blocks, number):
    set_num_threads(number)
    assert np.all(thread_ids(blocks, 1) > 0)


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.tuples(SIZES, SIZES, SIZES),
    dtype=st.sampled_from(["float32", "float64"]),
    transposes=st.sampled_from(TRANSPOSES),
    in_order=st.sampled_from(["CCC", "FFF"]),  # all others are tests of layouts
    seed=st.integers(0, 2**32 - 1),
)
def test_products(functions, sizes, dtype, transposes, in_order, seed):
    m, n, k = sizes
    assume(m * n * k > 3_500_000)  # less is not divided
    rng = np.random.default_rng(seed)
    shapes = [(m, n), (k, m) if transposes[0] else (m, k), (n, k) if transposes[1] else (k, n)]
    c, a, b = (
        np.asarray(rng.normal(size=shape).astype(dtype), order=order)
        for shape, order in zip(shapes, in_order, strict=True)
    )
    function = functions[dtype, transposes]
    one = with_threads(1, function, c, a, b)
    left, right = (x.T if t else x for x, t in zip((a, b), transposes, strict=True))
    expected = c + np.array(-0.3, dtype) * (left @ right)
    bound = np.finfo(dtype).eps * (k + 3) * (np.abs(c) + 0.3 * (np.abs(left) @ np.abs(right)))
    assert np.all(np.abs(one - expected) <= 2 * bound)  # both may be off
    for number in [2, 3, 7]:
        assert_array_equal(with_threads(number, function, c, a, b), one)


@settings(deadline=None, max_examples=30)
@given(
    m=st.integers(1, 700),
    n=st.integers(1, 900),
    dtype=st.sampled_from(["float32", "float64"]),
    order=st.sampled_from("CF"),
    seed=st.integers(0, 2**32 - 1),
)
def test_other_ops(functions, m, n, dtype, order, seed):
    rng = np.random.default_rng(seed)
    a = np.asarray(rng.normal(size=(m, n)).astype(dtype), order=order)
    x = rng.uniform(size=(m, n)).astype(dtype)
    one = with_threads(1, functions[dtype], a, x)
    for number in [2, 3, 7]:
        for actual, expected in zip(with_threads(number, functions[dtype], a, x), one, strict=True):
            assert_array_equal(actual, expected)


@settings(deadline=None, max_examples=20)
@given(
    sizes=st.tuples(*[st.integers(100, 800)] * 2, st.integers(1, 300)),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_two_products(functions, sizes, dtype, seed):
    m, n, k = sizes
    assume(m * n * k > 3_500_000)
    rng = np.random.default_rng(seed)
    c, a, b = (rng.normal(size=s).astype(dtype) for s in [(m, n), (k, m), (k, n)])
    parts = c
    for left, right in [(a, b), (a[::3], b[::3])]:
        parts = with_threads(1, functions[dtype, (True, False)], parts, left, right)
    for number in [1, 2, 3, 7]:
        assert_array_equal(with_threads(number, functions[dtype, "two"], c, a, b), parts)


def test_small_work_is_divided_into_few_blocks():
    assert wanted_blocks(_threads.SHARED - 1) == 1
    assert wanted_blocks(_threads.SHARED) == 3
    assert wanted_blocks(2 * 3 * _threads.LONG - 1) == 3
    assert wanted_blocks(2 * 3 * _threads.LONG) == 6
    assert wanted_blocks(10**9) == 3 * _threads.BLOCKS
    set_num_threads(100)
    assert wanted_blocks(_threads.SHARED) == _threads.SHARED // _threads.BLOCK
    set_num_threads(1)
    assert wanted_blocks(10**9) == 1


def test_several_threads_of_python_call_at_once():
    @numba.njit(nogil=True)
    def ids_without_gil(blocks):
        started, ids = np.zeros(blocks, np.int64), np.zeros(blocks, np.uintp)
        share(note_thread, blocks, (started, ids, 1))
        return ids

    ids_without_gil(1)
    failed = []

    def call():
        for blocks in range(200):
            ids = ids_without_gil(blocks)
            if np.any(ids == 0):
                failed.append(ids)

    callers = [threading.Thread(target=call) for _ in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not failed


@numba.njit
def hold(i, caller, spins, seen):
    """Do nothing for long, in any thread but the caller's."""
    seen[i] = pthread_self() != caller
    while seen[i] and spins[i] > 0:
        spins[i] -= 1


def test_threads_that_have_to_be_waited_for_are_not_used_for_a_while():
    @numba.njit
    def others(blocks, spins):
        seen = np.zeros(blocks, np.bool_)
        share(hold, blocks, (pthread_self(), np.full(blocks, spins), seen))
        return seen.any(), dae_threads()

    _threads._pool.penalty.value = 1_000_000
    # Another process that takes this core away is waited for as well as a thread with a block.
    for _ in range(10_000):
        _, threads = others(100_000, 3_000_000)
        if threads == 1:
            break
    else:
        pytest.fail("nothing had to be waited for")
    assert {others(100_000, 3_000_000) for _ in range(30)} == {(False, 1)}
    _threads._pool.alone_until.value = 0


PRELUDE = """
import os
import numpy as np, pytensor, pytensor.tensor as pt
from dae.compiler import _threads, get_num_threads, ops, set_num_threads

a, b = pt.fmatrix(), pt.fmatrix()
rng = np.random.default_rng(1)
left, right = (rng.normal(size=(400, 400)).astype("float32") for _ in range(2))

def product(threads=None):
    _threads._pool.penalty.value = 0
    if threads is not None:
        set_num_threads(threads)
    function = pytensor.function([a, b], ops.Gemm()(0, 1, a, b))
    results = {function(left, right).tobytes() for _ in range(20)}
    assert len(results) == 1
    return results.pop()

def native_threads():
    return len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else None
"""


def run(script, **environment):
    """Run a script in a process of its own, and return what it prints."""
    process = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.split()


def test_forked_processes():
    script = """
        expected = product(1)
        assert product(3) == expected
        before = native_threads()
        for _ in range(3):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    assert native_threads() in (1, None)
                    assert get_num_threads() == 3
                    assert product() == expected
                    assert native_threads() in (3, None)
                    grandchild = os.fork()
                    if grandchild == 0:
                        os._exit(product() != expected)
                    assert os.waitpid(grandchild, 0)[1] == 0
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
            assert product() == expected
        assert native_threads() == before
        print("done")
    """
    # NumPy's BLAS ends its own threads when a process forks.
    assert run(script, OPENBLAS_NUM_THREADS="1") == ["done"]


def test_processes_end_while_threads_look_for_work():
    for _ in range(5):
        assert run("product(7); print('done')") == ["done"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("3", 3), (" 2 ", 2), ("4,2", 4), ("", None), ("0", None), ("many", None), ("-1", None)],
)
def test_omp_num_threads(value, expected, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    set_num_threads(None)
    assert get_num_threads() == (expected or _threads.usable_cores())


def test_processes_begin_with_what_omp_num_threads_says():
    assert run("print(get_num_threads())", OMP_NUM_THREADS="5") == ["5"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no affinity")
def test_affinity(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    script = """
        [core, *_] = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        set_num_threads(None)
        print(get_num_threads())
    """
    assert run(script) == ["1"]


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/box/a\n", {"box/cpu.max": "150000 100000\n", "box/a/cpu.max": "max 100000\n"}, 1.5),
        ("0::/box/a\n", {"box/a/cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/../outside\n", {"cpu.max": "300000 100000\n"}, 3),
        (
            "4:cpu,cpuacct:/box\n3:memory:/box\n",
            {"cpu/box/cpu.cfs_quota_us": "200000\n", "cpu/box/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        (
            "4:cpu,cpuacct:/box\n",
            {"cpu/box/cpu.cfs_quota_us": "-1\n", "cpu/box/cpu.cfs_period_us": "100000\n"},
            math.inf,
        ),
        ("0::/\n", {"cpu.max": "nonsense\n"}, math.inf),
        ("", {}, math.inf),
    ],
)
def test_limits_of_containers(lines, files, expected, tmp_path):
    proc, root = tmp_path / "cgroup", tmp_path / "root"
    proc.write_text(lines)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert _threads.container_limit(proc, root) == expected
    assert _threads.container_limit(tmp_path / "missing", root) == math.inf


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-3, ValueError), (1.5, TypeError), ("2", TypeError)]
)
def test_bad_numbers_of_threads(value, error):
    with pytest.raises(error):
        set_num_threads(value)
    assert get_num_threads() == 3


def test_without_threads_of_posix():
    script = """
        before = product(3)
        pool = _threads.Pool(has_threads=False)
        _threads._pool = pool
        set_num_threads(4)
        assert get_num_threads() == 1
        pool.reset()
        print("done")
    """
    assert run(script) == ["done"]


def test_joblib():
    pytest.importorskip("joblib")
    script = """
        import joblib

        def task(_):
            return product(), get_num_threads(), os.environ.get("OMP_NUM_THREADS")

        expected = product(1)
        for inner in (None, 3):
            with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=inner):
                for result, threads, told in joblib.Parallel()(
                    joblib.delayed(task)(i) for i in range(4)
                ):
                    assert result == expected
                    assert threads == int(told)
                    assert inner in (None, threads)
        print("done")
    """
    assert run(script) == ["done"]


def test_dask():
    pytest.importorskip("distributed")
    script = """
        from dask.distributed import Client

        expected = product(1)
        set_num_threads(3)

        def task(_):
            import threading
            from numba.core.compiler_lock import global_compiler_lock

            # The arguments of a call lie in the function until it ends: each thread has its own.
            thread = threading.current_thread()
            if not hasattr(thread, "function"):
                with global_compiler_lock:
                    thread.function = pytensor.function([a, b], ops.Gemm()(0, 1, a, b))
            return thread.function(left, right).tobytes() == expected

        with Client(
            processes=False, n_workers=1, threads_per_worker=4, dashboard_address=None
        ) as client:
            assert all(client.gather(client.map(task, range(100))))
        print("done")
    """
    assert run(script)[-1] == "done"
