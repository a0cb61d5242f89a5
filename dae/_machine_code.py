"""The machine code of our ops: its keys in PyTensor's cache on disk, and loops compiled once.

PyTensor compiles the code of an op into that of each graph, and twice. With the long loops of a
training step, that takes most of the time until the first cost is there. So these are compiled
once on a machine, and called by name.
"""

import sys

import llvmlite.binding
import numpy as np
import pytensor
from llvmlite import ir
from numba import from_dtype
from numba.core import types
from numba.core.caching import NullCache, make_library_cache
from numba.core.cgutils import bool_t, get_or_insert_function, unpack_tuple
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import TypingError
from numba.core.imputils import impl_ret_borrowed, impl_ret_new_ref
from numba.core.registry import cpu_target
from numba.core.typing.npydecl import parse_dtype
from numba.extending import intrinsic
from numba.np.arrayobj import _empty_nd_impl, populate_array
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import default_hash_key_from_props

VERSION = 4
"""See `cache_key`."""

_LibraryCache = make_library_cache("dae")

_libraries: dict = {}
"""The machine code by its names; it must live as long as what calls it."""


def cache_key(op, *loops, **facts):
    """Return the key of the machine code of an op in PyTensor's cache.

    Every module that a compiled op consists of has a ``VERSION``, an int that is raised with every
    change of the code there, since machine code of older code is stale. A hash of the sources
    would not do: they may be missing, or somewhere else.

    Parameters
    ----------
    op : Op
        An op whose module has a ``VERSION``.
    *loops : module
        The modules of its inner loops, each with a ``VERSION``.
    **facts
        Whatever else the code depends on, apart from the dtypes of the arguments.

    Returns
    -------
    str
    """
    versions = versions_of(sys.modules[type(op).__module__], *loops)
    return default_hash_key_from_props(op, versions=versions, **facts)


def versions_of(*modules):
    """Return what tells the machine code of modules, and of this one, from that of older code."""
    modules = (sys.modules[__name__], *modules)
    return tuple((module.__name__, module.VERSION) for module in modules)


@global_compiler_lock
def compile_once(name, arguments, write, *modules):
    """Compile a function of C, unless PyTensor's cache has its machine code.

    After that, all machine code of this process can call it by its name, with `write_c_call`.

    Parameters
    ----------
    name : str
        Its name, with all that the code depends on but for the versions of the modules.
    arguments : sequence of llvmlite.ir.Type
        What it takes.
    write : callable
        Takes a library of Numba's, to link others to, a builder and the arguments; writes the code,
        and returns what the function returns: whether it lacked memory (llvmlite.ir.Value, i1).
    *modules : module
        Those that the code is written by, each with a ``VERSION``.
    """
    if name in _libraries:
        return
    key = "_".join([name, *(str(version) for _, version in versions_of(*modules))])
    # Numba keeps what belongs to a function of Python, and PyTensor says where; this is its name.
    owner = compile_numba_function_src(f"def {name}(): pass", name, cache_key=key)
    cache = _LibraryCache(owner) if pytensor.config.numba__cache else NullCache()
    signature, context = types.void(), cpu_target.target_context
    library = cache.load_overload(signature, context)
    is_new = library is None
    if is_new:
        library = context.codegen().create_library(name)
        library.enable_object_caching()
        module = library.create_ir_module(name)
        function = ir.Function(module, ir.FunctionType(bool_t, arguments), name)
        builder = ir.IRBuilder(function.append_basic_block())
        builder.ret(write(library, builder, *function.args))
        # Numba's passes over functions are left out: those over the module do the same again.
        library._final_module.link_in(llvmlite.binding.parse_assembly(str(module)))
        library.finalize()
    llvmlite.binding.add_symbol(name, library.get_pointer_to_function(name))
    if is_new:
        cache.save_overload(signature, library)
    _libraries[name] = library


def array_type(dtype, ndim):
    """Return Numba's type of a C-contiguous array."""
    return types.Array(from_dtype(np.dtype(dtype)), ndim, "C")


@intrinsic
def flat(_, a):
    """Return a C-contiguous array as a vector, in the same memory.

    `numpy.ravel` would do as well, but takes Numba longer to compile.
    """
    vector = a.copy(ndim=1)

    def write(context, builder, signature, args):
        array = context.make_array(a)(context, builder, args[0])
        result = context.make_array(vector)(context, builder)
        fields = {name: getattr(array, name) for name in ("data", "itemsize", "meminfo", "parent")}
        lengths, steps = [array.nitems], [array.itemsize]
        populate_array(result, shape=lengths, strides=steps, **fields)
        return impl_ret_borrowed(context, builder, vector, result._getvalue())

    return vector(a), write


