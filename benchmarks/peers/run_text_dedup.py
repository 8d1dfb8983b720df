"""Drive text-dedup: its embedding function for signatures, `python -m text_dedup.minhash` to deduplicate.

Deduplicated rows stay in the Arrow files that the tool writes. Variant `verified` checks false positives.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import protocol

CONFIG = """
[input]
input_type = "local_files"
file_type = "parquet"

[input.read_arguments]
path = "parquet"
data_dir = "{input}"
split = "train"
cache_dir = "{cache}"

[algorithm]
algorithm_name = "minhash"
text_column = "text"
num_perm = 128
threshold = 0.8
ngram_size = {width}
num_proc = 1
check_false_positive = {verified}

[output]
output_dir = "{output}"

[debug]
enable_profiling = false
"""


def embedder(options: argparse.Namespace) -> Any:
    """Return the function that turns one text into its bands."""
    from text_dedup.config import MinHashAlgorithmConfig

    config = MinHashAlgorithmConfig(
        algorithm_name="minhash", text_column="text", num_perm=128, threshold=0.8, ngram_size=options.width, num_proc=1
    )
    return config.get_embed_func()


def dedup(options: argparse.Namespace) -> None:
    """Write config.toml and become the tool."""
    work: Path = options.output.with_name(options.output.name + "-work")
    work.mkdir(parents=True, exist_ok=True)
    values = {
        "input": options.input.resolve(),
        "output": options.output.resolve(),
        "cache": (work / "cache").resolve(),
        "width": options.width,
        "verified": "true" if options.variant == "verified" else "false",
    }
    (work / "config.toml").write_text(CONFIG.format(**values))
    os.environ["HF_HOME"] = str((work / "cache").resolve())
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.chdir(work)
    os.execv(sys.executable, [sys.executable, "-m", "text_dedup.minhash"])


if __name__ == "__main__":
    given = protocol.arguments()
    if given.task == "signatures":
        embed = embedder(given)
        protocol.measure(given, lambda texts: sum(len(embed([text], [0])) for text in texts))
    else:
        dedup(given)
