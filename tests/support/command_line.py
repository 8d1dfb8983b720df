"""A small recipe for the command line, the type of the fixture that runs a command, and winnow as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.cli import app

RECIPE = """\
name: small
seed: 5
datasets:
  a: {{paths: {a}, columns: {{id: id, url: url}}}}
  b: {{paths: {b}, columns: {{id: id, url: url}}}}
stages:
  - {{use: exact_dedup}}
  - {{use: minhash, shingle_width: 8}}
  - {{use: near_dedup, jaccard_threshold: 0.7}}
  - {{use: quality, model: "column:score", min_score: 0.3}}
cluster: {{kind: inline}}
"""


Winnow = Callable[..., tuple[int, str, str]]


def subprocess_of(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", *arguments]
    root = Path(app.__file__).parents[2]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=root, env=os.environ | environment, timeout=60, check=False
    )
