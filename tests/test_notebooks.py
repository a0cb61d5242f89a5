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
CLAIMS = "what_autoencoders_are_for"
CLAIMS_JA = "what_autoencoders_are_for_ja"
ALL = [WORKSHEET, WORKSHEET_JA, PORTING, CLAIMS, CLAIMS_JA]

CLASSIFIER = (
    '    config = dae.LogisticRegressionConfig(batch_size=60, training_epochs=40, floatX="float32")'
)

LOADED = "train, valid, test = dae.load_data()"

LITTLE = {
    "import dae": "import dae, compile_once; compile_once.compile_once()",
    LOADED: "train, valid, test = (tuple(pytensor.shared(values.get_value()[:600]) "
    "for values in part) for part in dae.load_data())",
    "n_seeds = 3": "n_seeds = 1",
    CLASSIFIER: CLASSIFIER.replace("40", "1"),
    "training_epochs = 15": "training_epochs = 1",
    "deep_epochs = 25": "deep_epochs = 2",
    "n_images = 5_000": "n_images = 600",
    "n_iter = 20": "n_iter = 1",
}
"""The measurements of the claims, so short that they say nothing, but every line is run. Their many
models have few graphs, each of which is compiled once."""

PUBLISHED = [*oracle.PUBLISHED[0.0], *oracle.PUBLISHED[0.3]]
NOISE = ["".join(map(str, row)) for row in oracle.SAMPLE]

# What the compiler puts in the place of the formulas, and what it replaces.
OPERATIONS = {"Gemm", "Sigmoid", "CrossEntropy", "ColumnSum"}
REPLACED = {"Dot", "Log", "MatrixTranspose", "Softplus"}

TIME = re.compile(r"^time of a step.*\n?", re.MULTILINE)

# Not as an option of the kernel, which warns of itself when it starts, and when it ends.
STRICT = """
import warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module="ipykernel")
# The oldest scikit-learn calls the newest SciPy as that will not be called for long.
warnings.filterwarnings("ignore", "scipy.optimize: The `disp` and `iprint` options")
"""


def read(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook, code=""):
    """What the cells print or show as text; with code, only those that contain it."""
    texts = []
    for cell in code_cells(notebook):
        if code not in cell.source:
            continue
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


def execute(name, directory, changes=None):
    """Run a copy of a notebook in a new kernel of this very Python, warnings being errors.

    The changes are lines of code, and what they become; each must be there.
    """
    notebook = read(name)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    for line, changed in (changes or {}).items():
        cells = [cell for cell in code_cells(notebook) if line in cell.source.splitlines()]
        assert cells, line
        for cell in cells:
            cell.source = cell.source.replace(line, changed)
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
    assert {output.name for output in outputs if output.output_type == "stream"} <= {"stdout"}


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
    assert OPERATIONS | REPLACED <= operations <= set(re.findall(r"\w+", shown))

    [start] = [i for i, text in enumerate(texts) if "\n## 12." in text]
    numbers = set(re.findall(r"\d+\.\d+", "\n".join(texts[start + 1 :])))
    assert len(numbers) > 15
    assert numbers <= set(re.findall(r"\d+\.\d+", printed(notebook)))


def check_compilation(notebook):
    """The cost is the plain formula, and what is compiled are the operations of `dae`.

    Compiled without them, it is PyTensor's own again, in which a saturated unit is as harmless.
    """
    words = re.compile(r"[A-Z]\w+")
    plain = words.findall(printed(notebook, "pytensor.dprint(cost"))
    assert plain.count("Log") == 2
    assert not (OPERATIONS - {"Sigmoid"}) & set(plain)

    compiled = words.findall(printed(notebook, "pytensor.dprint(train_da"))
    assert set(compiled) >= OPERATIONS
    assert compiled.count("Gemm") == 4
    assert not REPLACED & set(compiled)

    listing = printed(notebook, 'mode.excluding("dae")')
    assert "PyTensor, dae: " in listing
    without, with_dae = listing.split("PyTensor, dae: ")
    assert {"Dot", "MatrixTranspose"} <= set(words.findall(without))
    assert not OPERATIONS & set(words.findall(without))
    assert set(words.findall(with_dae)) >= OPERATIONS

    table = printed(notebook, "L_numpy")
    assert [row.strip("| ").split(" | ") for row in table.splitlines()[-4:]] == [
        ["1000", "0.3", "inf", "nan", "700", "0.7"],
        ["-1000", "0.3", "inf", "nan", "300", "-0.3"],
        ["1000", "1", "nan", "nan", "0", "0"],
        ["2", "0.3", "1.527", "0.5808", "1.527", "0.5808"],
    ]


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
    check_compilation(read(name))
    check_prose(read(name))


