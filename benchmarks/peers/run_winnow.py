"""Drive winnow's kernels on texts that lie in Arrow buffers, as a shard's do after it was read.

Deduplication is not here: that benchmark runs the command `winnow dedup`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import protocol
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def sketch(texts: Any, options: argparse.Namespace) -> int:
    from stages.minhash import MinHash

    stage = MinHash(shingles=options.shingles, shingle_width=options.width, num_permutations=128)
    return len(stage.signatures(texts))


def judge(texts: Any) -> int:
    from stages.heuristics import Heuristics

    stage = Heuristics(presets=("gopher", "fineweb"))
    return int((stage.decide(stage.annotate(pa.table({"text": texts}))).reason < 0).sum())


def stage(name: str, model: str) -> Any:
    """Return a stage by the name of its row in a table."""
    from stages.heuristics import Heuristics
    from stages.language_id import LanguageId
    from stages.line_rules import LineRules
    from stages.minhash import MinHash
    from stages.pii import Pii
    from stages.quality import Quality
    from stages.repair import Repair

    made = {
        "language_id": LanguageId,
        "heuristics": lambda: Heuristics(presets=("gopher", "fineweb")),
        "line_rules": LineRules,
        "pii": Pii,
        "repair": Repair,
        "minhash": MinHash,
        "quality": lambda: Quality(model=f"fasttext:{model}"),
    }
    return made[name]()


def named(labels: list[str], indices: Any) -> list[str]:
    """Return labels by name; the last one stands for none (index -1)."""
    return [labels[i] for i in indices]


if __name__ == "__main__":
    given = protocol.arguments()
    arrow = lambda texts: pa.array(texts, pa.large_string())  # noqa: E731
    if given.task == "signatures":
        protocol.measure(given, lambda texts: sketch(texts, given), arrow)
    elif given.task == "filters":
        protocol.measure(given, judge, arrow)
    elif given.task == "stage":
        chosen = stage(given.variant, given.model)
        protocol.measure(given, lambda texts: chosen.annotate(pa.table({"text": texts})).num_rows, arrow)
    elif given.task == "language":
        from classifiers.fasttext_model import labels_of
        from classifiers.language import LanguageIdentifier

        identifier = LanguageIdentifier(given.model)
        language = protocol.measure(given, identifier.identify, arrow)
        protocol.write_answers(given, named([*labels_of(identifier.path), ""], language.index), language.score)
    else:
        from classifiers.quality import PREFIX, Settings, load

        model = load(Settings(spec=f"fasttext:{given.model}"))
        found = protocol.measure(given, model.score, arrow)
        protocol.write_answers(given, named([*(PREFIX + name for name in model.labels), ""], found.label), found.value)
