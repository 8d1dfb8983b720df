"""What of a run folder is stale: ledger, mix, card and report, compared with the recipe and the inputs it holds now.

A finished ledger is noted with what it was made from: digests of recipe, stages and manifest, and a copy of the recipe.
Readers describe the ledger by that copy, never by a recipe that `winnow stage` or an unfinished run has changed since.

Guarantees: nothing is written but by `note_ledger` and `note_page`; a model that is gone makes no error here, then
recipes are compared instead of stages. Memory: the manifest.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from typing_extensions import TypedDict

from cluster import storage
from cluster.errors import LedgerError, WinnowError
from cluster.files.records import read_record
from cluster.files.sealed import write_json
from pipelines.recipe.lock import check_lock, read_lock
from pipelines.recipe.to_run import Prepared
from pipelines.records import read_mix_manifest
from pipelines.run_state import LOCK, mix_digest, mix_root, reopen
from stages.core import manifest
from stages.core.digests import digest
from stages.outcome.lineage import lineage_digest

CHANGES_SHOWN = 3
PAGES = {"report": "report.json", "card": "mix/README.md"}


class Stale(TypedDict):
    """A part of a run folder that is not up to date, why, and the command that makes it so."""

    what: str
    why: str
    command: str


@dataclass(frozen=True)
class Made:
    """What the finished ledger was made from. stages: None where that can be told no more."""

    recipe: str
    stages: str | None
    shares: str
    manifest: str


def ledger_mark(root: str) -> str:
    """Return the path of the file that names the decisions that the ledger tells of."""
    return storage.join(root, "decisions", "ledger-made-by")


def ledger_recipe(root: str) -> str:
    """Return the path of the copy of the recipe that the ledger was made with."""
    return storage.join(root, "decisions", "ledger-recipe.lock.yaml")


def note_ledger(prepared: Prepared) -> None:
    """Write down what the ledger that was just finished was made from."""
    root = prepared.run.root
    storage.write_bytes(ledger_recipe(root), storage.read_bytes(storage.join(root, LOCK)))
    now = _now(prepared)
    found = {"recipe": now.recipe, "stages": now.stages, "shares": now.shares, "manifest": now.manifest}
    write_json(_ledger_note(root), {"ledger": _text(ledger_mark(root)), **found})


def note_page(root: str, page: str, mix: str = "") -> None:
    """Write down which ledger and mix the report (`report`) or the dataset card (`card`), just written, describes.

    mix : name of the one that a card is about, where a recipe has several.
    """
    storage.write_bytes(_page_note(root, page, mix), _described(root, mix).encode())


def _described(root: str, mix: str = "") -> str:
    """Return the digest of the ledger and of one mix that lie in a run folder."""
    return digest(*(_text(path) for path in (ledger_mark(root), _mix_mark(root, mix), _mix_manifest(root, mix))))


def ledger_digest(root: str) -> str:
    """Return the digest that names the ledger of a run folder; empty where there is none."""
    return _text(ledger_mark(root))


def recipe_of_ledger(root: str) -> str:
    """Return the path of the recipe that describes the ledger: of the finished one's copy, else the folder's lock."""
    copy = ledger_recipe(root)
    if _made(root) is None or not storage.exists(copy):
        return storage.join(root, LOCK)
    check_lock(copy)
    return copy


def check_readable(root: str) -> None:
    """Raise LedgerError where the ledger is of other inputs than the manifest, so that any answer would be wrong."""
    made, frozen = _made(root), manifest.read_manifest(root)
    if made and frozen and made.manifest != frozen.digest:
        raise LedgerError(
            f"the ledger in {root} was made from other inputs than manifest.parquet lists now: a run with changed "
            f"inputs is not finished. Run `{_update(root)}` first."
        )


def stale_parts(run_dir: str) -> list[Stale]:
    """Return what is stale in a run folder, in the order in which it is made; empty where all is up to date.

    Raises RecipeError if it is no run folder, DamagedError where one of its files is not what was written.
    """
    root = run_dir.rstrip("/")
    prepared = reopen(root)
    now = _now(prepared)
    found = [*_ledger(prepared, now), *_mix(prepared, now)]
    for page, mix, path in _pages(prepared):
        if not storage.exists(path):
            continue
        name = f"{page} {mix}".rstrip()
        if (noted := _text(_page_note(root, page, mix))) and noted != _described(root, mix):
            why = "it describes another ledger or mix than the folder holds"
            found.append({"what": name, "why": why, "command": _update(root)})
        elif found:
            why = "it describes the ledger and the mix as they are, which are stale"
            found.append({"what": name, "why": why, "command": _update(root)})
    return found


def _pages(prepared: Prepared) -> Iterator[tuple[str, str, str]]:
    """Yield (page, mix, path) of the report and of every dataset card."""
    root = prepared.run.root
    yield "report", "", storage.join(root, PAGES["report"])
    for mix in prepared.mixes:
        yield "card", mix.name, storage.join(mix_root(root, mix.name), "README.md")


def _named(mix: str) -> str:
    return f"mix {mix}".rstrip()


def stale_sources(root: str) -> list[Stale]:
    """Return what is stale of that from which report and card are made."""
    return [part for part in stale_parts(root) if part["what"].partition(" ")[0] not in PAGES]


def check_up_to_date(root: str, mix: str = "") -> None:
    """Raise LedgerError where ledger or mix are stale: a dataset card goes with its data to people who see no more."""
    parts = [part for part in stale_sources(root) if not mix or part["what"] in ("ledger", _named(mix))]
    if parts:
        raise LedgerError(f"no dataset card is written for {root}. {' '.join(stale_sentences(parts))}")


def stale_sentences(parts: list[Stale]) -> list[str]:
    """Return each stale part as a sentence for people."""
    return [f"stale: {part['what']}: {part['why']}. `{part['command']}` brings it up to date." for part in parts]


def _update(root: str) -> str:
    return f"winnow materialize {shlex.quote(root)}"


def _ledger_note(root: str) -> str:
    return storage.join(root, "decisions", "ledger-made-from.json")


def _page_note(root: str, page: str, mix: str = "") -> str:
    if mix:
        return storage.join(mix_root(root, mix), f".{page}-made-from")
    return storage.join(root, "decisions", f"{page}-made-from")


def _mix_mark(root: str, mix: str = "") -> str:
    return storage.join(mix_root(root, mix), ".made-by")


def _mix_manifest(root: str, mix: str = "") -> str:
    return storage.join(mix_root(root, mix), "manifest.json")


def _text(path: str) -> str:
    """Return what a small file holds; nothing where it is missing."""
    try:
        return storage.read_bytes(path).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _now(prepared: Prepared) -> Made:
    """Return what a ledger written now would be made from."""
    try:
        stages = lineage_digest(prepared.run)
    except (WinnowError, OSError):
        stages = None
    shares = digest(*(mix.values() for mix in prepared.mixes))
    recipe = digest(prepared.digest, prepared.sample)
    return Made(recipe=recipe, stages=stages, shares=shares, manifest=prepared.run.manifest_digest)


def _made(root: str) -> Made | None:
    """Return what the ledger in a run folder was made from; None where it is not finished, or of an earlier winnow."""
    try:
        found = read_record(_ledger_note(root), dict[str, str | None])
    except FileNotFoundError:
        return None
    if found.pop("ledger", None) != _text(ledger_mark(root)):
        return None
    return Made(**{name: found.get(name) or "" for name in Made.__annotations__})


def _ledger(prepared: Prepared, now: Made) -> Iterator[Stale]:
    """Yield why the ledger is stale."""
    root = prepared.run.root
    made = _made(root)
    why = _unfinished(prepared) if made is None else _difference(root, made, now)
    if why:
        yield {"what": "ledger", "why": why, "command": _update(root)}


def _unfinished(prepared: Prepared) -> str | None:
    """Return why a ledger without a note is not up to date; None for that of a run that an earlier winnow finished."""
    root = prepared.run.root
    shards = len(prepared.run.manifest.live_shards)
    have = sum(name.endswith(".parquet") for name in storage.names(storage.join(root, "ledger")))
    manifests = [_mix_manifest(root, mix.name) for mix in prepared.mixes]
    there = next((path for path in manifests if storage.exists(path)), None)
    if have < shards or there is None:
        return f"the run is not finished: {have:,} of {shards:,} files are written"
    written = read_mix_manifest(there)
    if written.get("manifest_digest") != prepared.run.manifest_digest:
        return "it was made from other inputs than the manifest lists"
    if written.get("recipe_digest") != prepared.digest:
        return "it was made with another recipe than recipe.lock.yaml"
    return None


def _difference(root: str, made: Made, now: Made) -> str | None:
    """Return what changed since a finished ledger was made; None where nothing did that counts."""
    if made.manifest != now.manifest:
        return "it was made from other inputs than the manifest lists now"
    same = made.recipe == now.recipe if now.stages is None or not made.stages else made.stages == now.stages
    if same and made.shares == now.shares:
        return None
    changed = _changes(root)
    if not changed:
        return "it was made with other models or another sample than the recipe names now"
    rest = f" and {len(changed) - CHANGES_SHOWN} more" if len(changed) > CHANGES_SHOWN else ""
    return f"it was made before the recipe changed ({'; '.join(changed[:CHANGES_SHOWN])}{rest})"


def _mix(prepared: Prepared, now: Made) -> Iterator[Stale]:
    """Yield why each mix is stale."""
    root = prepared.run.root
    for mix in prepared.mixes:
        command = _update(root) + (f" --mix {mix.name}" if mix.name else "")
        if not storage.exists(_mix_manifest(root, mix.name)):
            yield {"what": _named(mix.name), "why": "it is not written", "command": command}
            continue
        mark = _text(_mix_mark(root, mix.name))
        if now.stages is not None and mark and mark != mix_digest(prepared.run, mix, prepared.output):
            why = "it was made by other decisions or another recipe"
            yield {"what": _named(mix.name), "why": why, "command": command}


def _changes(root: str) -> list[str]:
    """Return the keys in which the recipe of the ledger and the folder's lock differ, with both values."""
    old, new = (dict(_leaves(read_lock(path), "")) for path in (ledger_recipe(root), storage.join(root, LOCK)))
    keys = [key for key in {**old, **new} if not key.startswith("cluster.") and old.get(key) != new.get(key)]
    return [f"{key} {_shown(old, key)} -> {_shown(new, key)}" for key in keys]


def _shown(values: dict[str, Any], key: str) -> str:
    text = repr(values[key]) if key in values else "absent"
    return text if len(text) <= 40 and "salt" not in key else "..."


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, plain value); an entry of a list goes by its name, where it has one, else by its place."""
    entries: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        entries = [(e.get("name") or e.get("use") or n if isinstance(e, dict) else n, e) for n, e in enumerate(value)]
    if not entries:
        yield key, value
    for name, entry in entries:
        yield from _leaves(entry, f"{key}.{name}" if key else str(name))