@pytest.mark.parametrize("names", [(WORKSHEET, WORKSHEET_JA), (CLAIMS, CLAIMS_JA)])
def test_languages_share_their_code_and_not_their_text(names):
    """So one of them has to be executed only: Python sees no difference."""
    english, japanese = map(read, names)
    assert len(english.cells) == len(japanese.cells)
    assert english.metadata == japanese.metadata
    for cell, translated in zip(english.cells, japanese.cells, strict=True):
        assert cell.cell_type == translated.cell_type
        assert cell.metadata == translated.metadata
        if cell.cell_type == "code":
            assert without_comments(cell.source) == without_comments(translated.source)
        else:
            assert re.search("[ぁ-ん]", translated.source)
            assert not re.search("[ぁ-ん]", cell.source)


def test_worksheet_in_full(tmp_path):
    notebook = execute(WORKSHEET, tmp_path)
    check_executed(notebook)
    check_costs(notebook)
    check_compilation(notebook)
    check_prose(notebook)
    assert len(sources(notebook)) == 4
    assert sources(notebook) == sources(read(WORKSHEET)) == sources(read(WORKSHEET_JA))


def test_porting(tmp_path):
    notebook = execute(PORTING, tmp_path)
    check_executed(notebook)
    committed, executed = (printed(one) for one in (read(PORTING), notebook))
    # All but the version of PyTensor, which comes first, and the measured times.
    assert TIME.sub("", executed).split()[2:] == TIME.sub("", committed).split()[2:]
    for text in (committed, executed):
        without, with_dae, ratio = TIME.findall(text)
        assert re.fullmatch(r"time of a step, without dae: +\d+ µs\n", without)
        assert re.fullmatch(r"time of a step, with dae: +\d+ µs\n", with_dae)
        assert re.fullmatch(r"time of a step, without / with: \d+\.\d\n", ratio)


def test_porting_speeds_up_the_pasted_class():
    text = printed(read(PORTING), "ours = ")
    without, with_dae = re.split("^with dae$", text, flags=re.MULTILINE)
    assert without.strip() == "without dae"
    assert set(re.findall("[A-Z][A-Za-z]+", with_dae)) >= OPERATIONS
    assert (
        printed(read(PORTING), "time.perf_counter").count(f"cost {PUBLISHED[20]} in epoch 0") == 2
    )


def tables(notebook):
    """The tables that are shown: lists of rows, which are lists of cells."""
    texts = [output.data.get("text/markdown", "") for output in shown(notebook)]
    return [[row.strip("| ").split(" | ") for row in text.splitlines()] for text in texts if text]


def shown(notebook):
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [output for output in outputs if "data" in output]


@pytest.mark.parametrize("name", [CLAIMS, CLAIMS_JA])
def test_claims_that_the_text_makes_are_in_the_tables(name):
    notebook = read(name)
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    numbers = set(re.findall(r"\d+\.\d\d", "\n".join(texts)))
    assert len(numbers) > 20
    assert numbers <= set(re.findall(r"\d+\.\d\d", printed(notebook)))
    assert printed(notebook) == printed(read(CLAIMS))


def test_claims_can_be_measured_again(tmp_path):
    notebook = execute(CLAIMS, tmp_path, LITTLE)
    check_executed(notebook)
    committed = tables(read(CLAIMS))
    assert len(committed) == 5
    for table, expected in zip(tables(notebook), committed, strict=True):
        assert [row[0] for row in table] == [row[0] for row in expected]
        assert [len(row) for row in table] == [len(row) for row in expected]
    assert sum("image/png" in output.data for output in shown(notebook)) == 3
