"""docs/python.ipynb runs from its first cell to its last, and shows what docs/python.md promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "python.ipynb"
# In a process of its own: the libraries of notebooks warn of their own affairs.
RUN = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The outputs of each cell with code."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    folder = tmp_path_factory.mktemp("notebook")
    where = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / "ipython")}
    command = [sys.executable, "-c", RUN, str(NOTEBOOK), str(folder / "done.ipynb")]
    done = subprocess.run(command, cwd=folder, env=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads((folder / "done.ipynb").read_text())["cells"]
    return [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]


def html(outputs: list[Any]) -> str:
    return "".join("".join(o.get("data", {}).get("text/html", "")) for o in outputs)


def test_every_cell_runs_and_shows_its_result(outputs: list[Any]) -> None:
    assert len(outputs) == 9
    assert not [o for cell in outputs for o in cell if o["output_type"] == "error"]
    assert "notebook: documents and tokens" in html(outputs[1])
    assert "held out of the mix" in html(outputs[1])
    assert "".join(outputs[2][-1]["data"]["text/plain"]) == "True"
    assert "low_quality" in html(outputs[3])
    assert "copy-3" in html(outputs[6])
    assert "rows kept" in html(outputs[7])


def test_no_cell_shows_a_path_of_this_machine_or_is_kept_with_its_output() -> None:
    kept = json.loads(NOTEBOOK.read_text())
    assert not [cell for cell in kept["cells"] if cell.get("outputs") or cell.get("execution_count")]
