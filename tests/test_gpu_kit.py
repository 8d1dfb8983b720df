"""The kit for a GPU machine: what it cuts out of a library, and that its rates are taken of kernels that there are."""

from __future__ import annotations

import lzma
import struct
import sys
import tarfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu_rates
from benchmarks.gpu_kit import pack
from cluster.device import backend
from pipelines.plan.gpu import device_rates
from tests.stages.inputs.test_device_reader import device  # noqa: F401  a fixture
from tests.support import cuda_on_host, fasttext_variants


def library(codes: dict[int, bytes]) -> bytes:
    """Return an ELF file with one fat binary that holds these codes by compute capability, behind some padding."""
    entries = b"".join(
        struct.pack("<HHIQ", 2, 1, 64, len(code)) + bytes(12) + struct.pack("<I", capability) + bytes(32) + code
        for capability, code in codes.items()
    )
    fat = bytes(16) + struct.pack("<IHHQ", pack.FATBIN_MAGIC, 1, 16, len(entries)) + entries
    names = b"\0.text\0.nv_fatbin\0"
    at = 64
    sections = [(1, at, 8), (7, at + 8, len(fat)), (0, at + 8 + len(fat), len(names))]
    table = at + 8 + len(fat) + len(names)
    head = bytearray(64)
    struct.pack_into("<Q", head, 0x28, table)
    struct.pack_into("<HHH", head, 0x3A, 64, 3, 2)
    rows = b"".join(
        struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, where, size, 0, 0, 1, 0) for name, where, size in sections
    )
    return bytes(head) + b"hostcode" + fat + names + rows


def test_device_code_of_other_gpus_is_zeroed_and_nothing_else(tmp_path: Path) -> None:
    codes = {80: b"A" * 24, 90: b"B" * 40, 100: b"C" * 16}
    whole = library(codes)
    (tmp_path / "a.so").write_bytes(whole)
    assert pack.zero_others(tmp_path / "a.so", tmp_path / "b.so", 90) == {80: 24, 90: 40, 100: 16}
    assert (tmp_path / "b.so").read_bytes() == library({80: bytes(24), 90: codes[90], 100: bytes(16)})


def test_archives_hold_what_was_gathered(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "libcudf" / "lib64").mkdir(parents=True)
    (site / "libcudf" / "include").mkdir()
    (site / "cudf" / "tests").mkdir(parents=True)
    (site / "libcudf" / "lib64" / "libcudf.so").write_bytes(library({90: b"B" * 8, 80: b"A" * 8}))
    (site / "cudf" / "a.py").write_text("1\n")
    (site / "cudf" / "a.pyx").write_text("1\n")
    (tmp_path / "there").mkdir()
    pack.gather(site, tmp_path / "there", 90)
    large, rest = pack.pack(tmp_path / "there", tmp_path / "out")
    carried = lzma.decompress(large.read_bytes())
    assert b"B" * 8 in carried
    assert b"A" * 8 not in carried
    with tarfile.open(rest) as archive:
        files = {name for name in archive.getnames() if name.endswith((".py", ".so", ".pyx"))}
    assert files == {"./cudf/a.py", "./cuml/__init__.py", "./pylibcugraph/__init__.py"}


def test_the_language_model_is_carried_where_it_is_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WINNOW_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(pack, "LANGUAGE_MODEL", "own.ftz")
    pack.add_language_model(tmp_path)
    assert "without the rate of own.ftz" in capsys.readouterr().err
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "own.ftz").write_bytes(b"model")
    pack.add_language_model(tmp_path)
    assert (tmp_path / "own.ftz").read_bytes() == b"model"


def test_what_is_carried_is_measured_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.xz", "b.txz"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
    assert pack.total(tmp_path) == "together: 2.0 MiB"
    monkeypatch.setattr(pack, "LARGEST", 3 << 19)
    assert pack.total(tmp_path) == "together: 2.0 MiB, too large to be carried"


@pytest.mark.skipif(cuda_on_host.compiler() is None, reason="no C++ compiler")
@pytest.mark.usefixtures("device")
def test_rates_are_taken_of_every_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_resolved", "gpu")
    stand_in: Any = types.SimpleNamespace(runtime=types.SimpleNamespace(deviceSynchronize=lambda: None))
    monkeypatch.setattr(sys.modules["cupy"], "cuda", stand_in, raising=False)
    model = str(fasttext_variants.builder(tmp_path)("tree"))
    found = gpu_rates.measure(6, [model], times=1)
    kernels = {name.split(",")[0].split(" ")[0] for name in found}
    assert kernels == set(device_rates.KERNELS) - {"fasttext_word_sums"}
    assert all(np.isfinite(rate) and rate > 0 for rate in found.values())
    assert sum("on the device" in name for name in found) >= len(kernels)
    assert gpu_rates.table(found).count("\n") == len(found) + 1
