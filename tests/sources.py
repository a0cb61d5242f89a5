"""The sources of `dae`, for the tests that read them."""

from pathlib import Path

import dae


def read_sources():
    """Return the sources of all modules, by name."""
    root = Path(dae.__file__).parent.parent
    sources = {}
    for path in sorted(root.glob("dae/**/*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        sources[name.removesuffix(".__init__")] = path.read_text(encoding="utf-8")
    return sources
