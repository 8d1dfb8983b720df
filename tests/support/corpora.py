"""Small generated corpora: documents with exact and near copies inside and across datasets, and junk.

Texts are made of invented words, so that nothing here was written by anybody.
"""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

Document = dict[str, Any]
SYLLABLES = ["ka", "lo", "mi", "ren", "tu", "so", "va", "pel", "dor", "ni", "ä", "ßu", "жи", "水", "é"]


def word(random_: random.Random) -> str:
    return "".join(random_.choice(SYLLABLES) for _ in range(random_.randint(1, 4)))


def text(random_: random.Random, words: int) -> str:
    return " ".join(word(random_) for _ in range(words))


def edited(random_: random.Random, base: str, edits: int) -> str:
    """Return a copy with some words replaced."""
    words = base.split(" ")
    for _ in range(edits):
        words[random_.randrange(len(words))] = word(random_)
    return " ".join(words)


def corpus(seed: int, documents: int, datasets: tuple[str, ...] = ("a", "b", "c")) -> list[Document]:
    """Return documents in a random order; about a third are copies or near copies of another."""
    random_ = random.Random(seed)
    made: list[Document] = []
    for number in range(documents):
        kind = random_.random()
        if made and kind < 0.15:
            body = random_.choice(made)["text"]
        elif made and kind < 0.4:
            base = random_.choice(made)["text"]
            body = edited(random_, base, random_.randint(1, 4)) if base and base.strip() else base
        elif kind < 0.45:
            body = random_.choice([None, "", "  \n\t", "x", "\u3000"])
        else:
            body = text(random_, random_.randint(5, 80))
        made.append(
            {
                "dataset": random_.choice(datasets),
                "text": body,
                "id": f"id-{number}",
                "url": random_.choice([None, f"https://site.example/{number % 7}"]),
                "score": random_.random(),
            }
        )
    random_.shuffle(made)
    return made


def write(
    folder: Path, documents: list[Document], files: int, formats: tuple[str, ...] = ("parquet",)
) -> dict[str, str]:
    """Write each dataset's documents, in order, cut into files; return dataset -> folder."""
    found: dict[str, str] = {}
    for dataset in sorted({d["dataset"] for d in documents}):
        mine = [{k: v for k, v in d.items() if k != "dataset"} for d in documents if d["dataset"] == dataset]
        (folder / dataset).mkdir(parents=True)
        found[dataset] = str(folder / dataset)
        size = -(-len(mine) // files)
        for number, start in enumerate(range(0, len(mine), size)):
            kind = formats[number % len(formats)]
            write_file(folder / dataset / f"part-{number:03d}.{kind}", mine[start : start + size])
    return found


def write_file(path: Path, rows: list[Document]) -> None:
    """Write one file in the format its name tells."""
    if path.name.endswith(".parquet"):
        schema = pa.schema([("text", pa.string()), ("id", pa.string()), ("url", pa.string()), ("score", pa.float64())])
        if any(isinstance(row.get("vector"), list) for row in rows):
            schema = schema.append(pa.field("vector", pa.list_(pa.float64())))
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=7)
        return
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.name.endswith(".gz"):
        data = gzip.compress(data)
    elif path.name.endswith(".zst"):
        data = zstandard.compress(data)
    path.write_bytes(data)
