"""Docstrings: there, in NumPy's manner, with every parameter, and with examples that run."""

import ast
import doctest
import importlib
import inspect
import pydoc
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from sources import read_sources

import dae

API = Path(__file__).parents[1] / "docs" / "api.rst"

VERBS = set(
    """
    Accept Add Advance Append Apply Build Call Check Choose Clear Close Collect Compare Compile
    Complete Compute Convert Copy Corrupt Count Create Decode Define Describe Disable Download Draw
    Emit Enable Encode Enlarge Estimate Evaluate Exit Export Extract Fetch Fill Find Fit Follow
    Format Generate Get Handle Initialize Insert Iterate Keep List Load Lock Loop Measure Merge Move
    Normalize Open Overwrite Parse Perform Plot Predict Prepare Print Put Raise Read Recognise
    Reconstruct Record Refill Refuse Register Remove Rename Replace Report Reset Restore Resume
    Return Rewrite Run Sample Save Scale Seed Select Set Show Sort Split Start Stop Store Sum Tile
    Train Transform Transpose Turn Unlock Update Use Validate Verify Wait Warn Write Yield
    """.split()
)
"""First words of the docstrings of functions; another one in NumPy's manner may be added."""

HOUSE_WORDS = ("Give ", "Tell whether ", "Make ")

OP_METHODS = {
    "make_node", "perform", "infer_shape", "connection_pattern", "pullback", "L_op", "R_op",
    "c_code", "c_code_cache_version", "do_constant_folding",
}  # fmt: skip
"""Their parameters are described in PyTensor's documentation of `Op`."""


def is_public(name):
    return not name.startswith("_")


def definitions(source):
    """Yield name and node of the functions, classes and methods that do not begin with "_"."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and is_public(node.name):
            yield node.name, node
            for inner in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(inner, ast.FunctionDef) and is_public(inner.name):
                    yield f"{node.name}.{inner.name}", inner


def parameters(node):
    """The names of the parameters of a function, or of the constructor of a class."""
    if isinstance(node, ast.ClassDef):
        constructors = [f for f in node.body if getattr(f, "name", None) == "__init__"]
        return parameters(constructors[0]) if constructors else set()
    args = node.args
    named = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return {arg.arg for arg in named if arg} - {"self", "cls"}


def described(docstring):
    """The names in the section "Parameters" of a docstring."""
    _, _, section = docstring.partition("\nParameters\n----------\n")
    names = set()
    for line, following in pairwise([*section.split("\n"), ""]):
        if following and set(following) == {"-"}:  # the line is the title of the next section
            break
        if line and not line.startswith(" "):
            names |= {name.strip("* ") for name in line.split(" : ")[0].split(",")}
    return names


def word_faults(source):
    """What is wrong with the first lines of the docstrings of a module."""
    faults = []
    for name, node in definitions(source):
        first_line = (ast.get_docstring(node) or "").split("\n")[0]
        is_property = any(ast.unparse(d).endswith("property") for d in node.decorator_list)
        if not first_line:
            faults.append(f"{name} has no docstring")
        elif first_line.startswith(HOUSE_WORDS):
            faults.append(f"{name}: {first_line}")
        elif isinstance(node, ast.ClassDef) or is_property:
            continue
        elif first_line.split()[0].rstrip(",:;.") not in VERBS:
            faults.append(f"{name}: {first_line}")
    return faults


def public_definitions(sources):
    """Yield name and node of what users can import, and of its methods.

    That is what is defined in modules that do not begin with "_", and what packages list of the
    others in `__all__`.
    """
    for module, source in sources.items():
        is_open = all(map(is_public, module.split(".")))
        listed = exported(sources.get(module.rpartition(".")[0], ""))
        for name, node in definitions(source):
            if is_open or name.split(".")[0] in listed:
                yield f"{module}.{name}", node


def exported(source):
    """The names in the list `__all__` of a module."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value) if isinstance(node.value, ast.List) else []
    return []


