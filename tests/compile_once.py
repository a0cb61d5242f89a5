"""PyTensor, in the process of the tests: the same graph is rewritten and compiled once.

Tests of models and trainings make more than a thousand functions, three quarters of them of graphs
that there have been before, with other shared variables. To rewrite and compile each anew would
take almost twice as long. Here

- a graph that is equal to an earlier one, for PyTensor's own notion of it, becomes a copy of what
  that was rewritten to;
- what calls the operations, one after the other, is compiled without optimizing it. It is kept in
  memory, by PyTensor's key. For the disk, PyTensor would compile it again within a wrapper.

Operations are compiled as ever, and go to disk. So do whole functions in the other processes of
the tests: those of commands, documentation, and notebooks that are executed as they are. Tests of
the compiler itself switch off with `as_ever` what would hide something from them.
"""

from contextlib import contextmanager, nullcontext

import pytensor
from numba.core import config, event
from numba.core.codegen import CPUCodeLibrary
from pytensor.compile.maker import FunctionMaker
from pytensor.graph.basic import clone_get_equiv
from pytensor.graph.destroyhandler import DestroyHandler
from pytensor.graph.utils import MetaType
from pytensor.link.numba.dispatch.basic import (
    get_numba_type,
    numba_funcify_and_cache_key,
    numba_njit,
)
from pytensor.link.numba.linker import NumbaLinker

_rewritten: dict = {}
"""By all that decides what a graph becomes: placeholders for its inputs, its outputs in terms of
them, and whether something in it overwrites what it reads."""

_converted: dict = {}
"""By the same: the function in Python, and its key below."""

_compiled: dict = {}
"""By PyTensor's key: what Numba has made of a function."""

_is_as_ever = False

_prepare_fgraph = FunctionMaker.prepare_fgraph


@contextmanager
def as_ever():
    """Rewrite every graph anew, and have every function optimized as a whole."""
    global _is_as_ever
    _is_as_ever = True
    try:
        yield
    finally:
        _is_as_ever = False


def _copy(inputs, outputs, new_inputs):
    """Return the outputs of a graph in terms of other inputs."""
    memo = dict(zip(inputs, new_inputs, strict=True))
    clone_get_equiv(inputs, outputs, copy_inputs=False, copy_orphans=False, memo=memo)
    return [memo[output] for output in outputs]


def _prepare_once(inputs, outputs, updates, fgraph, mode, profile):
    """As `FunctionMaker.prepare_fgraph`, which rewrites a graph."""
    if _is_as_ever:
        _prepare_fgraph(inputs, outputs, updates, fgraph, mode, profile)
        return
    # All that rewrites see, and what decides which there are.
    facts = [(spec.update is None, spec.mutable, spec.borrow, spec.shared) for spec in inputs]
    facts += [spec.borrow for spec in outputs + updates]
    facts += [*fgraph.update_mapping.items(), mode, pytensor.config.get_config_hash()]
    key = fgraph.freeze(), *facts
    if key not in _rewritten:
        _prepare_fgraph(inputs, outputs, updates, fgraph, mode, profile)
        # Without the shared variables, whose values would stay in memory.
        placeholders = [variable.type() for variable in fgraph.inputs]
        results = _copy(fgraph.inputs, fgraph.outputs, placeholders)
        _rewritten[key] = placeholders, results, hasattr(fgraph, "destroyers")
    else:
        placeholders, results, is_in_place = _rewritten[key]
        if is_in_place:
            fgraph.attach_feature(DestroyHandler())
        for i, result in enumerate(_copy(placeholders, results, fgraph.inputs)):
            fgraph.change_node_input(*fgraph.get_output_client(i), result)
    fgraph.kept_as = key


def _convert_once(_linker, fgraph, **kwargs):
    """As `NumbaLinker.fgraph_convert`, which writes a function in Python, but for the wrapper."""
    place = getattr(fgraph, "kept_as", None)
    if place in _converted:
        return _converted[place]
    function, key = numba_funcify_and_cache_key(fgraph, **kwargs)
    # The key does not tell these apart; for what is on disk, Numba does.
    types = tuple(get_numba_type(variable.type) for variable in fgraph.inputs)
    facts = types, pytensor.config.numba__fastmath, _is_as_ever
    converted = function, key and (key, *facts)
    if place is not None:
        _converted[place] = converted
    return converted


def _compile_once(_linker, function_and_key):
    """As `NumbaLinker.jit_compile`."""
    function, key = function_and_key
    if key is None or key not in _compiled:
        # What Python calls; nothing of C does.
        wrappers = {"no_cpython_wrapper": False, "no_cfunc_wrapper": True}
        _compiled[key] = numba_njit(function.py_func, **wrappers)
    return _compiled[key]


def _with_little_effort(optimize):
    """As a method of `CPUCodeLibrary`, but LLVM leaves the function of a graph as it is."""

    def optimize_little(library, *arguments):
        level = config.OPT
        if "fgraph" in library.name and not _is_as_ever:
            config.OPT = type(level)(0)
        try:
            optimize(library, *arguments)
        finally:
            config.OPT = level

    return optimize_little


def compile_once():
    """Rewrite and compile from now on as said above."""
    FunctionMaker.prepare_fgraph = staticmethod(_prepare_once)
    NumbaLinker.fgraph_convert = _convert_once
    NumbaLinker.jit_compile = _compile_once
    for method in (CPUCodeLibrary._optimize_functions, CPUCodeLibrary._optimize_final_module):
        setattr(CPUCodeLibrary, method.__name__, _with_little_effort(method))
    # That of abstract classes asks, in Python, what was registered as one of PyTensor's: nothing.
    MetaType.__instancecheck__ = type.__instancecheck__
    # Numba times each call of LLVM, which takes 5 % of compiling.
    event.install_timer = lambda *_: nullcontext()
