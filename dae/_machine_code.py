"""The keys under which PyTensor keeps the machine code of our ops."""

import sys

from pytensor.link.numba.dispatch.basic import default_hash_key_from_props


def cache_key(op, *loops, **facts):
    """Return the key under which PyTensor keeps the machine code of an op.

    Every module that a compiled op is made of has a ``VERSION``, raised with every change of the
    code there: machine code made from older code is stale. The sources themselves cannot tell:
    they may not be there, or lie elsewhere.

    Parameters
    ----------
    op : Op
        The module that defines it has a ``VERSION``.
    *loops : module
        The modules of its inner loops, each with a ``VERSION``.
    **facts
        What else the code depends on, beside the dtypes of the arguments.

    Returns
    -------
    str
    """
    modules = (sys.modules[type(op).__module__], *loops)
    versions = tuple((module.__name__, module.VERSION) for module in modules)
    return default_hash_key_from_props(op, versions=versions, **facts)
