"""The mixes of a run: how much each takes of what, before the ledger; then each written into a folder of its own.

Guarantees: a mix that others exclude is planned before them; writing one touches no other's files. Memory: sums per
cell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cluster import storage
from cluster.errors import RecipeError
from cluster.exchange import remove_hops
from pipelines.artefacts import MixManifest
from pipelines.mix.cell_changes import cell_changes, note_cells
from pipelines.mix.files import MixFile, lost_values
from pipelines.mix.job import MixJob, mix_job
from pipelines.mix.manifest import WrittenMix, write_mix_manifest
from pipelines.mix.materialize import materialize
from pipelines.recipe.output import INTERLEAVED, output_of_mix
from pipelines.recipe.to_run import Prepared
from pipelines.records import read_mix_manifest
from pipelines.run.watched import Watched
from pipelines.run_state import mix_root
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import stage_runs
from stages.outcome.by_language import language_warnings
from stages.outcome.cell_shares import CellShare, shares_of_cells, shares_of_datasets
from stages.outcome.copy_numbers import number_copies
from stages.outcome.draw import Draw
from stages.outcome.holdout_similarity import Similarity
from stages.outcome.ledger import Tally
from stages.outcome.made_from import MadeFrom
from stages.outcome.mix_warnings import cell_warnings, check_strict, holdout_warnings, mix_warnings, unwritten
from stages.outcome.mixing import Mix, Portion, portions
from stages.outcome.settle_cells import NO_CELL, settle, tally_cells


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One mix before it is written. portions: of the datasets, where they are its cells; left: (documents, tokens) in
    no cell."""

    draw: Draw
    shares: Mapping[str, CellShare]
    portions: Mapping[str, Portion] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    left: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """Its name among several; empty for the one mix of a recipe."""
        return self.draw.mix.name


def check_names(prepared: Prepared, only: Sequence[str]) -> None:
    """Raise RecipeError where a mix is asked for that the recipe does not have."""
    known = [mix.name for mix in prepared.mixes if mix.name]
    for name in only:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "the recipe has one mix without a name"
            raise RecipeError(f"no mix is called {name!r}; {there}.")


def plan_mixes(engine: Watched, prepared: Prepared, tallies: Sequence[Tally]) -> list[Planned]:
    """Return how often each mix of the run takes what."""
    planned: dict[str, Planned] = {}
    for mix in prepared.mixes:
        draw = Draw(mix=mix, excluded=tuple(planned[name].draw for name in mix.exclude))
        found = _plan_cells(engine, prepared, draw) if mix.cells else _plan_datasets(engine, prepared, draw, tallies)
        if prepared.strict:
            check_strict(list(found.warnings))
        held = holdout_warnings(mix, *_kept_and_held(prepared, tallies))
        found = dataclasses.replace(found, warnings=(*found.warnings, *held))
        planned[mix.name] = _numbered(engine, prepared, found)
    return list(planned.values())


def _kept_and_held(prepared: Prepared, tallies: Sequence[Tally]) -> tuple[int, int]:
    """Return surviving documents of the datasets that are mixed, and how many of them are held out."""
    mixed = {d.name for d in prepared.run.datasets if d.role != "reference"}
    mine = [t for t in tallies if t.dataset in mixed]
    return sum(t.kept for t in mine), sum(t.kept - t.mixable[0] for t in mine)


def _plan_cells(engine: Watched, prepared: Prepared, draw: Draw) -> Planned:
    with engine.step(_called("cells", draw)):
        draw = dataclasses.replace(draw, settled=settle(engine, prepared.run, draw))
        found = tally_cells(engine, prepared.run, draw)
    shares = shares_of_cells(draw.mix, found)
    left = found[NO_CELL].documents[0], found[NO_CELL].tokens[0]
    return Planned(
        draw=dataclasses.replace(draw, epochs={name: share.epochs for name, share in shares.items()}),
        shares=shares,
        warnings=tuple(_of(draw.mix, cell_warnings(draw.mix, shares, left))),
        left=left,
    )


def _plan_datasets(engine: Watched, prepared: Prepared, draw: Draw, tallies: Sequence[Tally]) -> Planned:
    run, mix = prepared.run, draw.mix
    contents: dict[str, int] = {}
    if draw.excluded:
        with engine.step(_called("cells", draw)):
            counted = tally_cells(engine, run, draw)
        mixable = {n: (t.documents[0], t.tokens[0]) for n, t in counted.items() if n != NO_CELL}
        contents = {n: t.content for n, t in counted.items()}
    else:
        mixable = mixable_tokens(prepared, tallies)
        for tally in tallies:
            contents[tally.dataset] = (contents.get(tally.dataset, 0) + tally.content) % 2**64
    shares = portions(mix, mixable)
    return Planned(
        draw=dataclasses.replace(draw, epochs={name: (portion.epochs,) for name, portion in shares.items()}),
        shares=shares_of_datasets(mix, shares, contents),
        portions=shares,
        warnings=tuple(_of(mix, mix_warnings(mix, shares, {name: run.manifest.rows(name) for name in shares}))),
    )


