"""What a training leaves to look at: pictures, snapshots and the page."""

import html
import itertools
import json
import re
import shlex
from dataclasses import replace

import numpy as np
import pytensor
import pytest
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from dae import Autoencoder, Config, DenoisingAutoencoder, Run, fit
from dae.commands import _train_and_save
from dae.commands._judging import Judge
from dae.commands._results import save_results
from dae.commands._run_page import command_to_repeat
from dae.commands._snapshots import _reorder
from dae.commands._views import N_DRAWN, N_VIEWED, choose_images, compile_view
from dae.commands.train import make_parser
from dae.datasets import Dataset
from dae.reports.tiles import draw_filters, grid_shape
from dae.train import main
from dae.training.baselines import compute_baselines


@pytest.fixture
def images():
    """Images of 3x5 pixels that four numbers tell apart: training, validation and test."""
    rng = RandomState(3)
    x = rng.uniform(size=(130, 4)) @ rng.uniform(size=(4, 15)) / 4
    return {"train_x": x[:60].reshape(-1, 3, 5), "valid_x": x[60:100].reshape(-1, 3, 5),
            "test_x": x[100:].reshape(-1, 3, 5)}  # fmt: skip


@pytest.fixture
def train(tmp_path, images):
    """Train on the images; give the run directory."""
    data = tmp_path / "a <b> & 'c'.npz"
    np.savez(data, **images)
    options = ["--n-hidden=3", "--batch-size=12", "--learning-rate=0.5", "--quiet"]

    def call(*more, name="run <i> & $title"):
        directory = tmp_path / name
        where = [] if "--resume" in more else [f"--data={data}", "--output-dir", directory]
        arguments = [*(options if where else ["--quiet"]), *where, *more]
        assert main([str(argument) for argument in arguments]) == 0
        return directory

    return call


def read_table(page, heading):
    """The cells of the first table below a heading, by the name of their row."""
    section = page.partition(f"<h2>{heading}</h2>")[2].partition("</section>")[0]
    rows = re.findall(r'<tr[^>]*><th scope="row">(.*?)</th>(.*?)</tr>', section)
    return {
        html.unescape(name): [
            html.unescape(cell) for cell in re.findall(r"<td.*?>(.*?)</td>", cells)
        ]
        for name, cells in rows
    }


def describe(cost):
    return f"{cost:.2f}" if cost >= 10 else f"{cost:.4f}"


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def cross_entropy(x, z):
    return np.mean(np.sum(-x * np.log(z) - (1 - x) * np.log(1 - z), axis=1))


@pytest.mark.parametrize("level", [0, 0.3])
def test_the_numbers_of_the_page(train, images, level):
    run = train("--training-epochs=8", "--validate-every=2", f"--corruption-level={level}")
    page = (run / "report.html").read_text(encoding="utf-8")
    quality = read_table(page, "How good it is")
    train_x, valid_x = (images[part].reshape(-1, 15) for part in ("train_x", "valid_x"))
    model = np.load(run / "model.npz")
    z = sigmoid(sigmoid(valid_x @ model["W"] + model["b"]) @ model["W"].T + model["b_prime"])
    costs = {"this model": cross_entropy(valid_x, z)}
    baselines = compute_baselines(train_x, valid_x, 3)
    costs["always the mean image"] = baselines["mean image"]
    costs["PCA with 3 components"] = baselines["PCA"]
    costs["a perfect reconstruction"] = baselines["perfect reconstruction"]
    for name, cost in costs.items():
        assert quality[name] == [describe(cost), describe(cost / 15)]
    assert ("this model, given corrupted images" in quality) == (level > 0)
    header, *rows = (run / "costs.csv").read_text().splitlines()
    assert header.startswith("epoch,cost,seconds,validation_loss,")
    losses = {int(row.split(",")[0]): row.split(",")[3] for row in rows}
    losses = {epoch: float(loss) for epoch, loss in losses.items() if loss}
    assert describe(losses[7]) == quality["this model"][0]
    numbers = read_table(page, "Costs")
    assert {int(epoch): cells[1] for epoch, cells in numbers.items()} == {
        epoch: f"{loss:.6f}" for epoch, loss in losses.items()
    }


