"""The text that benchmarks run on: files of a given folder, or what the installed Python packages hold.

Guarantees: the same installation or folder gives the same documents; nothing found is imported or run.
"""

from __future__ import annotations

import ast
import hashlib
import json
import random
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import corpus

SHORTEST, LONGEST = 120, 200_000  # characters of a document
SOURCE_BYTES = 30_000_000  # enough text to copy from
NODES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def source(data: Path | None, folder: Path) -> list[str]:
    """Return the documents to build corpora from, in a fixed random order.

    Text of installed packages is gathered once and kept below `folder`, since parsing takes a minute.
    """
    if data is not None:
        found = list(corpus.documents(data))
    else:
        kept = folder / "installed" / "text.parquet"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({"text": list(_until(installed(), SOURCE_BYTES))}), kept, compression="zstd")
        found = pq.read_table(kept).column("text").to_pylist()
    if not found:
        raise SystemExit(f"no Parquet file with a column text below {data}")
    random.Random(0).shuffle(found)
    return found


def installed() -> Iterator[str]:
    """Yield docstrings, licences and documentation files of the standard library and installed packages.

    Files come in the order of a hash of their names, so that a prefix is a fair sample of all.
    """
    found: dict[str, Path] = {}
    for scheme in ("stdlib", "purelib"):
        root = Path(sysconfig.get_path(scheme))
        for path in root.rglob("*"):
            inside = path.relative_to(root)
            if _is_text(path) and not (scheme == "stdlib" and "site-packages" in inside.parts):
                found[f"{scheme}/{inside.as_posix()}"] = path
    for name in sorted(found, key=lambda name: (hashlib.blake2b(name.encode()).digest(), name)):
        if found[name].is_file():
            yield from (text for text in _texts(found[name]) if SHORTEST <= len(text) <= LONGEST)


def _is_text(path: Path) -> bool:
    named = path.name.startswith(("LICENSE", "COPYING", "METADATA"))
    return path.suffix == ".py" or ((named or path.suffix in {".md", ".rst"}) and path.suffix != ".pyc")


def _texts(path: Path) -> Iterator[str]:
    """Yield the docstrings of a module, or the whole of another text file."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix != ".py":
        yield text
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # templates of code generators, other encodings
        return
    for node in ast.walk(tree):
        docstring = ast.get_docstring(node) if isinstance(node, NODES) else None
        if docstring:
            yield docstring.encode(errors="replace").decode()  # a literal may hold lone surrogates


def _until(texts: Iterator[str], limit: int) -> Iterator[str]:
    size = 0
    for text in texts:
        if size >= limit:
            return
        yield text
        size += len(text)


def built(texts: list[str], folder: Path, megabytes: float) -> Path:
    """Return a folder with about so many megabytes of copies of the texts, made anew when they changed."""
    name = folder / f"corpus-{megabytes:g}"
    mark = folder / f"{name.name}.json"
    digest = hashlib.blake2b("\0".join(texts).encode(errors="surrogatepass"), digest_size=8).hexdigest()
    if not mark.exists() or json.loads(mark.read_text()) != digest:
        shutil.rmtree(name, ignore_errors=True)
        corpus.build(texts, name, megabytes)
        mark.write_text(json.dumps(digest))
    return name


def prefix(whole: Path, folder: Path, megabytes: float) -> Path:
    """Return a folder with the first so many megabytes of a corpus."""
    state = repr([(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(whole.iterdir())])
    digest = hashlib.blake2b(state.encode(), digest_size=4).hexdigest()
    out = folder / f"{whole.name}-{digest}-first-{megabytes:g}"
    if not list(out.glob("*.parquet")):
        out.mkdir(parents=True, exist_ok=True)
        tables, left = [], megabytes * 1e6
        for path in sorted(whole.glob("*.parquet")):
            for batch in pq.ParquetFile(path).iter_batches(500):
                if left > 0:
                    tables.append(batch)
                    left -= text_bytes(batch.column("text"))
        pq.write_table(pa.Table.from_batches(tables), out / "part-0.parquet", compression="zstd")
    return out


def text_bytes(column: pa.Array) -> int:
    """Return the UTF-8 bytes of a column of text."""
    import pyarrow.compute as pc

    return pc.sum(pc.binary_length(column)).as_py() or 0


def size_of(folder: Path) -> tuple[int, int]:
    """Return the documents and the bytes of text in a folder."""
    rows = size = 0
    for path in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(columns=["text"]):
            rows += batch.num_rows
            size += text_bytes(batch.column(0))
    return rows, size
