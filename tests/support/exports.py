"""Small exports: a tokenizer trained here, a run with copies, and a slow oracle of the tokens that must come out."""

from __future__ import annotations

import functools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipelines.export.export import Wishes, export
from pipelines.run import runner
from tests.support import corpora, run_folders, small_runs

EOD = "<|endoftext|>"
PAIRS = [
    ("megatron", "none"),
    ("megatron", "concat"),
    ("nanotron", "concat"),
    ("nanotron", "none"),
    ("olmo", "best_fit"),
    ("mds", "concat"),
    ("litdata", "best_fit"),
    ("hf", "none"),
    ("hf", "best_fit"),
]
FORMATS = ("megatron", "nanotron", "olmo", "mds", "litdata", "hf")
WINDOW = 64
MIX = {"mode": "sample", "target_tokens": 20_000, "weights": {"a": 1, "b": 3, "c": 1}, "max_epochs": 3}


@functools.cache
def tokenizer_json(vocabulary: int = 0) -> bytes:
    """Return a byte-level BPE tokenizer as JSON; vocabulary: added to its last ids, where they shall be large."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words = [f"the quick word{n} of a filler{n} text and more" for n in range(200)]
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(words, trainer)
    made.add_special_tokens([EOD])
    plain = json.loads(made.to_str())
    plain["truncation"] = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
    if vocabulary:
        old = plain["added_tokens"][0]["id"]
        plain["model"]["vocab"].pop(EOD, None)
        for token, number in list(plain["model"]["vocab"].items()):  # the commonest ids are large ones
            if number >= old - 40:
                plain["model"]["vocab"][token] = number + vocabulary
        plain["added_tokens"][0]["id"] = old + vocabulary
    return json.dumps(plain).encode()


def tokenizer(folder: Path, vocabulary: int = 0) -> str:
    """Write the tokenizer into a folder; return its path."""
    path = folder / f"tokenizer-{vocabulary}.json"
    path.write_bytes(tokenizer_json(vocabulary))
    return str(path)


def small_run(folder: Path, **more: Any) -> Path:
    """Run a recipe over a corpus with copies and hostile texts in `folder`, without a report; return the run folder."""
    documents = corpora.corpus(3, 150) + run_folders.hostile_documents()
    paths = corpora.write(folder / "in", documents, 2)
    given = {"mix": MIX, "output": {"holdout": 0.05, "shard_bytes": 40_000, "repeat": False}, **more}
    runner.run(small_runs.recipe_of(paths, **given), str(folder / "run"), with_report=False)
    return folder / "run"


def make(run: Path, out: Path, format: str = "megatron", *, workers: int | None = None, **more: Any) -> dict[str, Any]:
    """Export a run's mix in small windows and files."""
    given = {"pack": "concat", "sequence_length": WINDOW, "shard_tokens": 4096, **more}
    name = tokenizer(run.parent, given.pop("vocabulary", 0))
    return export(str(run), str(out), Wishes(format=format, tokenizer=name, **given), workers=workers)


def loaded(path: str) -> Any:
    """Return a tokenizer as an export uses it."""
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(path)
    found.no_truncation()
    found.encode_special_tokens = True
    return found


@functools.cache
def wanted(run: Path, vocabulary: int = 0, split: str = "part") -> Counter[tuple[int, ...]]:
    """Return the tokens of every copy of every document in a mix, each text encoded by itself."""
    mine = loaded(tokenizer(run.parent, vocabulary))
    end = mine.token_to_id(EOD)
    found: Counter[tuple[int, ...]] = Counter()
    repeated = json.loads((run / "mix" / "manifest.json").read_text())["repeat"]
    for path in sorted((run / "mix").glob(f"*/{split}-*.parquet")):
        for row in pq.read_table(path, columns=["text", "copies"]).to_pylist():
            ids = mine.encode(row["text"], add_special_tokens=False).ids
            found[(*ids, end)] += 1 if split == "holdout" or repeated else row["copies"]
    return found


def parts(out: Path) -> list[dict[str, Any]]:
    """Return trace/parts.parquet as rows."""
    return list(pq.read_table(out / "trace" / "parts.parquet").to_pylist())


def tokens_of_part(out: Path, about: dict[str, Any], part: dict[str, Any]) -> np.ndarray:
    """Return the tokens of a part's file, read by what its format's own documents say."""
    data = (out / part["path"]).read_bytes()
    kind = np.dtype(about["dtype"])
    if about["format"] == "hf":
        lists = pq.read_table(out / part["path"]).column("input_ids").to_pylist()
        return np.array([token for one in lists for token in one], kind)
    if about["format"] in ("mds", "litdata"):
        rows = int(np.frombuffer(data, "<u4", 1)[0])
        offsets = np.frombuffer(data, "<u4", rows + 1, 4)
        assert int(offsets[-1]) == len(data)
        data = data[int(offsets[0]) :]
    return np.frombuffer(data, kind)


def documents_of(out: Path, about: dict[str, Any]) -> Counter[tuple[int, ...]]:
    """Return the documents of an export, put together from its files by its sidecars."""
    found: dict[tuple[int, int], dict[int, list[int]]] = {}
    sizes: dict[tuple[int, int], int] = {}
    for part in parts(out):
        tokens = tokens_of_part(out, about, part)
        for row in pq.read_table(out / "trace" / f"part-{part['part']:05d}.parquet").to_pylist():
            name = (row["doc_id"], row["copy"])
            piece = tokens[row["start"] : row["start"] + row["length"]].tolist()
            assert row["first"] not in found.setdefault(name, {}), "a piece is there twice"
            found[name][row["first"]] = piece
            sizes[name] = row["document_tokens"]
    whole = {name: tuple(t for first in sorted(p) for t in p[first]) for name, p in found.items()}
    assert all(len(tokens) == sizes[name] for name, tokens in whole.items())
    return Counter(whole.values())


def files(out: Path) -> dict[str, bytes]:
    """Return every file of an export but where its run lies."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("run.json", ".lock")
    }