def test_an_earlier_epoch_that_was_better_is_named(train):
    run = train("--training-epochs=40", "--validate-every=1", "--learning-rate=4")
    losses = [float(row.split(",")[3]) for row in (run / "costs.csv").read_text().split()[1:]]
    best = int(np.argmin(losses))
    quality = read_table((run / "report.html").read_text(encoding="utf-8"), "How good it is")
    assert best < 39
    assert quality[f"this model after epoch {best}, its best"][0] == describe(losses[best])


def test_a_browser_shows_the_page_of_a_run(browser, train):
    run = train("--training-epochs=4", "--snapshots=2")
    for width, scheme in itertools.product([390, 1280], ["light", "dark"]):
        browser.open(run / "report.html", width, scheme)
        assert browser.messages == []
        assert [url for url in browser.requests if not url.startswith("data:")] == [
            (run / "report.html").as_uri()
        ]
        sizes = browser.evaluate("[...document.images].map(i => [i.naturalWidth, i.naturalHeight])")
        filters = [2 * 5 + 1, 2 * 3 + 1]
        assert sizes == [
            filters,
            filters,  # as they form
            [10 * 6 - 1, 2 * 4 - 1],  # noise
            [10 * 6 - 1, 4 * 4 - 1],  # reconstructions
            [2 * (10 * 6 - 1) + 2, 3 * 4 - 1],  # more of them
        ]
        assert browser.evaluate("document.documentElement.scrollWidth") == width
        text = browser.evaluate("document.body.innerText")
        for part in (str(run), "30", "from epoch 0 to 4", "a <b> & 'c'.npz"):
            assert part in text


def test_no_report(train):
    run = train("--training-epochs=1", "--no-report")
    assert not (run / "report.html").exists()
    assert (run / "filters.png").exists()


def test_data_without_other_images_is_judged_by_the_training_images(train, images, tmp_path):
    np.save(tmp_path / "x.npy", images["train_x"])
    run = train(f"--data={tmp_path / 'x.npy'}", "--training-epochs=2")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "60 training images" in page
    assert "There are no other images" in page
    model, x = np.load(run / "model.npz"), images["train_x"].reshape(-1, 15)
    z = sigmoid(sigmoid(x @ model["W"] + model["b"]) @ model["W"].T + model["b_prime"])
    quality = read_table(page, "How good it is")
    assert quality["this model"][0] == describe(cross_entropy(x, z))


def read_pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_snapshots(train):
    run = train("--training-epochs=5", "--snapshots=2")
    names = sorted(path.name for path in (run / "filters-every-2").iterdir())
    assert names == ["00000.png", "00002.png", "00004.png"]
    short = train("--training-epochs=4", name="short")
    W = np.load(short / "model.npz")["W"]
    assert_array_equal(read_pixels(run / "filters-every-2" / "00004.png"), draw_filters(W, (3, 5)))
    with Image.open(run / "filters.gif") as animation:
        assert animation.n_frames == 3
        assert animation.size == (46 * 11, 46 * 7)
        animation.seek(2)
        last = np.asarray(animation.convert("L"), int)
    assert np.abs(last[::46, ::46] - draw_filters(W, (3, 5))).max() < 16
    assert "image/gif" in (run / "report.html").read_text(encoding="utf-8")
    assert not (short / "filters.gif").exists()


class CrashError(Exception):
    pass


@pytest.mark.parametrize("moment", ["in the epoch", "before the picture", "after the picture"])
def test_snapshots_of_a_run_that_crashed_are_those_of_one_that_did_not(train, monkeypatch, moment):
    whole = train("--training-epochs=6", "--snapshots=2", name="whole")
    snapshots = _train_and_save.Snapshots

    class Crashing(snapshots):
        def on_minibatch(self, training):
            if moment == "in the epoch" and training.n_iterations == 17:
                raise CrashError

        def on_epoch(self, training, epoch):
            if moment == "before the picture" and len(training.history) == 4:
                raise CrashError
            super().on_epoch(training, epoch)
            if moment == "after the picture" and len(training.history) == 4:
                raise CrashError

    monkeypatch.setattr(_train_and_save, "Snapshots", Crashing)
    with pytest.raises(CrashError):
        train("--training-epochs=6", "--snapshots=2", "--checkpoint-every=1", name="parts")
    monkeypatch.setattr(_train_and_save, "Snapshots", snapshots)
    parts = whole.with_name("parts")
    train("--resume", parts)
    names = [f"0000{n}.png" for n in (0, 2, 4, 6)]
    assert sorted(path.name for path in (parts / "filters-every-2").iterdir()) == names
    for name in [*(f"filters-every-2/{name}" for name in names), "filters.gif", "filters.png"]:
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3)])
@pytest.mark.parametrize("n_hidden", [1, 5, 6, 9])
def test_tiles_are_put_into_another_order(shape, n_hidden):
    rng = np.random.default_rng(0)
    W, order = rng.normal(size=(np.prod(shape), n_hidden)), rng.permutation(n_hidden)
    assert_array_equal(_reorder(draw_filters(W, shape), order), draw_filters(W[:, order], shape))


