"""What model folders may hold: weights and settings, no code, and no paths that lead out of them.

Guarantees: `check_onnx` and `check_modules` run nothing and read the ONNX file and `modules.json` alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from cluster.errors import RecipeError

# the first field of a StringStringEntryProto with the key "location", then the tag of its value
_LOCATION = re.compile(rb"\x0a\x08location\x12")
_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_OWN_MODULES = "sentence_transformers."


@contextlib.contextmanager
def weights_only() -> Iterator[None]:
    """Have torch unpickle nothing but weights until the block ends, whatever a library asks of it.

    That is what torch and transformers do by themselves in the releases that the extra `torch` asks for.
    """
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_FORCE, None)
        else:
            os.environ[_FORCE] = before


def check_onnx(model: Path) -> None:
    """Raise RecipeError where an ONNX file takes its weights from a place outside its folder."""
    data = model.read_bytes()
    for match in _LOCATION.finditer(data):
        size, start = _varint(data, match.end())
        place = data[start : start + size].decode("utf-8", "replace")
        if _leads_out(place):
            raise RecipeError(
                f"{model} takes weights from {place!r}, outside its folder. Export the model again, with its weights "
                "beside it."
            )


def check_modules(name: str) -> None:
    """Raise RecipeError where a folder of sentence-transformers asks for code that is not the library's own."""
    listed = Path(name) / "modules.json"
    if not listed.is_file():
        return
    try:
        entries = json.loads(listed.read_text(encoding="utf-8"))
        kinds, paths = [str(entry["type"]) for entry in entries], [str(entry.get("path") or "") for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecipeError(f"{listed} cannot be used ({error}). Save the model again.") from error
    for kind in kinds:
        if not kind.startswith(_OWN_MODULES):
            raise RecipeError(f"{listed} asks for the code {kind!r}; winnow loads weights only, no code of models.")
    for path in paths:
        if _leads_out(path):
            raise RecipeError(f"{listed} names {path!r}, outside its folder. Save the model again.")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a protocol buffer's number and the place behind it."""
    value = shift = 0
    while at < len(data) and shift < 64:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            break
        shift += 7
    return value, at


def _leads_out(place: str) -> bool:
    posix, windows = PurePosixPath(place), PureWindowsPath(place)
    return posix.is_absolute() or windows.is_absolute() or bool(windows.drive) or os.pardir in windows.parts
