"""Machine code of the pinned release: cuDF's 32-bit MinHash multiplies and adds in 32 bits, which wrap as on the host.

libcudf is that of this environment, or its wheel, which is fetched with NVIDIA's disassemblers into the cache of tests.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import zipfile
from functools import cache
from pathlib import Path

import pytest

from tests.cluster.device.test_rapids import bounds
from tests.support.embedding_models import download, fetching

ARCHITECTURE = "sm_80"
TOOLS = ("cuobjdump", "nvdisasm")
LIBRARY = "libcudf/lib64/libcudf.so"
KERNEL = re.compile(r"^\.text\.(\w*\d+minhash_kernel\w*):$", re.MULTILINE)  # by its name, not minhash_seed_kernel
NARROW = re.compile(r"minhash_kernelI\w+jLi\d+E")  # of hashes of 32 bits (j: unsigned int)
LEAST = re.compile(r"\bV?IMNMX\.U32 (R\d+), (R\d+)(?:\.reuse)?, (R\d+)(?:\.reuse)?,")
MULTIPLIED = re.compile(r"\bIMAD (R\d+), (R\d+)(?:\.reuse)?, (R\d+)(?:\.reuse)?, (R\d+)(?:\.reuse)? ;")
WIDE = re.compile(r"\bIMAD\.(?:WIDE|HI)\b")
WRITTEN = re.compile(r"(?:@!?U?P\w+ )?\s*[A-Z][\w.]* (R\d+),")


@cache
def _fetched() -> tuple[Path, str]:
    """The folder with libcudf.so and the disassemblers, and why something is not there (empty when all is)."""
    with fetching("sass") as folder:
        needed = [f"nvidia-cuda-{tool}>=13,<14" for tool in TOOLS if not (folder / tool).exists()]
        if not _installed() and not (folder / "libcudf.so").exists():
            needed.append(f"libcudf-cu13{bounds()}")
        if needed and (problem := download(tuple(needed), folder)):
            return folder, problem
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if name == LIBRARY or name.rpartition("/")[2] in TOOLS:
                        with archive.open(name) as inner, (folder / name.rpartition("/")[2]).open("wb") as out:
                            shutil.copyfileobj(inner, out)
            wheel.unlink()
        for tool in TOOLS:
            (folder / tool).chmod(0o755)
    return folder, ""


def _installed() -> Path | None:
    found = importlib.util.find_spec("libcudf")
    path = Path(next(iter(found.submodule_search_locations or [""]))) / "lib64" / "libcudf.so" if found else None
    return path if path and path.exists() else None


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The instructions of every minhash_kernel of the release, by mangled name."""
    folder, problem = _fetched()
    if problem:
        pytest.skip(f"libcudf or a disassembler cannot be had: {problem}")
    place = tmp_path_factory.mktemp("cubins")
    tools = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    library = _installed() or folder / "libcudf.so"
    asked = [str(folder / "cuobjdump"), "-xelf", f".{ARCHITECTURE}.", str(library)]
    subprocess.run(asked, cwd=place, env=tools, check=True, capture_output=True, timeout=900)
    found: dict[str, list[str]] = {}
    for cubin in place.glob("*.cubin"):
        if b"minhash_kernel" in cubin.read_bytes():
            said = subprocess.run(
                [str(folder / "nvdisasm"), "-c", str(cubin)], check=True, capture_output=True, text=True
            )
            found |= instructions(said.stdout)
        cubin.unlink()
    return found


def instructions(text: str) -> dict[str, list[str]]:
    """The instructions of each kernel of a disassembly."""
    starts = [*KERNEL.finditer(text)]
    every = [match.start() for match in re.finditer(r"^\.text\.\w+:$", text, re.MULTILINE)] + [len(text)]
    return {
        match[1]: re.findall(r"/\*[0-9a-f]{4,}\*/ +(.*;)", text[match.end() : min(e for e in every if e > match.end())])
        for match in starts
    }


def last_writer(lines: list[str], at: int, register: str) -> str:
    """The instruction before `at` that wrote a register last, whether under a condition or not."""
    for line in reversed(lines[:at]):
        if (written := WRITTEN.match(line)) and written[1] == register:
            return line
    return ""


def products_of_least(lines: list[str]) -> int:
    """How many times the least of a value and of h * a + b in 32 bits is taken."""
    found = [(at, match) for at, line in enumerate(lines) if (match := LEAST.search(line))]
    return sum(
        any(MULTIPLIED.search(last_writer(lines, at, register)) for register in m.groups()[1:]) for at, m in found
    )


def test_products_are_told_from_wider_ones() -> None:
    narrow = ["LDG.E R1, [R2.64] ;", "IMAD R4, R1, R3, R5 ;", "@P0 IMNMX.U32 R7, R4, R7, PT ;"]
    assert products_of_least(narrow) == 1
    assert products_of_least([narrow[0], "IMAD.WIDE.U32 R4, R1, R3, R5 ;", narrow[2]]) == 0
    assert products_of_least([*narrow[:2], "LOP3.LUT R4, R4, R6, RZ, 0xc0, !PT ;", narrow[2]]) == 0
    assert WIDE.search("IMAD.WIDE.U32 R4, R1, R3, R5 ;")


@pytest.mark.nightly
def test_the_pinned_release_multiplies_hashes_of_32_bits_in_32_bits(kernels: dict[str, list[str]]) -> None:
    narrow = {name: lines for name, lines in kernels.items() if NARROW.search(name)}
    assert len(narrow) >= 2, sorted(kernels)
    for name, lines in narrow.items():
        assert products_of_least(lines) >= 1, name
        assert [line for line in lines if WIDE.search(line) and "c[0x0]" not in line] == []  # parameters: addresses
        assert not any("MUFU" in line for line in lines)  # nothing is divided: no remainder is taken


@pytest.mark.nightly
def test_hashes_of_64_bits_are_multiplied_in_64(kernels: dict[str, list[str]]) -> None:
    wide = {name: lines for name, lines in kernels.items() if not NARROW.search(name)}
    assert len(wide) >= 2
    for lines in wide.values():
        assert sum(bool(WIDE.search(line)) and "c[0x0]" not in line for line in lines) > 8
