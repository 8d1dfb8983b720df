"""How much a dataset holds, from footers and a drawn sample: documents, bytes, and the bundles a run would cut.

Guarantees: one pass over the files for each answer: the time grows with their number, whatever their sizes are.
Memory: a few numbers for every shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.plan.inputs import Drawn, Input
from stages.core import manifest
from stages.core.manifest import Cut
from stages.core.shard import Bundle, Shard
from stages.inputs.files.discover import Found
from stages.inputs.files.file_versions import bytes_hashed

LINE_GROUP = 32 << 20  # bytes between two places at which a file of JSON lines may be cut
ROUGH_BYTES = 2000  # of a document, before the first one was seen


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much a dataset holds. exact: every document was counted; text_bytes is always an estimate."""

    shards: int
    bytes: int
    documents: int
    exact: bool
    text_bytes: int
    largest: int  # bytes of the largest shard
    median: int
    hashed: int  # bytes that freezing reads to tell whether a file changed


class Scale:
    """Documents and weight of every shard of a dataset: from its footer, or by its bytes like those that were seen."""

    def __init__(self, found: Input, drawn: Drawn) -> None:
        self._layouts = found.layouts
        self._by_kind = {kind: (seen[0], seen[1]) for kind, seen in drawn.by_kind.items()}
        known = sum(f.bytes for f in found.files if f.path in found.layouts)
        groups = [group for layout in found.layouts.values() for group in layout]
        self._footers = (sum(rows for rows, _ in groups), sum(size for _, size in groups), max(1, known))

    def of(self, file: Found) -> tuple[float, float]:
        """Return (documents, weight) of one shard."""
        groups = self._layouts.get(file.path)
        if groups is not None:
            return sum(rows for rows, _ in groups), sum(size for _, size in groups)
        if file.format == "parquet":
            rows, size, known = self._footers
            return file.bytes * rows / known, file.bytes * size / known
        lines, weight = self._by_kind.get(file.format) or (1, ROUGH_BYTES)
        return file.bytes * lines / max(1, weight), file.bytes


def sizes(found: Input, drawn: Drawn, text_bytes: int) -> Size:
    """Extrapolate from a sample of `drawn.rows` rows that hold `text_bytes` bytes of text."""
    scale = Scale(found, drawn)
    documents, weight = 0.0, 0.0
    sampled = sum(w for _, w in drawn.by_kind.values())
    for file in found.files:
        rows, size = scale.of(file)
        documents, weight = documents + rows, weight + size
    ordered = sorted(f.bytes for f in found.files)
    exact = drawn.whole or all(f.path in found.layouts for f in found.files)
    return Size(
        shards=len(found.files),
        bytes=found.bytes,
        documents=drawn.rows if drawn.whole else round(documents),
        exact=exact,
        text_bytes=text_bytes if drawn.whole else round(weight * text_bytes / max(1, sampled)),
        largest=ordered[-1],
        median=ordered[len(ordered) // 2],
        hashed=sum(bytes_hashed(f.path, f.bytes, marked=f.marked) for f in found.files),
    )


def bundles_of(found: Sequence[tuple[Input, Drawn, Size]]) -> list[Bundle]:
    """Return the bundles that a fresh run would cut, as far as can be told."""
    cuts: list[Cut] = []
    for item, drawn, size in found:
        cuts.extend(_cuts(item, Scale(item, drawn), size, len(cuts)))
    return manifest.bundle_shards(cuts, 0)


def _cuts(item: Input, scale: Scale, size: Size, first: int) -> Iterator[Cut]:
    """Yield where each file of a dataset may be cut; `first`: ordinal of the first one."""
    ratio = size.text_bytes / max(1.0, sum(scale.of(f)[1] for f in item.files))
    for ordinal, file in enumerate(item.files, first):
        rows, weight = scale.of(file)
        text = weight if file.format == "parquet" else weight * ratio
        groups = item.layouts.get(file.path) or _even(rows, text)
        shard = Shard(
            ordinal=ordinal,
            dataset=item.dataset.name,
            path=file.path,
            relative_path=file.relative_path,
            rows=sum(n for n, _ in groups),
            bytes=file.bytes,
            fingerprint="",
            format=file.format,
        )
        yield Cut(shard=shard, row_groups=tuple(groups))


def _even(rows: float, weight: float) -> list[tuple[int, int]]:
    """Cut a shard whose row groups are unknown into equal ones."""
    count = max(1, round(weight / LINE_GROUP))
    each = max(1, round(rows / count))
    return [(each, round(weight / count))] * count
