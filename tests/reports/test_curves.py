import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dae.reports.curves import plot_costs


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved."""
    found = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, *args, **kw: (found.append(self), savefig(self, *args, **kw)),
    )
    return found


def test_costs_alone(tmp_path, figures):
    plot_costs(tmp_path / "costs.png", [3.0, 2.0, 1.5])
    (axes,) = figures[0].axes
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xydata(), [[0, 3], [1, 2], [2, 1.5]])
    assert axes.get_legend() is None
    assert axes.get_ylabel() == "cost (nats per image)"
    with Image.open(tmp_path / "costs.png") as picture:
        assert picture.size == (900, 600)


def test_validation_baselines_and_pixels(tmp_path, figures):
    baselines = {"PCA": 1.0, "mean image": 8.0}
    plot_costs(tmp_path / "c.png", [3.0, 2.0, 1.8], [(0, 4.0), (2, 3.5)], baselines, 16, "u")
    (axes,) = figures[0].axes
    training, validation, *levels = axes.lines
    assert list(training.get_ydata()) == [3, 2, 1.8]
    np.testing.assert_array_equal(validation.get_xydata(), [[0, 4], [2, 3.5]])
    assert [set(level.get_ydata()) for level in levels] == [{1}, {8}]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["training", "validation", "PCA", "mean image"]
    (right,) = axes.child_axes
    assert right.get_ylabel() == "u per pixel"
    assert np.allclose(right.get_ylim(), np.array(axes.get_ylim()) / 16)
