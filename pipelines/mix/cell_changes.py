"""What changed in the cells of a mix since it was last written: which, and by how much.

Guarantees: compared with the last mix that was finished, so an interruption changes no answer; the note lies beside the
decisions, not in the mix, which does not depend on what was there before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cluster import storage
from cluster.errors import DamagedError
from cluster.files.records import read_record
from cluster.files.sealed import write_json
from pipelines.artefacts import MixCell

FOLDER = "mix.cells"


def notes_folder(root: str) -> str:
    """Return the folder of the notes of all mixes."""
    return storage.join(root, "decisions", FOLDER)


def _path(root: str, mix: str) -> str:
    return storage.join(notes_folder(root), f"{mix or '.'}.json")


def note_cells(root: str, mix: str, cells: Mapping[str, MixCell]) -> None:
    """Write down what the cells of a mix gave that is now whole. mix: its name, empty for the one of a recipe."""
    write_json(_path(root, mix), dict(cells))


def cell_changes(root: str, mix: str, cells: Mapping[str, MixCell]) -> list[str]:
    """Return a sentence for each cell that came, went, or gives something else than when the mix was last written."""
    try:
        before = read_record(_path(root, mix), dict[str, MixCell])
    except (FileNotFoundError, DamagedError):
        return []
    return list(_sentences(before, cells))


def _sentences(before: Mapping[str, Any], now: Mapping[str, MixCell]) -> Iterator[str]:
    for name, cell in now.items():
        old = before.get(name)
        if old is None:
            yield f"cell {name} is new: {cell['tokens_written']:,} tokens written of {cell['tokens_available']:,}."
        elif old.get("digest") != cell["digest"]:
            yield f"cell {name} changed: {'; '.join(_differences(old, cell)) or 'other documents, as many as before'}."
    for name in before:
        if name not in now:
            yield f"cell {name} is gone: {before[name].get('tokens_written', 0):,} tokens were written of it."


def _differences(old: Mapping[str, Any], new: MixCell) -> Iterator[str]:
    pairs: list[tuple[str, int, int]] = [
        ("documents available", old.get("documents_available", 0), new["documents_available"]),
        ("tokens available", old.get("tokens_available", 0), new["tokens_available"]),
        ("tokens written", old.get("tokens_written", 0), new["tokens_written"]),
    ]
    for what, was, is_ in pairs:
        if was != is_:
            share = f" ({is_ / was - 1:+.1%})" if was else ""
            yield f"{what} {was:,} -> {is_:,}{share}"
    if old.get("epochs") != new["epochs"]:
        yield f"epochs {old.get('epochs', 0.0):.4g} -> {new['epochs']:.4g}"
