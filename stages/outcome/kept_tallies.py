"""What was counted of the outcome of each bundle, kept from one run to the next: only what changed is counted again.

Guarantees: what is kept is that of the same facts, in files that nobody wrote to since (so that one which was cut is
noticed), and of the same rows dropped by every deduplication; it lies in `exchange/` and may be removed at any time.
Memory: one bundle, or the verdicts on it; of a store, the client's a line for each file of facts, as listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from cluster import storage
from cluster.engines import Engine
from cluster.errors import DamagedError
from cluster.files.sealed import read_json, write_json
from stages.core.digests import digest
from stages.core.run import Run
from stages.core.sidecar import Sidecars
from stages.core.stage import ShardStage
from stages.core.view import View
from stages.inputs.files.file_versions import listed_tokens, stat_token
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
    tasks = _marked(run) if rule else [(position, "") for position in range(len(run.manifest.bundles))]
    return engine.map(partial(_tally, run, mix, rule), tasks, cost=ledger.TALLY)


def _marked(run: Run) -> list[tuple[int, str]]:
    """Return each bundle's position and, in a store, the mark of its files of facts, by one listing of each folder."""
    count = len(run.manifest.bundles)
    if storage.is_local(run.root):
        return [(position, "") for position in range(count)]
    tokens = {sidecars.folder: listed_tokens(sidecars.folder) for sidecars in _facts(run)}
    return [(position, _mark(run, position, tokens)) for position in range(count)]


def _facts(run: Run) -> Iterator[Sidecars]:
    yield from (run.facts(stage) for stage in run.stages if isinstance(stage, ShardStage))


def _mark(run: Run, position: int, listed: dict[str, dict[str, str]] | None = None) -> str:
    """Return the digest of a bundle's files of facts as they are. listed: tokens by folder and name, of a store."""
    view = View.at(run, position)
    found: list[list[str]] = []
    for sidecars in _facts(run):
        found.append([])
        while (token := _token(sidecars, view, len(found[-1]), listed)) is not None:
            found[-1].append(token)
    return digest(found)


def _token(sidecars: Sidecars, view: View, part: int, listed: dict[str, dict[str, str]] | None) -> str | None:
    """Return what tells of a change to a part of a bundle's facts; None where there is no such part."""
    path = sidecars.path(view.bundle, view.reading, part)
    if listed is not None:
        return listed[sidecars.folder].get(path.rpartition("/")[2])
    try:
        return stat_token(path)
    except FileNotFoundError:
        return None


def _tally(run: Run, mix: Mix, rule: str, task: tuple[int, str]) -> Tally:
    position, mark = task
    if not rule:
        return ledger.tally(run, mix, position)
    view = View.at(run, position)
    key = digest(made_from.rows_made_from(view, rule), mark or _mark(run, position))
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
