"""From tokens of an export back to the documents: where each lies in the inputs, why it is in, whom it stands for.

Guarantees: nothing is written; a document is found by the sidecar alone, so a trace reads a row group of it, the tokens
asked for, and of the run folder what `winnow explain` reads. Memory: that, and for Megatron's order its indexes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import pyarrow as pa

from cluster import storage
from cluster.errors import RecipeError
from cluster.files.digesting import sha256_of
from cluster.files.sealed import batches, check_columns, damaged, open_parquet, reading
from pipelines.explain.explain import explain_documents
from pipelines.export.megatron_order import MegatronOrder
from pipelines.export.record import (
    PARTS,
    REMEDY,
    files_of_part,
    of_an_export,
    parts_path,
    read_about,
    read_run_note,
    settings_of,
)
from pipelines.export.settings import FORMATS, Settings, Tokens
from pipelines.export.sidecar import pieces_between, sidecar_path
from pipelines.export.tokens import load_tokenizer
from pipelines.export.tree import Trace, TracedPiece, TracedSequence
from pipelines.run_state import from_home
from pipelines.runfolder import RunFolder, open_run
from stages.core.digests import DATA_FORMAT

MEGATRON_SEED = 1234  # its default
IDX_HEAD = 34  # bytes before the lengths


@dataclass(frozen=True)
class Export:
    """A finished export, opened for reading."""

    root: str

    @cached_property
    def about(self) -> dict[str, Any]:
        """What export.json says. Raises RecipeError where there is none."""
        path = storage.join(self.root, "export.json")
        if not storage.exists(path):
            raise RecipeError(
                f"{self.root} is no finished export: it has no export.json. Make one with `winnow export`."
            )
        return read_about(self.root)

    @cached_property
    def settings(self) -> Settings:
        return settings_of(self.root, self.about)

    @cached_property
    def parts(self) -> pa.Table:
        """One row for each part."""
        path = parts_path(self.root)
        with of_an_export():
            found = pa.concat_tables([PARTS.empty_table(), *batches(path, 1 << 16, PARTS.names)])
            if found.schema.types != PARTS.types or found.num_rows != self.about["parts"]:
                raise damaged(path, "it is no list of this export's parts")
        return found

    def place(self, sequence: int) -> tuple[int, int, int]:
        """Return (part, first token in it, tokens) of a sequence. Raises RecipeError where there is none."""
        total = int(self.about["sequences"])
        if not 0 <= sequence < total:
            raise RecipeError(f"--sequence must be from 0 to {total - 1:,}, got {sequence:,}.")
        firsts = self.parts.column("first_sequence").to_numpy()
        part = int(np.searchsorted(firsts, sequence, side="right")) - 1
        self.check_part(part)
        inside = sequence - int(firsts[part])
        if self.settings.format == "megatron" and not self.settings.fixed:
            lengths = self.lengths(part)
            return part, int(lengths[:inside].sum()), int(lengths[inside])
        return part, inside * self.settings.window, self.settings.window

    def lengths(self, part: int) -> Any:
        """Return the lengths of a Megatron prefix's sequences."""
        path = storage.join(self.root, f"part-{part:05d}.idx")
        self.check_part(part)
        head = storage.read_range(path, 0, IDX_HEAD)
        (count,) = struct.unpack_from("<Q", head, 18)
        found = np.frombuffer(storage.read_range(path, IDX_HEAD, IDX_HEAD + 4 * count), "<i4").astype(np.int64)
        if len(found) != self.parts.column("sequences")[part].as_py() or int(found.sum()) != self._tokens_of(part):
            raise damaged(path, "it does not fit the list of parts", REMEDY)
        return found

    def _tokens_of(self, part: int) -> int:
        return int(self.parts.column("tokens")[part].as_py())

    def check_part(self, part: int) -> None:
        """Raise DamagedError where a file of a part is missing or has another size than it was written with."""
        for file in files_of_part(self.root, self.parts.column("files")[part].as_py()):
            if not storage.have_sizes(self.root, [(file["path"], file["bytes"])]):
                raise damaged(storage.join(self.root, file["path"]), "it is missing or cut", REMEDY)

    def pieces(self, part: int, start: int, stop: int) -> list[dict[str, int]]:
        """Return the pieces that hold any of these tokens, as rows of the part's sidecar."""
        with of_an_export():
            return list(pieces_between(sidecar_path(self.root, part), start, stop).to_pylist())

    def tokenizer(self) -> Any:
        """Return the tokenizer that the export was made with. Raises DamagedError."""
        path = storage.join(self.root, "tokenizer.json")
        stated = self.about.get("tokenizer")
        if isinstance(stated, dict) and sha256_of(path)[1] != stated.get("sha256"):
            raise damaged(path, "its SHA-256 is not the one it was written with", REMEDY)
        return load_tokenizer(path)

    def tokens(self, part: int, start: int, count: int) -> Tokens:
        """Return tokens of a part."""
        path = storage.join(self.root, self.parts.column("path")[part].as_py())
        if self.settings.format == "hf":
            return self._of_rows(path, start, count)
        head = 0
        if not FORMATS[self.settings.format].stream:  # the place of the first sample is the second number
            (head,) = struct.unpack("<I", storage.read_range(path, 4, 8))
        size = np.dtype(self.settings.dtype).itemsize
        data = storage.read_range(path, head + start * size, head + (start + count) * size)
        return cast(Tokens, np.frombuffer(data, np.dtype(self.settings.dtype).newbyteorder("<")))

    def _of_rows(self, path: str, start: int, count: int) -> Tokens:
        """Return tokens of a Parquet file of windows."""
        window, found, row = self.settings.window, [], 0
        with of_an_export(), open_parquet(path) as file, reading(path):
            check_columns(path, file, ["input_ids"])
            for group in range(file.metadata.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if row * window < start + count and (row + rows) * window > start:
                    values = file.read_row_group(group, columns=["input_ids"]).column(0).combine_chunks()
                    flat = np.asarray(values.flatten())
                    found.append(flat[max(0, start - row * window) : start + count - row * window])
                row += rows
        return np.concatenate(found) if found else np.zeros(0, self.settings.dtype)


def trace(
    export_dir: str,
    *,
    sequence: int | None = None,
    step: int | None = None,
    batch_size: int | None = None,
    samples: int | None = None,
    seed: int = MEGATRON_SEED,
    run_dir: str | None = None,
    trust: bool = False,
    show_original: bool = False,
) -> Trace:
    """Name the documents that a sequence, or the batch of a training step, is made of.

    Parameters
    ----------
    sequence : number of a sequence of the export, from 0.
    step, batch_size : sequences step x batch_size and on; of a Megatron export the samples that it draws then.
    samples, seed : what Megatron was asked for (`--train-samples`, `--seed`); None: one epoch.
    run_dir : where the run folder lies now; None: where it lay.

    Raises
    ------
    RecipeError
        There is no such sequence, the folder is no export, or the run folder is not the one that it was made from.
    """
    export = Export(export_dir.rstrip("/"))
    wanted = list(_wanted(export, sequence, step, batch_size, samples, seed))
    root = run_dir or _run_of(export)
    with from_home(root) as home:
        folder = open_run(home, trust=trust, warn=False)
        _check_run(export, folder)
        sequences = [_sequence(export, name, pieces) for name, pieces in wanted]
        docs = sorted({piece["doc_id"] for one in sequences for piece in one["pieces"]})
        found = explain_documents(folder, docs, show_original=show_original)
    return {
        "format": DATA_FORMAT,
        "export": export.root,
        "run": root,
        "sequences": sequences,
        "documents": [found[doc] for doc in docs],
    }


Pieces = list[tuple[int, int, int]]  # part, first token, tokens


def _wanted(
    export: Export,
    sequence: int | None,
    step: int | None,
    batch_size: int | None,
    samples: int | None,
    seed: int,
) -> Iterator[tuple[str, Pieces]]:
    """Yield the name and the places of each sequence that is asked about."""
    if (sequence is None) == (step is None) or (step is None) != (batch_size is None):
        raise RecipeError("give --sequence, or --step with --batch-size.")
    if sequence is not None:
        yield f"sequence {sequence:,}", [export.place(sequence)]
        return
    assert step is not None
    assert batch_size is not None
    numbers = range(step * batch_size, (step + 1) * batch_size)
    if export.settings.format == "megatron":
        yield from _of_megatron(export, numbers, samples, seed)
        return
    for number in numbers:
        yield f"sequence {number:,}", [export.place(number)]


def _of_megatron(export: Export, numbers: range, samples: int | None, seed: int) -> Iterator[tuple[str, Pieces]]:
    if export.parts.num_rows > 1:
        raise RecipeError(
            f"{export.root} has {export.parts.num_rows} prefixes, whose blend depends on the weights that Megatron is "
            "given: only --sequence can be traced. Export with a larger --shard-tokens for one prefix."
        )
    lengths = export.lengths(0)
    order = MegatronOrder(lengths=lengths, sequence_length=export.settings.sequence_length, seed=seed, samples=samples)
    if numbers.stop > order.count:
        raise RecipeError(
            f"there are {order.count:,} samples in {order.epochs} epochs, step and batch size ask for number "
            f"{numbers.stop - 1:,}. Give --samples as Megatron's --train-samples."
        )
    starts = np.cumsum(lengths) - lengths
    for number in numbers:
        pieces = [(0, int(starts[one]) + first, many) for one, first, many in order.sample(number)]
        yield f"sample {number:,}", pieces


def _run_of(export: Export) -> str:
    """Return where the run folder of an export lies. Raises RecipeError where it is gone."""
    noted = read_run_note(export.root)
    beside = (
        noted["beside"] if "://" in noted["beside"] else os.path.normpath(os.path.join(export.root, noted["beside"]))
    )
    for place in (noted["run"], beside):
        if storage.exists(storage.join(place, "recipe.lock.yaml")):
            return str(place)
    raise RecipeError(f"the run folder of {export.root} was {noted['run']} and is gone. Say where it is with --run.")


def _check_run(export: Export, folder: RunFolder) -> None:
    if folder.run.manifest_digest != export.about["manifest_digest"]:
        raise RecipeError(
            f"{folder.root} is not the run that {export.root} was made from, or its inputs changed since: its doc_ids "
            "name other documents. Say with --run where the run folder is."
        )


def _sequence(export: Export, name: str, places: Pieces) -> TracedSequence:
    """Return the pieces of documents in a sequence, decoded."""
    found: list[TracedPiece] = []
    tokenizer = export.tokenizer()
    at = 0
    for part, start, count in places:
        tokens = export.tokens(part, start, count)
        for row in export.pieces(part, start, start + count):
            first, stop = max(row["start"], start), min(row["start"] + row["length"], start + count)
            begin = row["first"] + first - row["start"]
            found.append(
                {
                    "doc_id": row["doc_id"],
                    "copy": row["copy"],
                    "at": at + first - start,
                    "tokens": stop - first,
                    "document_from": begin,
                    "document_tokens": row["document_tokens"],
                    "text": tokenizer.decode(tokens[first - start : stop - start].tolist(), skip_special_tokens=True),
                }
            )
        at += count
    return {"name": name, "tokens": at, "padding": at - sum(piece["tokens"] for piece in found), "pieces": found}
