"""Pickles like the tutorial's ``mnist.pkl.gz``, read without ever running them.

A pickle is a program for a stack machine, and `pickle.load` lets that program call anything it
names. Here the opcodes that a pickled NumPy array needs, and no others, build a tree of plain
values, in which a call is an object of class `Call` and is never carried out. The tree is compared
with what NumPy 1 and 2 write on Python 2 and 3, and the bytes found in it become arrays.
"""

import pickletools
import warnings
from dataclasses import dataclass
from enum import Enum

import numpy as np

from dae.datasets._errors import DataError
from dae.datasets._reader import open_reader

# Six arrays take a few hundred. This alone bounds stack, memo, nesting and time.
MAX_OPCODES = 10_000

# The number of bytes that hold the size of an opcode's argument, where its kind does not fix it.
SIZE_FIELDS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}

# What a program that makes no sense raises while it is followed.
PROGRAM_ERRORS = (AttributeError, IndexError, KeyError, TypeError, ValueError, Warning)

MARK = object()


class Global(Enum):
    """The functions and classes that a pickled array may name; none is imported or called."""

    RECONSTRUCT = "_reconstruct"
    FROMBUFFER = "_frombuffer"
    NDARRAY = "ndarray"
    DTYPE = "dtype"
    ENCODE = "encode"


GLOBALS = {
    "numpy.core.multiarray _reconstruct": Global.RECONSTRUCT,
    "numpy._core.multiarray _reconstruct": Global.RECONSTRUCT,
    "numpy.core.numeric _frombuffer": Global.FROMBUFFER,
    "numpy._core.numeric _frombuffer": Global.FROMBUFFER,
    "numpy ndarray": Global.NDARRAY,
    "numpy dtype": Global.DTYPE,
    "_codecs encode": Global.ENCODE,
}


@dataclass(eq=False)
class Call:
    """A call that the pickle asks for.

    Attributes
    ----------
    function : Global
    arguments : tuple
    state : object
        What ``__setstate__`` of the result would be called with.
    """

    function: Global
    arguments: tuple
    state: object = None


def read_pickle(path):
    """Read three (x, y) pairs of arrays from a pickle, plain or gzipped.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of (ndarray, ndarray)
        Training, validation and test data, of the shapes and dtypes in the file.

    Raises
    ------
    DataError
        If the file is damaged, or is not a pickle of three pairs of arrays of numbers.
    """
    with open_reader(path) as reader:
        try:
            match _run(reader):
                case [[_, _], [_, _], [_, _]] as pairs:
                    return [(_array(x, reader), _array(y, reader)) for x, y in pairs]
        except DataError:
            raise
        except PROGRAM_ERRORS as error:
            raise reader.error("damaged, or not a pickle of arrays") from error
        raise reader.error("expected three pairs, (x, y) of train, valid and test")


def _run(reader):
    """Follow the opcodes and return the tree that they build."""
    stack = []
    memo = {}

    def pop_to_mark():
        start = len(stack) - stack[::-1].index(MARK)
        items = stack[start:]
        del stack[start - 1 :]
        return items

    for _ in range(MAX_OPCODES):
        opcode, argument = _read_opcode(reader)
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                stack.append(MARK)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode == "NEWTRUE")
            case "INT" | "LONG":
                stack.append(int(argument.removesuffix(b"L")))
            case "BININT" | "LONG1":
                stack.append(int.from_bytes(argument, "little", signed=True))
            case "BININT1" | "BININT2":
                stack.append(int.from_bytes(argument, "little"))
            case "STRING":
                stack.append(_unescaped(argument))
            case "SHORT_BINSTRING" | "BINSTRING" | "SHORT_BINBYTES" | "BINBYTES" | "BYTEARRAY8":
                stack.append(argument)
            case "UNICODE":
                stack.append(str(argument, "raw-unicode-escape"))
            case "SHORT_BINUNICODE" | "BINUNICODE":
                stack.append(str(argument, "utf-8"))
            case "EMPTY_LIST":
                stack.append([])
            case "LIST":
                stack.append(pop_to_mark())
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if opcode == "APPEND" else pop_to_mark()
                stack[-1] += items
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(opcode[-1])
                stack[-size:] = [tuple(stack[-size:])]
            case "PUT":
                memo[int(argument)] = stack[-1]
            case "BINPUT" | "LONG_BINPUT":
                memo[int.from_bytes(argument, "little")] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET":
                stack.append(memo[int(argument)])
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[int.from_bytes(argument, "little")])
            case "GLOBAL":
                stack.append(_global(str(argument, "utf-8"), reader))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_global(" ".join([module, name]), reader))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(Call(function, arguments))
            case "BUILD":
                state = stack.pop()
                if not isinstance(stack[-1], Call):
                    raise reader.error("refused: it gives a state to something not an array")
                stack[-1].state = state
            case "STOP":
                reader.check_end()
                (tree,) = stack
                return tree
            case _:
                raise reader.error(f"refused: a pickle of arrays has no opcode {opcode}")
    raise reader.error(f"refused: more than {MAX_OPCODES} opcodes for six arrays")


def _read_opcode(reader):
    """Read an opcode; return its name and the bytes of its argument."""
    opcode = pickletools.code2op[reader.read(1).decode("latin-1")]
    size = opcode.arg.n if opcode.arg else 0
    if size == pickletools.UP_TO_NEWLINE:
        argument = reader.read_line()
        if opcode.name == "GLOBAL":
            argument += b" " + reader.read_line()
    else:
        if size in SIZE_FIELDS:
            size = int.from_bytes(reader.read(SIZE_FIELDS[size]), "little")
        argument = reader.read(size)
    return opcode.name, argument


def _unescaped(literal):
    """Return the bytes that a string literal of Python 2 denotes."""
    if literal[:1] not in (b"'", b'"') or literal[:1] != literal[-1:]:
        raise ValueError("not a string literal")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an escape that Python 2 never wrote
        return bytearray(literal[1:-1].decode("unicode-escape"), "latin-1")


def _global(name, reader):
    if name not in GLOBALS:
        raise reader.error(f"refused: a pickle of arrays does not ask for {name[:60]!r}")
    return GLOBALS[name]


def _array(tree, reader):
    """Return the array that a tree describes, in one of the two ways that NumPy has."""
    match tree:
        case Call(
            Global.RECONSTRUCT, (Global.NDARRAY, *_), (int(), tuple(shape), dtype, fortran, data)
        ):
            order = "F" if fortran else "C"
        case Call(Global.FROMBUFFER, (data, dtype, tuple(shape), "C" | "F" as order, *_)):
            pass
        case _:
            raise reader.error("something in it is not an array")
    match dtype:
        case Call(Global.DTYPE, (code, *_), (int(), byte_order, None, None, None, *_)):
            dtype = reader.check_dtype(_text(byte_order) + _text(code))
        case _:
            raise reader.error("an array in it does not hold plain numbers")
    match data:
        case Call(Global.ENCODE, (str(text), "latin1")):
            data = bytearray(text, "latin-1")
    if not all(isinstance(side, int) for side in shape):
        raise reader.error("an array in it has a shape that is not made of numbers")
    if reader.check_shape(shape) * dtype.itemsize != len(data):
        raise reader.error("an array in it has too few or too many bytes for its shape")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _text(value):
    """Return a string, which Python 2 may have written as bytes."""
    return value if isinstance(value, str) else value.decode("latin-1")
