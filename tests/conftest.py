import gc
import os
import signal

import pytest
from browser import Browser, find_browser

# PyTensor's C linker, one of the modes tested, otherwise warns that it looked for a BLAS in vain.
# What it compiles runs for microseconds here, and g++ would optimize it for seconds. Nobody reads
# where in the code a variable was made, which is found out for each.
os.environ["PYTENSOR_FLAGS"] = ",".join(
    flag
    for flag in (
        os.environ.get("PYTENSOR_FLAGS"),
        "blas__ldflags=",
        "gcc__cxxflags=-O0",
        "traceback__limit=0",
    )
    if flag
)

# It imports PyTensor, which reads the flags.
from compile_once import compile_once

compile_once()

# A shell ignores it for what it starts in the background, and the commands go on with that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Compiling makes many objects that stay. Looking for garbage among them took a fifth of the time.
gc.set_threshold(1_000_000, 5, 20)


@pytest.fixture(scope="module", autouse=True)
def old_objects_are_left_alone():
    """Do not look for garbage again among what there was before the tests of a file."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A browser; without one its tests are skipped, or fail if DAE_TEST_BROWSER is set."""
    executable = find_browser()
    if executable is None:
        message = "there is no Chromium or Chrome on the PATH"
        (pytest.fail if "DAE_TEST_BROWSER" in os.environ else pytest.skip)(message)
    with Browser(executable, tmp_path_factory.mktemp("browser")) as browser:
        yield browser