def _numbered(engine: Watched, prepared: Prepared, planned: Planned) -> Planned:
    """Number the copies of equal texts where a fraction of them is drawn."""
    epochs = [e for each in planned.draw.epochs.values() for e in each]
    if planned.draw.mix.mode != "sample" or all(e == int(e) for e in epochs):
        return planned
    with engine.step("copies"):
        address = number_copies(engine, prepared.run)
    return dataclasses.replace(planned, draw=dataclasses.replace(planned.draw, numbered=address))


def _called(step: str, draw: Draw) -> str:
    return f"{step} {draw.mix.name}".rstrip()


def _of(mix: Mix, warnings: Sequence[str]) -> list[str]:
    """Return warnings that say which of several mixes they are about."""
    return [f"mix {mix.name}: {text}" if mix.name else text for text in warnings]


def mixable_tokens(prepared: Prepared, tallies: Sequence[Tally]) -> dict[str, tuple[int, int]]:
    """Return (documents, tokens) that survived and are not held out, per dataset that is written."""
    found = {d.name: (0, 0) for d in prepared.run.datasets if d.role != "reference"}
    for t in tallies:
        if t.dataset in found:
            documents, tokens = found[t.dataset]
            found[t.dataset] = documents + t.mixable[0], tokens + t.mixable[1]
    return found


def write_mix(
    engine: Watched,
    prepared: Prepared,
    planned: Planned,
    tallies: Sequence[Tally],
    made: Sequence[MadeFrom],
    similarity: Similarity | None = None,
) -> tuple[list[str], list[str]]:
    """Write one mix and its manifest; return (warnings, what changed since it was last written).

    made : what the rows of each bundle are made from.
    """
    mixable = mixable_tokens(prepared, tallies)
    job = mix_job(prepared, planned.draw, _volume(prepared, planned, mixable))
    with engine.step(_called("materialize", planned.draw), documents=_documents_written(planned.shares)):
        files = materialize(engine, job, [t.text_bytes for t in tallies], [each.mix for each in made])
    warnings = [*planned.warnings, *_of(job.mix, [*_unwritten(job, planned, files), *lost_values(files)])]
    warnings += [text for each in stage_runs(prepared.run, ExchangeStage) for text in each.stage.notes(each)]
    warnings += language_warnings(prepared.run, (tally.languages for tally in tallies))
    written = WrittenMix(
        job=job,
        shares=planned.shares,
        portions=planned.portions,
        survivors=mixable,
        left=planned.left,
        files=files,
        similarity=similarity,
    )
    cells = write_mix_manifest(prepared, written, warnings)
    changes = cell_changes(prepared.run.root, planned.name, cells)
    note_cells(prepared.run.root, planned.name, cells)
    remove_hops(engine, job.exchange, len(job.run.manifest.bundles))
    return warnings, _of(job.mix, changes)


def mix_manifests(prepared: Prepared) -> dict[str, MixManifest]:
    """Return the manifest of every mix that is written, by name."""
    paths = {mix.name: storage.join(mix_root(prepared.run.root, mix.name), "manifest.json") for mix in prepared.mixes}
    return {name: read_mix_manifest(path) for name, path in paths.items() if storage.exists(path)}


def _documents_written(shares: Mapping[str, CellShare]) -> int:
    """Return how many documents a draw takes, on average; held-out ones apart."""
    levels = (pair for share in shares.values() for pair in zip(share.documents, share.epochs, strict=True))
    return round(sum(documents * min(epochs, 1.0) for documents, epochs in levels))


def _volume(prepared: Prepared, planned: Planned, mixable: Mapping[str, tuple[int, int]]) -> float:
    """Return the text that is written per text that survived, copies included."""
    there = sum(tokens for _, tokens in mixable.values())
    expected = sum(share.expected_tokens for share in planned.shares.values())
    if not output_of_mix(prepared.output, planned.draw.mix).repeat:
        expected = min(expected, there)
    return max(expected / there, 0.01) if there else 1.0


def _unwritten(job: MixJob, planned: Planned, files: Mapping[str, Sequence[MixFile]]) -> list[str]:
    if not planned.portions:
        return []
    if job.interleaved:
        counted = [file.cells for file in files[INTERLEAVED] if "/part-" in file.path]
        written = {
            name: sum(c["documents"] for cells in counted for c in cells.get(name, {}).values())
            for name in planned.portions
        }
    else:
        written = {name: sum(f.documents for f in found) for name, found in files.items()}
    return unwritten(planned.portions, written)