@intrinsic
def empty(_, shape, dtype):
    """Return a new C-contiguous array of a shape, a tuple of int, and a dtype.

    `numpy.empty` would do as well, but takes Numba longer to compile.
    """
    kind = types.Array(parse_dtype(dtype), len(shape), "C")

    def write(context, builder, signature, args):
        array = _empty_nd_impl(context, builder, kind, unpack_tuple(builder, args[0]))
        return impl_ret_new_ref(context, builder, kind, array._getvalue())

    return kind(shape, dtype), write


@intrinsic(prefer_literal=True)
def first_numbers(_, arrays, n):
    """Return the numbers in the first n of some arrays without dimensions, as a tuple of int."""
    numbers = types.UniTuple(types.intp, n.literal_value)

    def write(context, builder, signature, args):
        places = unpack_tuple(builder, args[0], n.literal_value)
        pairs = zip(places, signature.args[0], strict=False)
        arrays = [context.make_array(kind)(context, builder, place) for place, kind in pairs]
        return context.make_tuple(builder, numbers, [builder.load(a.data) for a in arrays])

    return numbers(arrays, n), write


def compiled_loop(name, function, arguments, *modules):
    """Compile a loop in Numba once, as `compile_once`, and return what calls it.

    Parameters
    ----------
    name : str
    function : callable
        Compiled by Numba; it returns nothing, and raises nothing but MemoryError.
    arguments : sequence of numba.types.Array
        What it takes.
    *modules : module

    Returns
    -------
    callable
        As of `written_loop`.
    """

    def write(library, builder, *values):
        has_failed, _ = call_compiled(library, builder, function, arguments, values)
        return has_failed

    return written_loop(name, arguments, write, *modules)


def written_loop(name, arguments, write, *modules):
    """Compile a function of C that takes arrays, as `compile_once`, and return what calls it.

    Parameters
    ----------
    name : str
    arguments : sequence of numba.types.Array
        What it takes.
    write : callable
        As for `compile_once`.
    *modules : module

    Returns
    -------
    callable
        For code that Numba compiles. It takes the arguments in one tuple; they may be read-only.
    """
    context = cpu_target.target_context
    kinds = [context.get_value_type(argument) for argument in arguments]
    compile_once(name, kinds, write, *modules)

    @intrinsic
    def call(_, given):
        for kind, argument in zip(given.types, arguments, strict=True):
            if kind.copy(readonly=False) != argument:
                raise TypingError(f"{name} takes {argument}; given: {kind}")

        def write_call(context, builder, _, args):
            values = unpack_tuple(builder, args[0])
            triples = zip(values, given.types, arguments, strict=True)
            values = [context.cast(builder, *triple) for triple in triples]
            write_c_call(context, builder, name, values)
            return context.get_dummy_value()

        return types.void(given), write_call

    return call


def call_compiled(library, builder, function, arguments, values):
    """Write a call of what Numba compiles.

    Parameters
    ----------
    library : numba.core.codegen.CodeLibrary
        What the code is written for.
    builder : llvmlite.ir.IRBuilder
    function : numba.core.dispatcher.Dispatcher
    arguments : sequence of numba.types.Type
    values : sequence of llvmlite.ir.Value

    Returns
    -------
    has_failed : llvmlite.ir.Value
        Whether it raised something (i1).
    result : llvmlite.ir.Value
    """
    arguments = tuple(arguments)
    function.compile(arguments)
    compiled = function.overloads[arguments]
    library.add_linking_library(compiled.library)
    status, result = cpu_target.target_context.call_internal_no_propagate(
        builder, compiled.fndesc, compiled.signature, values
    )
    return status.is_error, result


def write_c_call(context, builder, name, values):
    """Write a call of a function of `compile_once`, by its name; it may raise MemoryError.

    Parameters
    ----------
    context : numba.core.base.BaseContext
        That of the code being written.
    builder : llvmlite.ir.IRBuilder
    name : str
    values : sequence of llvmlite.ir.Value
    """
    kind = ir.FunctionType(bool_t, [value.type for value in values])
    lacks_memory = builder.call(get_or_insert_function(builder.module, kind, name), values)
    with builder.if_then(lacks_memory, likely=False):
        message = "no memory for the arrays that a loop works in"
        context.call_conv.return_user_exc(builder, MemoryError, (message,))
