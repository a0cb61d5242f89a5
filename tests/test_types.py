"""The hints: all public functions have them, and those beside a module agree with it.

That they agree with each other and with what the functions do is for mypy to say.
"""

import ast
import sys
from pathlib import Path

import pytest

import dae

PACKAGE = Path(dae.__file__).parent
STUBS = sorted(PACKAGE.glob("**/*.pyi"))


def functions(source):
    """From names to nodes: the functions and methods that are public, or special methods."""
    found = {}
    for node in ast.parse(source).body:
        for inner in [node, *(node.body if isinstance(node, ast.ClassDef) else [])]:
            prefix = f"{node.name}." if inner is not node else ""
            if isinstance(inner, ast.FunctionDef) and (
                not inner.name.startswith("_") or inner.name.endswith("__")
            ):
                found[prefix + inner.name] = inner
    return found


def signature(node):
    """The parameters and defaults of a function, without hints."""
    arguments = ast.parse(ast.unparse(node.args).join(["def f(", "): pass"])).body[0].args
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return ast.unparse(arguments)


def lacks_hints(node):
    """Whether a parameter of a function, or what it returns, has no hint."""
    arguments = [
        argument
        for argument in ast.walk(node.args)
        if isinstance(argument, ast.arg) and argument.arg not in ("self", "cls")
    ]
    returns = node.returns is not None or node.name == "__init__"
    return not returns or any(argument.annotation is None for argument in arguments)


def faults(source, name):
    """The constructor and public methods of a class, or the function so named, without hints."""
    return [
        found
        for found, node in functions(source).items()
        if found.split(".")[0] == name
        and (node.name == "__init__" or not node.name.startswith("_"))
        and lacks_hints(node)
    ]


def disagreements(stub, source):
    """The functions whose parameters or defaults are others in a stub, or that only one has."""
    ours, theirs = functions(stub), functions(source)
    return [
        name
        for name in ours.keys() | theirs.keys()
        if name not in ours
        or name not in theirs
        or signature(ours[name]) != signature(theirs[name])
    ]


def test_the_package_says_that_it_has_hints():
    assert (PACKAGE / "py.typed").exists()
    assert PACKAGE / "__init__.pyi" in STUBS


def test_the_stub_of_the_package_imports_each_name_from_its_room():
    body = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8")).body
    imported = {
        alias.name: node.module
        for node in body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == {name: f"dae.{room}" for name, room in dae._ROOMS.items()}
    [listed] = [ast.literal_eval(node.value) for node in body if isinstance(node, ast.Assign)]
    assert sorted(listed) == sorted(dae.__all__)


@pytest.mark.parametrize(
    "stub", [path for path in STUBS if path.parent != PACKAGE], ids=lambda path: path.stem
)
def test_stubs_have_the_signatures_of_their_modules(stub):
    source = stub.with_suffix(".py").read_text(encoding="utf-8")
    assert disagreements(stub.read_text(encoding="utf-8"), source) == []


@pytest.mark.parametrize("name", dae.__all__)
def test_public_functions_have_hints(name):
    thing = getattr(dae, name)
    path = Path(sys.modules[thing.__module__].__file__)
    stub = path.with_suffix(".pyi")
    source = (stub if stub.exists() else path).read_text(encoding="utf-8")
    assert faults(source, thing.__name__) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(a: int, *, b: int = 1) -> int: pass", []),
        ("def f(a: int, *, b=1) -> int: pass", ["f"]),
        ("def f(a: int): pass", ["f"]),
        ("class f:\n  def __init__(self, a: int): pass\n  def g(self, *a: int) -> None: pass", []),
        ("class f:\n  def __init__(self, a): pass\n  def _g(self): pass", ["f.__init__"]),
        ("class f:\n  def g(self, **a) -> int: pass\ndef h(a): pass", ["f.g"]),
    ],
)
def test_missing_hints_are_seen(source, expected):
    assert faults(source, "f") == expected


@pytest.mark.parametrize(
    ("stub", "differs"),
    [
        ("def f(a: int, b: int = 1) -> int: ...", False),
        ("def f(a: int, b: int = 2) -> int: ...", True),
        ("def f(a: int, c: int = 1) -> int: ...", True),
        ("def f(a: int, *, b: int = 1) -> int: ...", True),
        ("def g(a: int, b: int = 1) -> int: ...", True),
    ],
)
def test_a_stub_that_disagrees_is_seen(stub, differs):
    assert bool(disagreements(stub, "def f(a, b=1):\n    return a")) == differs
