"""Fake installed distributions: a folder on sys.path with modules and a dist-info, as pip leaves them."""

from __future__ import annotations

import textwrap
from pathlib import Path

STAGE = """
    from dataclasses import dataclass
    from typing import ClassVar

    import pyarrow as pa
    import pyarrow.compute as pc

    from stages.base import Decisions, ShardStage, array, param


    @dataclass(frozen=True, kw_only=True)
    class {cls}(ShardStage):
        '''Reads text / Writes its characters / Drops short ones.'''

        least: int = param(5, "fewest characters", ge=0)

        use: ClassVar[str] = "{use}"
        summary: ClassVar[str] = "drop what is short, from elsewhere"
        schema: ClassVar[pa.Schema] = pa.schema([("size", pa.float64())])

        def annotate(self, documents):
            return pa.table([pc.utf8_length(documents["text"]).cast(pa.float64())], schema=self.schema)

        def decide(self, facts):
            return Decisions.below(array(facts, "size"), self.least, "short")
"""
CLASSIFIER = """
    import numpy as np
    import pyarrow.compute as pc

    from classifiers.base import Scores


    class Length:
        labels = ()

        def score(self, texts):
            return Scores(pc.utf8_length(texts).to_numpy().astype(float), np.full(len(texts), -1, np.int32))

        def card(self):
            return {"digest": "length-1", "licence": "", "source": "elsewhere"}
"""


def install(folder: Path, name: str, entry_points: str | bytes, **modules: str) -> Path:
    """Write a distribution `name` 1.0 below `folder`: its entry_points.txt, and its modules by name."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    data = entry_points if isinstance(entry_points, bytes) else textwrap.dedent(entry_points).encode()
    (info / "entry_points.txt").write_bytes(data)
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(textwrap.dedent(source))
    return folder
