"""PyTensor's compiling with Numba, in the process of the tests.

So as to keep a function on disk, PyTensor compiles it twice, once more within a wrapper that can
be kept; and each operation of each function is read again from there. With more than a thousand
functions that was a third of the time that the tests took. Here a function is compiled once and
kept in memory, by the same key.

Other processes, such as those of the commands, notebooks and documentation, compile as ever.
"""

import pytensor
from pytensor.link.numba.dispatch import basic
from pytensor.link.numba.linker import NumbaLinker

_functions = {}
_entries = {}


def _funcify(op, node=None, **kwargs):
    """As `numba_funcify_ensure_cache`; op may also be a graph, which then has the inputs."""
    function, key = basic.numba_funcify_and_cache_key(op, node=node, **kwargs)
    if key is None:
        return function, None
    # On disk, Numba tells the types of the arguments apart.
    types = tuple(variable.type for variable in (op if node is None else node).inputs)
    kept = _functions.setdefault((key, types, pytensor.config.numba__fastmath), function)
    return kept, key


def _jit_compile(_linker, function_and_key):
    """As the method of `NumbaLinker`."""
    function, _ = function_and_key
    if function not in _entries:
        _entries[function] = basic.numba_njit(function.py_func, final_function=True)
    return _entries[function]


def compile_once():
    """Keep what is compiled from now on in memory instead of on disk."""
    basic.numba_funcify_ensure_cache = _funcify
    NumbaLinker.jit_compile = _jit_compile
