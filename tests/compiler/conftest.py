import pytest
from compile_once import as_ever


@pytest.fixture(scope="module", autouse=True)
def compiled_as_ever():
    """What rewrites and LLVM make of a graph is what is tested here."""
    with as_ever():
        yield
