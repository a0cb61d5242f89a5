"""PyTensor's Numba linker, in the process of the tests: it compiles a function once.

So as to keep a function on disk, PyTensor compiles it twice, once more within a wrapper that can
be kept. With more than a thousand functions that was a sixth of the time that the tests took. Here
functions are kept in memory, by the same key; only their operations go to disk, where the other
processes of the tests find them. Those compile as ever: the commands, notebooks and documentation.
"""

from contextlib import nullcontext

import pytensor
from numba.core import event
from pytensor.link.numba.dispatch.basic import (
    get_numba_type,
    numba_funcify_and_cache_key,
    numba_njit,
)
from pytensor.link.numba.linker import NumbaLinker

_compiled = {}


def _fgraph_convert(_linker, fgraph, **kwargs):
    """As the method of `NumbaLinker`, but for the wrapper."""
    function, key = numba_funcify_and_cache_key(fgraph, **kwargs)
    # The key does not tell these apart; for what is on disk, Numba does.
    types = tuple(get_numba_type(variable.type) for variable in fgraph.inputs)
    return function, key and (key, types, pytensor.config.numba__fastmath)


def _jit_compile(_linker, function_and_key):
    """As the method of `NumbaLinker`."""
    function, key = function_and_key
    if key is None or key not in _compiled:
        # What Python calls; nothing of C does.
        wrappers = {"no_cpython_wrapper": False, "no_cfunc_wrapper": True}
        _compiled[key] = numba_njit(function.py_func, **wrappers)
    return _compiled[key]


def compile_once():
    """Keep the functions that are compiled from now on in memory instead of on disk."""
    NumbaLinker.fgraph_convert = _fgraph_convert
    NumbaLinker.jit_compile = _jit_compile
    # Numba times each call of LLVM, which takes 5 % of compiling.
    event.install_timer = lambda *_: nullcontext()