def test_sorted_filters(train, images):
    plain = train("--training-epochs=9", "--snapshots=9", name="plain")
    run = train("--training-epochs=9", "--snapshots=9", "--sort-filters")
    model = np.load(run / "model.npz")
    y = sigmoid(images["test_x"].reshape(-1, 15) @ model["W"] + model["b"])
    order = np.argsort(-y.std(axis=0) * np.linalg.norm(model["W"], axis=0))
    assert sorted(order) != list(order)
    expected = draw_filters(model["W"][:, order], (3, 5))
    assert_array_equal(read_pixels(run / "filters.png")[::46, ::46], expected)
    expected = draw_filters(model["W"], (3, 5))
    assert_array_equal(read_pixels(plain / "filters.png")[::46, ::46], expected)
    # The snapshots themselves are in the order of the units.
    assert_array_equal(read_pixels(run / "filters-every-9" / "00009.png"), expected)
    assert grid_shape(3) == (2, 2)
    assert "those first that contribute most" in (run / "report.html").read_text(encoding="utf-8")


def test_the_command_to_repeat_a_run(train):
    run = train("--training-epochs=2", "--seed=5", "--shuffle", "--floatX=float32")
    record = json.loads((run / "config.json").read_text())
    del record["versions"]
    config = Config.from_record(record)
    page = (run / "report.html").read_text(encoding="utf-8")
    command = html.unescape(re.search('<pre class="command"><code>(.*?)</code>', page)[1])
    assert command == command_to_repeat(config)
    assert command.startswith("python -m dae.train ")
    options = vars(make_parser().parse_args(shlex.split(command)[3:]))
    again = Config(**{name: options[name] for name in record if name in options})
    assert replace(again, data_sha256=config.data_sha256) == config


def test_the_command_to_repeat_the_worksheet():
    config = Config(image_shape=[28, 28], data_sha256="0")
    assert command_to_repeat(config) == "python -m dae.train"


