"""`dae.datasets._memory`: how much memory is left, whoever limits it."""

import subprocess
import sys

import pytest

from dae.datasets import _memory

MACHINE = 8 * 2**30


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A machine with 8 GiB free; returns a function that writes a file of its system."""
    monkeypatch.setattr(_memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(_memory, "CGROUPS", tmp_path / "cgroup")

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))

    write("proc/meminfo", f"MemTotal: 1 kB\nMemFree: 2 kB\nMemAvailable: {MACHINE // 1024} kB\n")
    return write


@pytest.mark.usefixtures("system")
def test_a_machine_without_limits():
    assert _memory.available_memory() == MACHINE


@pytest.mark.parametrize("group", ["/", "/job", "/job/task"])
def test_a_control_group_of_version_2_or_one_around_it(system, group):
    system("proc/self/cgroup", "0::/job/task\n")
    folder = f"cgroup{group}".rstrip("/")
    system(f"{folder}/memory.max", 2**30)
    system(f"{folder}/memory.current", 2**29)
    system(f"{folder}/memory.stat", "anon 1\ninactive_file 4096\n")
    system("cgroup/job/other/memory.max", 1)
    assert _memory.available_memory() == 2**29 + 4096
    system(f"{folder}/memory.max", "max")
    assert _memory.available_memory() == MACHINE


def test_a_control_group_of_version_1(system):
    system("proc/self/cgroup", "3:cpu:/job\n2:memory:/job\n")
    system("cgroup/memory/job/memory.limit_in_bytes", 2**30)
    system("cgroup/memory/job/memory.usage_in_bytes", 2**30 + 1)
    system("cgroup/memory/job/memory.stat", "total_inactive_file 0\n")
    assert _memory.available_memory() == 0


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_the_limits_of_the_process(kind):
    program = f"""
import resource
from dae.datasets._memory import available_memory
pages = open("/proc/self/statm").read().split()
used = int(pages[{0 if kind == "RLIMIT_AS" else 5}]) * resource.getpagesize()
resource.setrlimit(resource.{kind}, (used + 2**27, used + 2**27))
print(available_memory() / 2**27)
bytearray(int(available_memory()) - 2**20)
try:
    bytearray(int(available_memory()) + 2**20)
except MemoryError:
    print("refused")
"""
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    left, refused = process.stdout.split()
    assert 0.9 < float(left) <= 1
    assert refused == "refused"
