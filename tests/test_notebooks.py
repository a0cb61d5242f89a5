"""The notebooks: as they are committed, and executed again from start to end."""

import io
import json
import os
import re
import sys
import tokenize
from pathlib import Path

import nbformat
import oracle
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
WORKSHEET = "denoising_autoencoder"
WORKSHEET_JA = "denoising_autoencoder_ja"
PORTING = "from_theano_to_pytensor"
ALL = [WORKSHEET, WORKSHEET_JA, PORTING]

PUBLISHED = [*oracle.PUBLISHED[0.0], *oracle.PUBLISHED[0.3]]
NOISE = ["".join(map(str, row)) for row in oracle.SAMPLE]

# Not as an option of the kernel, which warns of itself when it starts, and when it ends.
STRICT = """
import warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module="ipykernel")
"""


def read(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook):
    """Everything that the cells print or show as text."""
    texts = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            shown = {"text/plain": output.get("text", "")} | output.get("data", {})
            texts += [shown["text/plain"], shown.get("text/markdown", "")]
    return "\n".join(texts)


def sources(notebook):
    """The parts of the package that are shown."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [
        output.data["text/plain"] for output in outputs if "text/html" in output.get("data", {})
    ]


def without_comments(source):
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type not in (tokenize.COMMENT, tokenize.NL)]


def execute(name, directory, training_epochs=None):
    """Run a copy of a notebook in a new kernel of this very Python, warnings being errors."""
    notebook = read(name)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
        if training_epochs is not None:
            cell.source = cell.source.replace(
                "training_epochs = 200", f"training_epochs = {training_epochs}"
            )
    code_cells(notebook)[0].source = STRICT + code_cells(notebook)[0].source
    kernel = {
        "display_name": "tests",
        "language": "python",
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "env": {"PYTHONPATH": os.pathsep.join(sys.path)},
    }
    (directory / "kernels" / "tests").mkdir(parents=True)
    (directory / "kernels" / "tests" / "kernel.json").write_text(json.dumps(kernel))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(directory))
        NotebookClient(notebook, kernel_name="tests", timeout=1800).execute(cwd=str(directory))
    return notebook


def check_executed(notebook):
    """Every cell has run, in order, without an error, without a word on stderr."""
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert "error" not in {output.output_type for output in outputs}
    assert {output.name for output in outputs if output.output_type == "stream"} == {"stdout"}


def check_costs(notebook):
    """The published costs and noise are printed, and the table of differences is all zeros."""
    text = printed(notebook)
    epochs = re.findall(r"Training epoch (\d+), cost (\S+)", text)
    assert epochs == [(str(i % 20 * 10), cost) for i, cost in enumerate(PUBLISHED)]
    assert re.findall(r"[01]{10}", text.replace(" ", "")) == NOISE
    rows = [row.strip("| ").split(" | ") for row in text.splitlines() if row.count("0.000000") > 1]
    expected = zip(range(0, 200, 10), PUBLISHED[:20], PUBLISHED[20:], strict=True)
    assert rows == [
        [str(epoch), plain, plain, "0.000000", denoising, denoising, "0.000000"]
        for epoch, plain, denoising in expected
    ]


def check_prose(notebook):
    """What the text names, the cells show: each operation, and each number that was measured."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    shown = "\n".join([printed(notebook), *(cell.source for cell in code_cells(notebook))])
    operations = set(re.findall(r"`([A-Z][a-z]\w*)`", "\n".join(texts)))
    assert {"Dot", "Sigmoid"} <= operations <= set(re.findall(r"\w+", shown))

    [start] = [i for i, text in enumerate(texts) if "\n## 12." in text]
    numbers = set(re.findall(r"\d+\.\d+", "\n".join(texts[start + 1 :])))
    assert len(numbers) > 15
    assert numbers <= set(re.findall(r"\d+\.\d+", printed(notebook)))


@pytest.mark.parametrize("name", ALL)
def test_committed_as_executed(name):
    notebook = read(name)
    nbformat.validate(notebook)
    check_executed(notebook)


@pytest.mark.parametrize("name", ALL)
def test_committed_is_small_and_of_no_particular_machine(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    assert path.stat().st_size < 1_500_000
    content = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|Users|tmp)/|site-packages|[A-Z]:\\\\", content)
    assert "widget" not in content
    assert set(read(name).metadata) == {"kernelspec", "language_info"}


@pytest.mark.parametrize("name", [WORKSHEET, WORKSHEET_JA])
def test_committed_costs_are_the_published_ones(name):
    check_costs(read(name))
    check_prose(read(name))


def test_languages_share_their_code_and_not_their_text():
    english, japanese = read(WORKSHEET), read(WORKSHEET_JA)
    assert len(english.cells) == len(japanese.cells)
    for cell, translated in zip(english.cells, japanese.cells, strict=True):
        assert cell.cell_type == translated.cell_type
        if cell.cell_type == "code":
            assert without_comments(cell.source) == without_comments(translated.source)
        else:
            assert re.search("[ぁ-ん]", translated.source)
            assert not re.search("[ぁ-ん]", cell.source)


def test_worksheet_in_full(tmp_path):
    notebook = execute(WORKSHEET, tmp_path)
    check_executed(notebook)
    check_costs(notebook)
    check_prose(notebook)


def test_worksheet_in_japanese(tmp_path):
    notebook = execute(WORKSHEET_JA, tmp_path, training_epochs=1)
    check_executed(notebook)
    assert len(sources(notebook)) == 4
    assert sources(notebook) == sources(read(WORKSHEET_JA)) == sources(read(WORKSHEET))
    assert f"Training epoch 0, cost {PUBLISHED[0]}" in printed(notebook)
    assert f"Training epoch 0, cost {PUBLISHED[20]}" in printed(notebook)


def test_porting(tmp_path):
    notebook = execute(PORTING, tmp_path)
    check_executed(notebook)
    assert printed(notebook).split()[2:] == printed(read(PORTING)).split()[2:]
