"""What was counted of the outcome of each bundle, kept from one run to the next: only what changed is counted again.

Guarantees: what is kept is that of the same facts, and of the same rows dropped by every deduplication; it lies in
`exchange/` and may be removed at any time. Memory: one bundle, or the verdicts on it.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from cluster import storage
from cluster.engines import Engine
from cluster.errors import DamagedError
from cluster.files.sealed import read_json, write_json
from stages.core.run import Run
from stages.core.view import View
from stages.outcome import ledger, made_from
from stages.outcome.by_language import ByLanguage
from stages.outcome.ledger import Tally
from stages.outcome.mixing import Mix

KEY, COUNTED = "made_from", "tally"
LANGUAGES = ("judged", "dropped", "remarks")
NUMBERS = ("rows", "kept", "text_bytes", "content", "tokens")


def tally_all(engine: Engine, run: Run, mix: Mix) -> list[Tally]:
    """Return the counts of every bundle."""
    rule = made_from.rule_of_rows(run, mix)
    return engine.map(partial(_tally, run, mix, rule), range(len(run.manifest.bundles)), cost=ledger.TALLY)


def _tally(run: Run, mix: Mix, rule: str, position: int) -> Tally:
    if not rule:
        return ledger.tally(run, mix, position)
    view = View.at(run, position)
    key = made_from.rows_made_from(view, rule)
    path = storage.join(run.root, "exchange", "tallies", f"{view.bundle.number}.json")
    if (found := _read(path, key)) is None:
        found = ledger.tally(run, mix, position)
        write_json(path, {KEY: key, COUNTED: _to_json(found)}, scratch=True)
    return found


def _read(path: str, key: str) -> Tally | None:
    try:
        entry = read_json(path)
        return _of_json(entry[COUNTED]) if entry[KEY] == key else None
    except (FileNotFoundError, DamagedError, KeyError, TypeError, ValueError):
        return None


def _to_json(tally: Tally) -> dict[str, Any]:
    languages = {name: _pairs(getattr(tally.languages, name)) for name in LANGUAGES}
    numbers = {name: getattr(tally, name) for name in NUMBERS}
    return {
        "dataset": tally.dataset,
        "dropped": _pairs(tally.dropped),
        "mixable": list(tally.mixable),
        "languages": languages,
        **numbers,
    }


def _of_json(data: Any) -> Tally:
    languages = {name: Counter(dict(_unpaired(data["languages"][name]))) for name in LANGUAGES}
    documents, tokens = data["mixable"]
    return Tally(
        dataset=str(data["dataset"]),
        dropped=dict(_unpaired(data["dropped"])),
        mixable=(int(documents), int(tokens)),
        languages=ByLanguage(**languages),
        **{name: int(data[name]) for name in NUMBERS},
    )


def _pairs(counts: dict[Any, int]) -> list[list[Any]]:
    return [[*key, count] for key, count in counts.items()]


def _unpaired(data: Any) -> list[tuple[Any, int]]:
    return [(tuple(map(str, key)), int(count)) for *key, count in data]