def parameter_faults(sources):
    """The parameters of public functions, classes and methods that are not described."""
    faults = []
    for name, node in public_definitions(sources):
        missing = parameters(node) - described(ast.get_docstring(node) or "")
        if missing and node.name not in OP_METHODS:
            faults.append(f"{name}: {', '.join(sorted(missing))}")
    return faults


@pytest.mark.parametrize("module", read_sources())
def test_docstrings_begin_in_numpys_manner(module):
    assert word_faults(read_sources()[module]) == []


def test_all_parameters_are_described():
    assert parameter_faults(read_sources()) == []


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("def f():\n    pass", ["f has no docstring"]),
        ("def f():\n    '''Give x.'''", ["f: Give x."]),
        ("def f():\n    '''Tell whether x.'''", ["f: Tell whether x."]),
        ("def f():\n    '''The x.'''", ["f: The x."]),
        ("def f():\n    '''Returns x.'''", ["f: Returns x."]),
        ("class C:\n    '''Make x.'''", ["C: Make x."]),
        ("class C:\n    '''The x.'''\n    def f(self):\n        '''Nothing.'''", ["C.f: Nothing."]),
        ("class C:\n    '''The x.'''\n    @property\n    def f(self):\n        '''The y.'''", []),
        ("def f():\n    '''Return x.\n\n    Give y.'''\ndef _g(): pass", []),
    ],
)
def test_first_lines_that_are_not_in_numpys_manner_are_seen(source, faults):
    assert word_faults(source) == faults


DESCRIBED = '''
def f({}):
    """Return x.

    Parameters
    ----------
    a, b : int
        Not c : really.
    *rest : int

    Returns
    -------
    d : int
    """
'''


@pytest.mark.parametrize(
    ("module", "signature", "faults"),
    [
        ("dae.x", "a, b, *rest", []),
        ("dae.x", "a, /, *, b", []),
        ("dae.x", "a, c", ["dae.x.f: c"]),
        ("dae.x", "d, *e, **g", ["dae.x.f: d, e, g"]),
        ("dae._x", "c", []),
        ("dae.x._y", "c", []),
        ("dae.y._x", "c", ["dae.y._x.f: c"]),
    ],
)
def test_parameters_that_are_not_described_are_seen(module, signature, faults):
    sources = {module: DESCRIBED.format(signature)}
    if module == "dae.y._x":
        sources["dae.y"] = "from dae.y._x import f\n__all__ = ['f']"
        sources["dae.z._x"] = sources[module]
    assert parameter_faults(sources) == faults


def test_parameters_of_constructors_are_described_with_the_class():
    source = "class C:\n    '''The x.'''\n    def __init__(self, a): pass"
    assert parameter_faults({"dae.x": source}) == ["dae.x.C: a"]


@pytest.mark.parametrize("module", [name for name, text in read_sources().items() if ">>>" in text])
def test_examples_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert tried > 0
    assert failed == 0


def documented_names():
    """The names that the page of the API lists, all below `dae`."""
    return re.findall(r"^   ([\w.]+)$", API.read_text(encoding="utf-8"), re.MULTILINE)


def has_example(thing):
    """Whether the docstring of a function or class has an example, or that of its module for it."""
    module = sys.modules[thing.__module__]
    calls = rf"^(>>>|\.\.\.) .*\b{thing.__name__}\("
    return ">>>" in inspect.getdoc(thing) or bool(re.search(calls, module.__doc__, re.MULTILINE))


def test_the_api_page_lists_all_public_names():
    assert set(dae.__all__) <= set(documented_names())


def test_the_page_of_the_commands_has_all_commands():
    commands = {
        f"{module}.make_parser"
        for module, source in read_sources().items()
        if module.startswith("dae.commands.") and "def make_parser" in source
    }
    page = API.with_name("commands.rst").read_text(encoding="utf-8")
    assert set(re.findall(r":ref: (\S+)", page)) == commands


@pytest.mark.parametrize("name", documented_names())
def test_what_the_api_page_lists_has_an_example(name):
    assert has_example(pydoc.locate(f"dae.{name}", forceload=False))


def test_a_name_without_an_example_is_seen():
    from dae.models import SigmoidLayer

    assert not has_example(SigmoidLayer)
