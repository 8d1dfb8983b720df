"""NVRTC compiles every kernel of winnow's own, for every architecture, without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.codebase import PACKAGES, package_folder
from cluster.device import cuda_source
from tests.support import cuda_on_host

SOURCES = sorted(path for name in PACKAGES for path in package_folder(name).rglob("*.cu"))


def test_a_source_holds_the_kernel_after_which_it_is_named() -> None:
    assert len(SOURCES) >= 4
    for source in SOURCES:
        assert [name for name, _ in cuda_on_host.KERNEL.findall(source.read_text())] == [source.stem]


def test_lines_of_sources_are_as_long_as_those_of_python_at_most() -> None:
    sources = {*SOURCES, *(path for name in PACKAGES for path in package_folder(name).rglob("cuda/*.h"))}
    lines = [(f"{path.name}:{n}", line) for path in sources for n, line in enumerate(path.read_text().splitlines(), 1)]
    long = [place for place, line in lines if len(line) > 120]
    assert len(sources) > len(SOURCES)
    assert not long


@pytest.mark.parametrize("architecture", ["compute_80", "compute_90", "compute_100"])
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_nvrtc_compiles_every_kernel(source: Path, architecture: str) -> None:
    _, problem = cuda_on_host.nvrtc()
    if problem:
        pytest.skip(f"NVRTC cannot be had: {problem}")
    code, options = cuda_source.code(source), cuda_source.options(source)
    assert cuda_on_host.compiled(code, architecture, options) == ""
    assert cuda_on_host.compiled(code + "\nint x = y;", architecture, options)
