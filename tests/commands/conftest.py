import os

import pytest
from forks import Forks


@pytest.fixture(scope="session")
def forks():
    """What starts processes that need not import the package any more."""
    with Forks() as forks:
        yield forks


@pytest.fixture(scope="session")
def forks_with_disks():
    """The same with file systems of their own, where `mount` mounts what nobody else sees."""
    # That is for root, or for who is root in a namespace.
    namespace = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    with Forks(*namespace) as forks:
        yield forks


@pytest.fixture
def mount(forks_with_disks):
    """What calls `mount` there."""
    program = "import subprocess, sys; subprocess.run(['mount', *sys.argv[1:]], check=True)"

    def mount(*options):
        assert forks_with_disks.run(*options, program=program) == (0, "", "")

    return mount
