"""The threads among which the loops of a step are divided.

A piece of work is a number of blocks, each of which makes another part of a result. Whoever is
free takes the next block, so no number of threads changes a digit, and a thread that the system
holds up delays the others by one block at most. The threads are made for the first piece of work
that is large enough, and again in a forked process. They fall asleep when there has been nothing
to do for a while. What they do is in `_thread_pool`; here is how many there are, and how Numba's
functions call them.

Numba's own threads do not do: they end the process when two threads of Python call at once, or
after a fork, as the case may be.
"""

import math
import operator
import os
import re
import sys
from pathlib import Path

from llvmlite import ir
from numba.core import types
from numba.core.cgutils import (
    alloca_once,
    alloca_once_value,
    bool_t,
    get_or_insert_function,
    int32_t,
    intp_t,
    voidptr_t,
)
from numba.core.registry import cpu_target

from dae._machine_code import call_compiled, written_loop
from dae.compiler import _matrix
from dae.compiler._block import registers
from dae.compiler._matrix import larger, number, share_of, smaller
from dae.compiler._thread_pool import Pool

VERSION = 8
"""See `dae._machine_code.cache_key`."""

SHARED, BLOCK, LONG = 70_000, 10_000, 250_000
"""Nanoseconds that work must take in one thread to be divided; that a block takes at least; and
that one takes at least where a thread has more than one.

The first is more than what is lost when another core has written what this one reads next. The
last is for small matrices, which stay in the caches of the cores: with a block for each thread,
each makes about the same part of everything.
"""

BLOCKS = 4
"""Blocks for each thread, at most: so many that one is soon done, so few that little is done
twice."""


def usable_cores():
    """Return how many cores this process may keep busy.

    Returns
    -------
    int
        What its affinity and the limits of its container leave, at least 1.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, math.floor(min(cores, container_limit())))


def container_limit(proc=Path("/proc/self/cgroup"), root=Path("/sys/fs/cgroup")):
    """Return the share of the processors that the control groups of this process allow.

    Parameters
    ----------
    proc : Path, default="/proc/self/cgroup"
        Where Linux says which groups those are.
    root : Path, default="/sys/fs/cgroup"
        Where their files are.

    Returns
    -------
    float
        In processors; infinite if there is no limit.
    """
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return math.inf
    limits = [math.inf]
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        # Inside a container, the path may be one that can only be seen from outside.
        place = top / group.lstrip("/")
        for folder in [place, *place.parents]:
            limits.append(limit_of(folder))
            if folder == top:
                break
    return min(limits)


def limit_of(folder):
    """Return the limit that is set in the folder of a control group, in processors."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        quota = math.inf if quota.strip() in ("max", "-1") else int(quota)
        return quota / int(period)
    except (OSError, ValueError):
        return math.inf


def default_threads():
    """Return the number of threads that are used when nobody has set one.

    Returns
    -------
    int
        That of the environment variable ``OMP_NUM_THREADS``, if it is one, else `usable_cores`.
    """
    # OpenMP allows for a list, a number for each level of nested parallel regions.
    match = re.match(r"\s*0*([1-9]\d{0,5})\s*(,|$)", os.environ.get("OMP_NUM_THREADS", ""))
    return int(match[1]) if match else usable_cores()


_pool = Pool(has_threads=os.name == "posix")


def get_num_threads():
    """Return how many threads compiled functions may use, with the one that calls them.

    Returns
    -------
    int

    Examples
    --------
    >>> get_num_threads() > 0
    True
    """
    return _pool.threads.value


def set_num_threads(threads):
    """Set how many threads compiled functions may use, with the one that calls them.

    It holds for all functions of this process and of those that are forked from it. The results
    are the same to the last bit, whatever the number. Small operations take one thread in any
    case, and so does everything on Windows.

    Parameters
    ----------
    threads : int or None
        None for the default: the environment variable ``OMP_NUM_THREADS`` if it is set, else the
        number of cores that the process may use.

    Raises
    ------
    TypeError
        If it is not a whole number.
    ValueError
        If it is less than 1.

    Examples
    --------
    >>> from dae.compiler import get_num_threads, set_num_threads
    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    >>> set_num_threads(None)
    """
    number = default_threads() if threads is None else operator.index(threads)
    if number < 1:
        raise ValueError(f"the number of threads is {threads}; it must be at least 1")
    if _pool.has_threads:
        _pool.threads.value = number


