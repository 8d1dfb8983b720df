"""CUDA kernels without a GPU: compiled by the host's C++ compiler and called block by block, and by NVRTC to PTX."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.embedding_models import download, fetching

KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)', re.DOTALL)
BLOCK = """
#include <pthread.h>
#include <thread>
#include <vector>
static pthread_barrier_t barrier;
template <typename Work> static void in_block(unsigned threads, Work work) {
    if (threads == 1) return work(0);
    pthread_barrier_init(&barrier, nullptr, threads);
    wait_for_block = [] { pthread_barrier_wait(&barrier); };
    std::vector<std::thread> running;
    for (unsigned t = 0; t < threads; t++) running.emplace_back(work, t);
    for (auto& thread : running) thread.join();
    wait_for_block = nullptr;
    pthread_barrier_destroy(&barrier);
}
"""
NVRTC = "nvidia-cuda-nvrtc>=13,<14"


def compiler() -> str | None:
    """Return the host's C++ compiler, or None."""
    return shutil.which("g++") or shutil.which("clang++")


class HostModule:
    """Stands in for cupy.RawModule: the kernels of a source as functions of this machine. threads: of a block."""

    threads = 1

    def __init__(self, code: str, options: Sequence[str] = ()) -> None:
        self._library = _built(code, tuple(option for option in options if option.startswith("-I")))
        self._types = {name: _types(parameters) for name, parameters in KERNEL.findall(code)}

    def get_function(self, name: str) -> Callable[[tuple[int, ...], tuple[int, ...], tuple[Any, ...]], None]:
        call, types = getattr(self._library, f"host_{name}"), self._types[name]

        def run(grid: tuple[int, ...], block: tuple[int, ...], given: tuple[Any, ...]) -> None:
            assert len(given) == len(types)
            places = [_place(value, kind) for value, kind in zip(given, types, strict=True)]
            x, y = (*grid, 1)[:2]
            call(x, y, self.threads, (ctypes.c_void_p * len(places))(*(ctypes.addressof(place) for place in places)))

        return run


def _types(parameters: str) -> list[str]:
    return [" ".join(p.split()).rsplit(maxsplit=1)[0] if "*" not in p else "*" for p in parameters.split(",")]


def _place(value: Any, kind: str) -> Any:
    """Return memory that holds an argument: an array's address, or a number of the type that the kernel wants."""
    value = getattr(value, "_array", value)  # of the strict stand-in for a device
    if kind == "*":
        assert value.flags.c_contiguous
        return ctypes.c_void_p(value.ctypes.data)
    wanted = {"int": np.int32, "int64_t": np.int64, "uint32_t": np.uint32, "uint64_t": np.uint64, "float": np.float32}
    assert type(value) is wanted[kind], f"{kind} is wanted, {type(value)} given"
    return np.ctypeslib.as_ctypes_type(wanted[kind])(value.item())


@functools.cache
def _built(code: str, included: tuple[str, ...]) -> ctypes.CDLL:
    """Return the library of a source, with a function host_NAME(x, y, arguments) for each kernel."""
    calls = []
    for name, parameters in KERNEL.findall(code):
        types = [" ".join(p.split()) for p in parameters.split(",")]
        given = ", ".join(f"*({re.sub(r' ?[A-Za-z_]+$', '', t)}*)a[{i}]" for i, t in enumerate(types))
        calls.append(
            f'extern "C" void host_{name}(unsigned x, unsigned y, unsigned threads, void** a) {{'
            f" for (unsigned i = 0; i < x; i++) for (unsigned j = 0; j < y; j++) in_block(threads, [=](unsigned t) {{"
            f" gridDim = {{x, y, 1}}; blockDim = {{threads, 1, 1}};"
            f" blockIdx = {{i, j, 0}}; threadIdx = {{t, 0, 0}}; {name}({given}); }}); }}"
        )
    folder = Path(tempfile.mkdtemp(prefix="winnow-cuda-"))
    (folder / "kernels.cpp").write_text("\n".join((code, BLOCK, *calls)))
    command = [str(compiler()), "-std=c++17", "-O1", "-Wall", "-Werror", "-fsanitize=undefined", "-fPIC", "-shared"]
    command = [*command, *included, "-o", str(folder / "kernels.so"), str(folder / "kernels.cpp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    library = ctypes.CDLL(str(folder / "kernels.so"))
    shutil.rmtree(folder)
    return library


@functools.cache
def nvrtc() -> tuple[Any, str]:
    """Return NVRTC, of this machine or of its wheel, and why it is not there (empty when it is)."""
    if name := ctypes.util.find_library("nvrtc"):
        return ctypes.CDLL(name), ""
    with fetching("nvrtc") as folder:
        if not (library := _library(folder)):
            if problem := download((NVRTC,), folder):
                return None, problem
            for wheel in folder.glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(folder, [name for name in archive.namelist() if "/lib/" in name])
                wheel.unlink()
            library = _library(folder)
    return (ctypes.CDLL(str(library)), "") if library else (None, "the wheel holds no libnvrtc.so")


def _library(folder: Path) -> Path | None:
    return next((p for p in sorted(folder.rglob("libnvrtc.so.*")) if "builtins" not in p.name), None)


def compiled(code: str, architecture: str, options: Sequence[str]) -> str:
    """Return what NVRTC says of a source for an architecture such as compute_90; empty when it compiles."""
    library, _ = nvrtc()
    program = ctypes.c_void_p()
    assert library.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None) == 0
    given = [f"--gpu-architecture={architecture}", *options]
    words = (ctypes.c_char_p * len(given))(*(word.encode() for word in given))
    failed = library.nvrtcCompileProgram(program, len(given), words)
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    said = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, said)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return said.value.decode() or "failed" if failed else ""
