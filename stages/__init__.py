"""One file per stage."""

from pathlib import Path

from cluster.compiled import prepare

prepare(Path(__file__).parent / "kernels")