set_num_threads(None)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.reset)


def wanted_blocks(builder, nanoseconds):
    """Return in how many blocks to divide work that takes so long in one thread.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    nanoseconds : llvmlite.ir.Value

    Returns
    -------
    llvmlite.ir.Value
    """
    blocks = alloca_once_value(builder, number(1))
    with builder.if_then(builder.icmp_signed(">=", nanoseconds, number(SHARED))):
        kind = ir.FunctionType(intp_t, [])
        threads = builder.call(get_or_insert_function(builder.module, kind, "dae_threads"), [])
        sharers = smaller(builder, threads, builder.sdiv(nanoseconds, number(BLOCK)))
        share = builder.sdiv(nanoseconds, sharers)
        each = smaller(builder, larger(builder, builder.sdiv(share, number(LONG)), 1), BLOCKS)
        has_others = builder.icmp_signed(">", threads, number(1))
        many = builder.select(has_others, builder.mul(sharers, each), number(1))
        builder.store(many, blocks)
    return builder.load(blocks, typ=intp_t)


def shared_loop(name, function, arguments, nanoseconds, *modules):
    """Compile a loop in Numba once, as `compiled_loop`, for the threads of `set_num_threads`.

    Parameters
    ----------
    name : str
    function : callable
        Compiled by Numba; it returns nothing, and raises nothing. It takes the first index and the
        one after the last (uint64), along the first axis of the first array, and the arrays. The
        indices have no sign, since Numba takes a negative one for one from the end: LLVM would then
        look for the place of each number of a vector.
    arguments : sequence of numba.types.Array
        What it takes.
    nanoseconds : int
        For each vector register of the first array, in one thread, about.
    *modules : module

    Returns
    -------
    callable
        As of `written_loop`.
    """

    def write(library, builder, *values):
        def write_block(builder, index, n, blocks, *values):
            start, length = share_of(builder, n, 1, index, blocks)
            kinds = [types.uint64, types.uint64, *arguments]
            stop = builder.add(start, length)
            call_compiled(library, builder, function, kinds, [start, stop, *values])

        context = cpu_target.target_context
        first = context.make_array(arguments[0])(context, builder, values[0])
        n = builder.extract_value(first.shape, 0)
        work = builder.mul(builder.mul(first.nitems, first.itemsize), number(nanoseconds))
        blocks = wanted_blocks(builder, builder.sdiv(work, number(registers()[0])))
        blocks = smaller(builder, n, blocks)
        write_shared(builder, blocks, [n, blocks, *values], write_block)
        return bool_t(False)

    return written_loop(name, arguments, write, sys.modules[__name__], _matrix, *modules)


def write_shared(builder, blocks, values, write_block):
    """Write code that does a piece of work in threads.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    blocks : llvmlite.ir.Value
        The number of blocks; minus the number of them, if they are too little work to be shared.
    values : sequence of llvmlite.ir.Value
        What they depend on.
    write_block : callable
        Takes a builder, the number of a block and the values; writes the code of the block.
    """
    # The threads call a function of C, which finds the values in memory.
    record = ir.LiteralStructType([value.type for value in values])
    place = alloca_once(builder, record)
    for value, field in zip(values, fields(builder, place, record), strict=True):
        builder.store(value, field)

    kind = ir.FunctionType(ir.VoidType(), [voidptr_t, intp_t])
    block = ir.Function(builder.module, kind, builder.module.get_unique_name("dae_block"))
    block.linkage = "internal"
    inside = ir.IRBuilder(block.append_basic_block())
    place_inside = inside.bitcast(block.args[0], record.as_pointer())
    pairs = zip(fields(inside, place_inside, record), record.elements, strict=True)
    write_block(inside, block.args[1], *(inside.load(field, typ=kind) for field, kind in pairs))
    inside.ret_void()

    kind = ir.FunctionType(ir.VoidType(), [voidptr_t, voidptr_t, intp_t])
    dae_share = get_or_insert_function(builder.module, kind, "dae_share")
    builder.call(dae_share, [*(builder.bitcast(p, voidptr_t) for p in (block, place)), blocks])


def fields(builder, place, record):
    """Yield pointers to the elements of a record in memory."""
    for i, element in enumerate(record.elements):
        field = builder.gep(place, [int32_t(0), int32_t(i)], source_etype=record)
        yield builder.bitcast(field, element.as_pointer())
