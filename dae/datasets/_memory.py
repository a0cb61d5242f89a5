"""The memory that this process can still take."""

import math
import os
from contextlib import suppress
from pathlib import Path

from dae.datasets._errors import DataError

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def check_memory(name, size):
    """Check that there is enough memory before it is taken.

    Parameters
    ----------
    name : str or path-like
        The name of the file that needs it, for the message.
    size : int
        The number of bytes that it takes.

    Raises
    ------
    DataError
        If fewer are available.
    """
    available = available_memory()
    if size > available:
        raise DataError(
            f"{name}: would take {size / 1e6:,.0f} MB of memory, and {available / 1e6:,.0f} MB are "
            "free; expected fewer images, or more memory"
        )


def available_memory():
    """Return the number of bytes that this process can take without swapping or being killed.

    That is the smallest of three: what the machine has free, what control groups (the limits of
    containers and jobs) leave, and what the limits of the process (``ulimit``) leave.

    Returns
    -------
    int or float
        Infinity if the system does not say, as on Windows. There a process that takes too much
        gets a `MemoryError` and is not killed.
    """
    return max(0, min([_left_by_machine(), *_left_by_groups(), *_left_by_limits()]))


def _left_by_machine():
    with suppress(OSError):
        for line in (PROC / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    with suppress(AttributeError, OSError, ValueError):  # no sysconf, or no such name
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return math.inf


def _left_by_groups():
    """Yield what each control group with a limit leaves, in version 1 or 2 of their interface."""
    lines = []
    with suppress(OSError):
        lines = (PROC / "self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            root, names = CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif controllers == "memory":
            root = CGROUPS / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # A group is bound by those around it. In a container, only the root may be there.
        innermost = root / group.lstrip("/")
        around = [folder for folder in innermost.parents if folder.is_relative_to(root)]
        for folder in [innermost, *around]:
            with suppress(OSError, ValueError):  # no such group, or its limit is "max"
                limit = int((folder / names[0]).read_text())
                used = int((folder / names[1]).read_text())
                fields = (folder / "memory.stat").read_text().split()
                # Files that were read before count as used, but give way.
                yield limit - used + int(fields[fields.index(names[2]) + 1])


def _left_by_limits():
    try:
        import resource
    except ModuleNotFoundError:  # on Windows
        return
    pages = [0] * 6
    with suppress(OSError):
        pages = [int(number) for number in (PROC / "self/statm").read_text().split()]
    # The first of statm's numbers is the address space, the sixth data and stack.
    for kind, used in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY:
            yield limit - used * resource.getpagesize()
