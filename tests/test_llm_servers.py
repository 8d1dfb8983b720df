"""The client against a real server: llama-cpp-python's, with a tiny model of random weights.

Left out where llama-cpp-python and gguf are not installed: `make test-extras` installs them, or WINNOW_LLM_PYTHON
names a Python that has them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.run import runner
from tests.stages.test_llm_judge import facts, recipe, statuses

PYTHON = os.environ.get("WINNOW_LLM_PYTHON", sys.executable)  # that has llama-cpp-python and gguf
ROOT = Path(__file__).parents[1]
HAVE = subprocess.run([PYTHON, "-c", "import llama_cpp, gguf"], capture_output=True, check=False).returncode == 0
pytestmark = pytest.mark.skipif(not HAVE, reason="needs llama-cpp-python and gguf")
WRITE = "import sys, pathlib; from tests.support.tiny_gguf import write; write(pathlib.Path(sys.argv[1]))"
SCORE = 'user: "{text}"\nmax_chars: 400\nanswer: {score: {minimum: 0, maximum: 5, whole: true}}\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the base URL of a server that runs until the tests of this file end."""
    model = tmp_path_factory.mktemp("model") / "tiny.gguf"
    subprocess.run([PYTHON, "-c", WRITE, str(model)], cwd=ROOT, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PYTHON, "-m", "llama_cpp.server", "--model", str(model), "--n_ctx", "4096", "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{url}/models", timeout=2)
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def test_a_real_server_answers_in_the_asked_form(server: str, tmp_path: Path) -> None:
    (tmp_path / "score.yaml").write_text(SCORE)
    stage: dict[str, Any] = {"use": "llm_judge", "base_urls": [server], "models": ["tiny"], "max_tokens": 24}
    stage |= {"prompt": str(tmp_path / "score.yaml"), "sample": 20, "concurrency": 4, "budget_tokens": 60_000}
    runner.run(recipe(tmp_path, [{"use": "exact_dedup"}, stage], rows=60), str(tmp_path / "run"))
    found = facts(tmp_path / "run")
    assert statuses(found)[None] == 20
    assert {row["judge_score"] for row in found.values()} <= {None, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0}
    from classifiers.endpoint import answers

    folders = list((tmp_path / "run" / "answers").iterdir())
    paths = [path for folder in folders for path in answers.files(str(folder))]
    spent = [answers.spent(path) for path in paths]
    assert sum(one.requests for one in spent) == 20
    tokens = sum(one.tokens.asked + one.tokens.answered for one in spent)
    assert 20 * 20 < tokens <= 60_000
