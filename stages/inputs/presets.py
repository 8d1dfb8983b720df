"""The schemas of four published web datasets and of synthetic ones, so that a recipe can say `preset: dclm`.

Guarantees: each preset names columns that exist in the published files; a dotted path descends into a
struct or into a column that holds JSON text.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch

from cluster.errors import RecipeError
from stages.core.shard import Columns

SYNTHETIC = "synthetic"  # of texts that language models made


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Columns, licence and file names of a published dataset.

    `patterns` are shell patterns of paths within the dataset; `*` also crosses folders.
    """

    name: str
    title: str
    columns: Columns
    licence: str  # SPDX identifier, in lower case as dataset hubs write it
    patterns: tuple[str, ...]

    def expects(self, within: str) -> bool:
        """Tell whether a path within the dataset looks like one of its files."""
        return any(fnmatch(within, pattern) for pattern in self.patterns)


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="dclm",
            title="DCLM-baseline 1.0",
            columns=Columns(text="text", url="url"),
            licence="cc-by-4.0",
            patterns=("*shard_*_processed.parquet", "*shard_*_processed.jsonl.zst"),
        ),
        Preset(
            name="fineweb-edu",
            title="FineWeb-Edu (score-2)",
            columns=Columns(text="text", id="id", url="url"),
            licence="odc-by",
            patterns=("*CC-MAIN-*/*.parquet",),
        ),
        Preset(
            name="dolma",
            title="Dolma v1.7, Common Crawl part",
            columns=Columns(text="text", id="id", url="metadata.url"),
            licence="odc-by",
            patterns=("*cc_en_*.json.gz", "*cc_en_*.jsonl.gz"),
        ),
        Preset(
            name="zyda1",
            title="Zyda-1 without StarCoder",
            columns=Columns(text="text", url="source_other.url"),
            licence="odc-by",
            patterns=("*zyda_*/*.parquet",),
        ),
        Preset(
            name=SYNTHETIC,
            title="made by winnow synthesise",
            columns=Columns(text="text", id="id", url="url"),
            licence="other",
            patterns=("*part-*.parquet",),
        ),
    )
}


def preset(name: str, where: str = "") -> Preset:
    """Return the preset called `name`; raise RecipeError with the known names."""
    if name in PRESETS:
        return PRESETS[name]
    place = f" ({where})" if where else ""
    raise RecipeError(f"preset must be one of {', '.join(sorted(PRESETS))}, got {name!r}{place}.")
