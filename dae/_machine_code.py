"""The keys of the machine code of our ops in PyTensor's cache on disk."""

import sys

from pytensor.link.numba.dispatch.basic import default_hash_key_from_props


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
    modules = (sys.modules[type(op).__module__], *loops)
    versions = tuple((module.__name__, module.VERSION) for module in modules)
    return default_hash_key_from_props(op, versions=versions, **facts)
