"""Runs side by side: on the console, and in a page."""

import html
import json
import re
import shutil

import numpy as np
import pytest
from numpy.random import RandomState

import dae
from dae.compare import main
from dae.train import main as train


@pytest.fixture(scope="module")
def images():
    """Images of 3x5 pixels that four numbers tell apart: training, validation and test."""
    rng = RandomState(3)
    x = rng.uniform(size=(130, 4)) @ rng.uniform(size=(4, 15)) / 4
    return {"train_x": x[:60].reshape(-1, 3, 5), "valid_x": x[60:100].reshape(-1, 3, 5),
            "test_x": x[100:].reshape(-1, 3, 5)}  # fmt: skip


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """A folder with the data and three runs: with noise, without, and of other images."""
    folder = tmp_path_factory.mktemp("runs")
    np.savez(folder / "x.npz", **images)
    np.save(folder / "wide.npy", images["train_x"][:, :, :4])
    options = ["--batch-size=12", "--learning-rate=0.5", "--quiet", "--no-report"]
    for name, more in {
        "noise <b>": [f"--data={folder / 'x.npz'}", "--n-hidden=3", "--training-epochs=4"],
        "none": [f"--data={folder / 'x.npz'}", "--n-hidden=5", "--training-epochs=3",
                 "--corruption-level=0", "--validate-every=1"],
        "wide": [f"--data={folder / 'wide.npy'}", "--n-hidden=3", "--training-epochs=4"],
    }.items():  # fmt: skip
        assert train([*options, *more, f"--output-dir={folder / name}"]) == 0
    return folder


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    """A copy of the folder to work in."""
    shutil.copytree(trained, tmp_path / "runs")
    monkeypatch.chdir(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def compare(capfd):
    """Call the command; give its exit status and what it wrote to stdout and to stderr."""

    def call(*options):
        try:
            status = main([str(option) for option in options])
        except SystemExit as end:
            status = end.code
        return status, *capfd.readouterr()

    return call


def read_table(stdout):
    """The cells of the table by run and column."""
    table = re.split("^(?:note|comparison): ", stdout, flags=re.M)[0]
    (_, *header), *rows = (re.split(" {2,}", line) for line in table.splitlines())
    return {name: dict(zip(header, row, strict=True)) for name, *row in rows}


def describe(cost):
    return f"{cost:.2f}" if cost >= 10 else f"{cost:.4f}"


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def reconstruct(run, x):
    model = np.load(run / "model.npz")
    return sigmoid(sigmoid(x @ model["W"] + model["b"]) @ model["W"].T + model["b_prime"])


def cross_entropy(x, z):
    return np.mean(np.sum(-x * np.log(z) - (1 - x) * np.log(1 - z), axis=1))


def test_settings_that_differ_and_results(compare, runs, images):
    status, stdout, stderr = compare("noise <b>", "none")
    assert (status, stderr) == (0, "")
    assert stdout.endswith("comparison: comparison.html\n")
    table = read_table(stdout)
    assert list(table) == ["A noise <b>", "B none"]
    noise, none = table.values()
    settings = {"corruption_level", "n_hidden", "training_epochs", "validate_every"}
    results = {"epochs", "training cost", "validation cost", "best epoch", "time"}
    assert noise.keys() == settings | results | {"same images", "corrupted", "per pixel"}
    assert [noise[name] for name in sorted(settings)] == ["0.3", "3", "4", "–"]
    assert [none[name] for name in sorted(settings)] == ["0.0", "5", "3", "1"]
    x = images["test_x"].reshape(-1, 15)
    for name, values in ("noise <b>", noise), ("none", none):
        rows = [row.split(",") for row in (runs / name / "costs.csv").read_text().split()[1:]]
        assert values["epochs"] == str(len(rows))
        assert values["training cost"] == describe(float(rows[-1][1]))
        losses = {row[0]: float(row[3]) for row in rows if row[3]}
        assert values["validation cost"] == describe(list(losses.values())[-1])
        assert values["best epoch"] == min(losses, key=losses.get)
        cost = cross_entropy(x, reconstruct(runs / name, x))
        assert values["same images"] == describe(cost)
        assert float(values["per pixel"]) == pytest.approx(cost / 15, abs=4e-4)
    corrupted = dae.load_model(runs / "noise <b>").reconstruct(x, 0.3, 123)
    assert float(noise["corrupted"]) == pytest.approx(cross_entropy(x, corrupted), abs=0.3)
    assert noise["corrupted"] != noise["same images"]


def test_the_page(browser, compare, runs):
    assert compare("noise <b>", "none", "-o", "both.html", "--quiet") == (0, "", "")
    page = (runs / "both.html").read_text(encoding="utf-8")
    legend = re.findall(r'<li class="c(\d)( dashed)?"><span>(.*?)</span>', page)
    assert [(color, bool(dashed), html.unescape(name)) for color, dashed, name in legend] == [
        ("0", False, "A noise <b>, training"),
        ("0", True, "A noise <b>, validation"),
        ("1", False, "B none, training"),
        ("1", True, "B none, validation"),
    ]
    row_names = re.findall("<li>(.*?)</li>", page)
    assert [html.unescape(name) for name in row_names] == [
        "original", "A noise <b>", "B none", "corrupted", "A noise <b>", "B none",
    ]  # fmt: skip
    for width in 390, 1280:
        browser.open(runs / "both.html", width)
        assert browser.messages == []
        assert len([url for url in browser.requests if not url.startswith("data:")]) == 1
        sizes = browser.evaluate("[...document.images].map(i => [i.naturalWidth, i.naturalHeight])")
        assert sizes == [[11, 7], [17, 7], [59, 23]]
        assert browser.evaluate("document.documentElement.scrollWidth") == width


def test_runs_of_other_images_are_named_and_left_out(compare, runs):
    status, stdout, stderr = compare("none", "wide", "noise <b>")
    assert (status, stderr) == (0, "")
    assert re.findall("^note: (.*)$", stdout, re.M) == [
        "B wide: its images are 3x4, those of A none 3x5; its curves and reconstructions are left "
        "out",
        "B wide: was trained on other data than A none; its costs are those of other images",
    ]
    table = read_table(stdout)
    assert [row["same images"] == "–" for row in table.values()] == [False, True, False]
    page = (runs / "comparison.html").read_text(encoding="utf-8")
    assert "B wide, training" not in page
    assert "C noise &lt;b&gt;, training" in page
    assert "B wide: its images are 3x4" in page
    assert "The filters of B wide" in page
    assert html.unescape(page).count("<li>B wide</li>") == 0


def test_a_run_without_a_model_and_images_that_are_gone(compare, runs):
    (runs / "none" / "model.npz").unlink()
    status, stdout, stderr = compare("none", "noise <b>")
    assert (status, stderr) == (0, "")
    assert "note: A none: none holds no model.npz" in stdout
    assert read_table(stdout)["A none"]["same images"] == "–"
    assert read_table(stdout)["B noise <b>"]["same images"] != "–"
    record = json.loads((runs / "none" / "config.json").read_text())
    (runs / "none" / "config.json").write_text(json.dumps(record | {"data": "gone.npz"}))
    status, stdout, stderr = compare("none", "noise <b>", "--force")
    assert (status, stderr) == (0, "")
    assert "gone.npz: no such file or folder" in stdout
    assert "--data says where images lie" in stdout
    assert "<h2>Reconstructions</h2>" not in (runs / "comparison.html").read_text("utf-8")
    status, stdout, _stderr = compare("none", "noise <b>", "--force", "--data=x.npz")
    assert status == 0
    assert read_table(stdout)["B noise <b>"]["same images"] != "–"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["none"], "one RUN is not enough; expected two at the least (see --help)"),
        ([], "the following arguments are required: RUN"),
        (["none", "no such"], "no such holds no run: it has no config.json"),
        (["none", "."], "holds no run: it has no config.json"),
        (["none", "wide", "-o", "page.txt"], "'page.txt' is not a name ending in .html"),
        (["none", "wide", "-o", "old.html"], "old.html exists; give another name, or --force"),
        (["none", "wide", "-o", "no such/a.html"], "no such is not a directory, or read-only"),
        (["none", "wide", "--data=gone.npz"], "gone.npz: no such file or folder"),
        (["none", "wide", "--data=wide.npy"], "images of 12 pixels do not have the shape"),
        (["none", "damaged"], "damaged holds no run: its config.json or its costs.csv is damaged"),
    ],
)
def test_wrong_usage_is_told_in_one_line(compare, runs, options, words):
    (runs / "old.html").write_text("old")
    shutil.copytree(runs / "wide", runs / "damaged")
    (runs / "damaged" / "costs.csv").write_text("epoch,cost,seconds\n0,x,1\n")
    status, stdout, stderr = compare(*options)
    assert words in stderr
    assert stderr.startswith("dae-compare: ")
    assert (status, stdout, stderr.count("\n")) == (2, "", 1)
    assert (runs / "old.html").read_text() == "old"
    assert not (runs / "comparison.html").exists()


def test_runs_of_another_cost_are_not_judged(compare, runs):
    options = ["--batch-size=12", "--learning-rate=0.05", "--training-epochs=2", "--n-hidden=3"]
    options += ["--data=x.npz", "--cost=squared-error", "--quiet", "--output-dir=squared"]
    assert train(options) == 0
    status, stdout, stderr = compare("none", "squared")
    assert (status, stderr) == (0, "")
    assert (
        "note: B squared: its cost is not measured as that of A none is; its curves are" in stdout
    )
    table = read_table(stdout)
    assert [row["cost"] for row in table.values()] == ["cross-entropy", "squared-error"]
    assert [row["same images"] == "–" for row in table.values()] == [False, True]
    page = (runs / "comparison.html").read_text(encoding="utf-8")
    assert "B squared, training" not in page
    assert page.count("<li>B squared</li>") == 2  # its reconstructions, without and with noise
