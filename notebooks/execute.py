"""Execute notebooks in place, as they are committed: python notebooks/execute.py [notebook ...].

What depends on the machine or the browser is left out: progress bars, time stamps, versions, and
the second copy, as JPEG, of every picture.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

BAR = "application/vnd.jupyter.widget-view+json"


def execute(path):
    """Run every cell of a notebook, and write it back with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    metadata = notebook.metadata.copy()
    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=3600,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    notebook.metadata = metadata
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = merge(o for o in cell.outputs if BAR not in o.get("data", {}))
            for output in cell.outputs:
                output.get("data", {}).pop("image/jpeg", None)
    nbformat.write(notebook, path)


def merge(outputs):
    """Join the stretches of printed lines that a progress bar had separated."""
    merged = []
    for output in outputs:
        if merged and output.output_type == merged[-1].output_type == "stream":
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(Path(__file__).parent.glob("*.ipynb")):
        execute(Path(name))
