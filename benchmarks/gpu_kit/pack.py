"""`python -m benchmarks.gpu_kit.pack OUT`: pack cuDF for one kind of GPU into archives that can be carried.

Run it in an environment with a GPU extra, of the Python version of the machine. libcudf and nvCOMP hold code for every
compute capability; that of all but one is overwritten by zeros, which compress to nothing (`zero_others`).
"""

from __future__ import annotations

import argparse
import lzma
import shutil
import struct
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

from classifiers import models
from cluster.errors import RecipeError

FOLDERS = (
    *("cudf", "pylibcudf", "rmm", "librmm", "libkvikio", "libkvikio_cu13.libs", "libcudf", "rapids_logger", "nvtx"),
    *("cachetools", "nvidia/libnvcomp", "pydantic", "pydantic_core", "annotated_types", "typing_inspection", "orjson"),
    *("zstandard", "publicsuffixlist", "fasttext", "array_api_strict", "xxhash", "cloudpickle", "ftfy", "wcwidth"),
)
CUT = ("libcudf/lib64/libcudf.so", "nvidia/libnvcomp/lib64/libnvcomp.so.5")
HEADERS = ("*.pyx", "*.pxd", "*.pyi", "*.cuh", "*.hpp", "CMakeLists.txt")
USELESS = ("tests", "__pycache__", "benchmarks", "include", "cmake", "rapids", "bin")
LARGEST = 64 << 20
LANGUAGE_MODEL = "lid.176.ftz"
FATBIN, FATBIN_MAGIC = b".nv_fatbin", 0xBA55ED50


def zero_others(source: Path, destination: Path, keep: int) -> dict[int, int]:
    """Copy a library with the device code of all capabilities but `keep` (90: 9.0) zeroed; return bytes of each."""
    data = bytearray(source.read_bytes())
    found: Counter[int] = Counter()
    for start, size in _sections(bytes(data[:64]), data):
        at, end = start, start + size
        while at < end:
            if struct.unpack_from("<I", data, at)[0] != FATBIN_MAGIC:
                at += 8
                continue
            _, _, header, payload = struct.unpack_from("<IHHQ", data, at)
            at = _entries(data, at + header, at + header + payload, keep, found)
    destination.write_bytes(data)
    return dict(found)


def _sections(head: bytes, data: bytearray) -> list[tuple[int, int]]:
    """Return (offset, size) of the sections of an ELF library that hold device code."""
    table = struct.unpack_from("<Q", head, 0x28)[0]
    size, count, names = struct.unpack_from("<HHH", head, 0x3A)
    entries = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * size) for i in range(count)]
    begin = entries[names][4]
    named = FATBIN + b"\0"
    return [(e[4], e[5]) for e in entries if data[begin + e[0] : begin + e[0] + len(named)] == named]


def _entries(data: bytearray, at: int, end: int, keep: int, found: Counter[int]) -> int:
    """Zero the payloads of one fat binary that are of another capability; return where it ends."""
    while at < end:
        _, _, header, payload = struct.unpack_from("<HHIQ", data, at)
        capability = struct.unpack_from("<I", data, at + 28)[0]
        found[capability] += payload
        if capability != keep:
            data[at + header : at + header + payload] = bytes(payload)
        at += header + payload
    return end


def gather(site: Path, folder: Path, keep: int) -> None:
    """Copy what is carried into a folder, cut down."""
    wanted = {name for name in FOLDERS if (site / name).exists()}
    wanted |= {path.name for path in site.glob("fasttext_pybind*.so")}
    for name in sorted(wanted):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (site / name).is_dir() else shutil.copy2
        copy(site / name, folder / name, **({"symlinks": True} if (site / name).is_dir() else {}))
    for library in CUT:
        if (site / library).exists():
            print(library, zero_others(site / library, folder / library, keep), file=sys.stderr)
    for pattern in HEADERS:
        for path in folder.rglob(pattern):
            path.unlink()
    for path in [p for p in folder.rglob("*") if p.name in USELESS and p.is_dir()]:
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.rglob("*.so*"):
        if path.is_file() and not path.is_symlink():
            subprocess.run(["strip", "--strip-unneeded", str(path)], check=False, stderr=subprocess.DEVNULL)
    for name in ("cuml", "pylibcugraph"):  # found by backend.missing_libraries, called by nothing that subset.py leaves
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "__init__.py").write_text('"""Stands in: the kit has no such library."""\n')


def pack(folder: Path, out: Path) -> list[Path]:
    """Write libcudf alone and all the rest, each compressed; return the archives."""
    out.mkdir(parents=True, exist_ok=True)
    large, rest = out / "a.xz", out / "b.txz"
    library = folder / CUT[0]
    with library.open("rb") as source, lzma.open(large, "wb", preset=6) as packed:
        shutil.copyfileobj(source, packed, 1 << 24)
    library.unlink()
    with tarfile.open(rest, "w:xz", preset=6) as archive:
        archive.add(folder, ".")
    return [large, rest]


def add_language_model(out: Path) -> None:
    """Add the model whose rate on the GPU is taken; without it the rates leave it out, and packing says so."""
    try:
        shutil.copy2(models.resolve(f"fasttext:{LANGUAGE_MODEL}"), out / LANGUAGE_MODEL)
    except RecipeError as problem:
        print(f"without the rate of {LANGUAGE_MODEL}: {problem}", file=sys.stderr)


def total(out: Path) -> str:
    """Say how large all that is carried is, and whether it is too large."""
    size = sum(path.stat().st_size for path in out.iterdir())
    return f"together: {size / (1 << 20):.1f} MiB{'' if size < LARGEST else ', too large to be carried'}"


def main() -> None:
    """Pack, and say how large the archives are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_kit.pack", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--site", type=Path, default=Path(sysconfig.get_path("purelib")), help="site-packages to pack")
    parser.add_argument("--keep", type=int, default=90, help="compute capability of the GPU (90: H100, H200)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        gather(given.site, Path(folder), given.keep)
        archives = pack(Path(folder), given.out)
    shutil.copy2(Path(__file__).parent / "run.sh", given.out)
    add_language_model(given.out)
    for path in archives:
        print(f"{path}: {path.stat().st_size / (1 << 20):.1f} MiB")
    print(total(given.out))
    print(f"Carry the checkout with {given.out}/ there, and run: OUT=FOLDER bash {given.out}/run.sh")


if __name__ == "__main__":
    main()
