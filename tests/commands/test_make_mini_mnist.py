"""The command that makes the bundled data: how it refuses. What it writes: see test_datasets."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dae
from dae.commands.make_mini_mnist import main

PREFIX = "python -m dae.make_mini_mnist: "


@pytest.fixture
def mnist(tmp_path):
    """A folder with the files of an MNIST of 60 and 10 images of 2x2 pixels."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name, n in ("train", 60), ("t10k", 10):
        header = bytes([0, 0, 8, 3, 0, 0, 0, n, 0, 0, 0, 2, 0, 0, 0, 2])
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + bytes([0, 255]) * 2 * n)
        header = bytes([0, 0, 8, 1, 0, 0, 0, n])
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(header + bytes(n))
    return folder


def test_it_runs_as_a_module(mnist, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(dae.__file__).parents[1])}
    command = [sys.executable, "-W", "error", "-m", "dae.make_mini_mnist"]
    for folder, status in (mnist, 0), (tmp_path / "none", 2):
        process = subprocess.run(
            [*command, folder, tmp_path / "mini.npz"],
            env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert (process.returncode, process.stdout) == (status, "")
        assert process.stderr.count("\n") == status // 2
    assert np.load(tmp_path / "mini.npz")["train_x"].shape == (5, 2, 2)


def test_wrong_usage_is_told_in_one_line(tmp_path, capfd):
    assert main([str(tmp_path / "none"), str(tmp_path / "mini.npz")]) == 2
    stdout, stderr = capfd.readouterr()
    assert (stdout, stderr.count("\n")) == ("", 1)
    assert stderr.startswith(f"{PREFIX}{tmp_path / 'none'}: no such file or folder")
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert capfd.readouterr().err.startswith(f"{PREFIX}the following arguments are required: ")
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_written_is_told_and_leaves_no_file(mnist, tmp_path, capfd):
    assert main([str(mnist), str(tmp_path / "none" / "mini.npz")]) == 1
    assert capfd.readouterr().err == (
        f"{PREFIX}{tmp_path / 'none' / 'mini.npz'}: No such file or directory\n"
    )
    (tmp_path / "mini.npz").mkdir()
    assert main([str(mnist), str(tmp_path / "mini.npz")]) == 1
    assert sorted(os.listdir(tmp_path)) == ["mini.npz", "mnist"]