def test_colours(browser, train, tmp_path):
    rng = RandomState(3)
    x = (rng.uniform(size=(40, 4)) @ rng.uniform(size=(4, 45)) / 4).reshape(-1, 3, 5, 3)
    np.save(tmp_path / "x.npy", x)
    run = train(f"--data={tmp_path / 'x.npy'}", "--training-epochs=2", "--snapshots=1")
    W = np.load(run / "model.npz")["W"]
    assert_array_equal(read_pixels(run / "filters.png")[::46, ::46], draw_filters(W, (3, 5, 3)))
    snapshot = read_pixels(run / "filters-every-1" / "00002.png")
    assert_array_equal(snapshot, draw_filters(W, (3, 5, 3)))
    originals = read_pixels(run / "reconstructions.png")[:: 512 // 120, :: 512 // 120]
    assert_array_equal(originals[:3, :5], (255 * x[0]).astype(np.uint8))
    with Image.open(run / "filters.gif") as animation:
        assert animation.n_frames == 3
    browser.open(run / "report.html")
    assert browser.messages == []
    assert browser.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert "3×5 in colour" in browser.evaluate("document.body.innerText")
    command = command_to_repeat(Config(data="x.npy", image_shape=[3, 5, 3]))
    assert command == "python -m dae.train --data x.npy --image-shape 3x5 --color"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_views_of_a_model_that_standardizes(dtype):
    rng = RandomState(1)
    with pytensor.config.change_flags(floatX=dtype):
        model = DenoisingAutoencoder(rng, n_visible=6, n_hidden=3)
    model.mean, model.scale = rng.uniform(0.5, 1.5, size=(2, 6)).astype(dtype)
    W, b, b_prime = (param.get_value() for param in model.params)
    images = rng.uniform(size=(50, 6)).astype(dtype)
    views = compile_view(model, 0.4, seed=5)(images)
    x = (images - model.mean) / model.scale
    y = sigmoid(x @ W + b)
    z = sigmoid(y @ W.T + b_prime) * model.scale + model.mean
    tilde_x = (views.corrupted - model.mean) / model.scale
    denoised = sigmoid(sigmoid(tilde_x @ W + b) @ W.T + b_prime) * model.scale + model.mean
    for actual, expected in zip(views, [images, views.corrupted, z, denoised, y], strict=True):
        assert actual.dtype == dtype
        assert_allclose(actual, expected, rtol=2e-5 if dtype == "float32" else 1e-12)
    is_hidden = np.abs(tilde_x) < 1e-6
    assert_allclose(tilde_x[~is_hidden], x[~is_hidden], rtol=1e-4)
    assert 0.3 < is_hidden.mean() < 0.5
    # The model's own streams are where they were, and the noise is that of the seed.
    assert_array_equal(compile_view(model, 0.4, seed=5)(images).corrupted, views.corrupted)
    assert not np.array_equal(compile_view(model, 0.4, seed=6)(images).corrupted, views.corrupted)


def test_the_squared_error_and_weights_that_are_not_tied(images, tmp_path):
    parts = [(images[f"{part}_x"].reshape(-1, 15), None) for part in ("train", "valid", "test")]
    (train_x, _), (valid_x, _), (test_x, _) = parts
    config = Config(
        image_shape=(3, 5), training_epochs=3, n_hidden=4, corruption_level=0, cost="squared-error"
    )
    model = Autoencoder(
        RandomState(1), n_visible=15, n_hidden=4, cost="squared-error", tied_weights=False
    )
    with Run(tmp_path / "run") as run:
        judge = Judge(config, Dataset(*parts, (3, 5)))
        fit(config, train_x, validation=valid_x, model=model, run=run)
        save_results(run, model, Dataset(*parts, (3, 5)), judge, sort_filters=True)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    W, b, b_prime, W_prime = (param.get_value() for param in model.params)
    z = sigmoid(valid_x @ W + b) @ W_prime + b_prime
    assert "squared error per image" in page
    assert "nats" not in page
    cost = np.mean(np.sum((valid_x - z) ** 2, axis=1))
    quality = read_table(page, "How good it is")
    assert quality["this model"] == [describe(cost), describe(cost / 15)]
    baselines = compute_baselines(train_x, valid_x, 4, "squared-error")
    assert quality["PCA with 4 components"][0] == describe(baselines["PCA"])
    y = sigmoid(test_x @ W + b)
    order = np.argsort(-y.std(axis=0) * np.linalg.norm(W_prime, axis=1))
    pixels = read_pixels(tmp_path / "run" / "filters.png")[::46, ::46]
    assert_array_equal(pixels, draw_filters(W[:, order], (3, 5)))


def test_of_very_many_images_every_third_is_looked_at(tmp_path):
    x = RandomState(1).uniform(size=(20_001, 4))
    config = Config(image_shape=(2, 2), training_epochs=1, n_hidden=2, corruption_level=0)
    dataset = Dataset((x, None), (x[:0], None), (x[:0], None), (2, 2))
    judge = Judge(config, dataset)
    with Run(tmp_path / "run") as run:
        model, _ = fit(config, x, run=run)
        save_results(run, model, dataset, judge)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "20001 images of 2×2" in page
    assert "6667 training images" in page
    baseline = compute_baselines(x[::3], x[::3], 2)["mean image"]
    assert read_table(page, "How good it is")["always the mean image"][0] == describe(baseline)


def test_of_images_that_lie_class_by_class_all_classes_are_drawn():
    labels = np.repeat(np.arange(7, dtype=np.int32), 300)
    chosen = choose_images(len(labels), labels)
    assert len(set(chosen)) == N_VIEWED
    assert set(labels[chosen[:N_DRAWN]]) == set(range(7))
    for others in None, labels[::-1]:
        assert_array_equal(choose_images(len(labels), others), range(N_VIEWED))
    assert_array_equal(choose_images(3, labels[:3]), range(3))
