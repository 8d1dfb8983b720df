"""The report of a run: report.json with every number, and report.html that shows them.

Guarantees: numbers come from the ledger, the mix and the facts, never from the run's memory, so that anybody
can recompute them; the funnel closes for every dataset or there is no report. Apart from `timings`, the
same run folder gives the same report. Memory: one ledger batch, the samples' texts.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.engines import Engine, InlineEngine
from cluster.errors import LedgerError, WinnowError
from pipelines.artefacts import QuarantinedProblem
from pipelines.report import figures, tree
from pipelines.report.accuracy import read_accuracy
from pipelines.report.duplicates import groups_by_size, overlap_of_datasets, similarities_of_stages
from pipelines.report.funnel import funnel_of_dataset, funnel_of_run
from pipelines.report.ledger_sums import DatasetSums, LedgerSums
from pipelines.report.lengths import lengths_of_datasets
from pipelines.report.mix_shares import mix_shares
from pipelines.report.passes import members_of_groups, sum_ledger
from pipelines.report.poorer import what_is_lost
from pipelines.report.samples import paired, pairs_side_by_side, sampled, samples_of_documents
from pipelines.report.scores import score_histograms
from pipelines.report.shown import read_shown
from pipelines.report.timings import timing_rates
from pipelines.run_state import from_home
from pipelines.runfolder import RunFolder, StageInfo, open_run
from pipelines.staleness import check_readable, note_page, recipe_of_ledger, stale_sources
from stages.core.digests import DATA_FORMAT, digest
from stages.passes.freeze import passed_over
from stages.passes.quarantined import problem_of

QUARANTINED_SHOWN = 10
LOG = logging.getLogger("winnow.report")
KEPT = (
    "%s is kept as it is: a new one would show only %s, as inputs, models or facts cannot be read now. "
    "Bring them back, or delete report.json to have the poorer report."
)


def write_report(
    run_dir: str,
    engine: Engine | None = None,
    *,
    trust: bool = False,
    show_original: bool = False,
    settled: str = "",
) -> str:
    """Write report.json and report.html into the run folder; return the path of the page.

    A page about the same ledger that shows more (inputs or models were there then) stays, with a warning in the log.

    Parameters
    ----------
    engine : reads the ledger; None: this process.
    trust : see `open_run`.
    show_original : show texts as the input has them, on pages for their owner alone; else as they are written.
    settled : the call of the run that writes it at its end; see `RunFolder`.

    Raises
    ------
    RecipeError
        The run folder names code that is not trusted.
    LedgerError
        The numbers of a dataset do not close.
    """
    from pipelines.report.page import render_page

    with from_home(run_dir) as root:
        folder = replace(open_run(root, trust=trust, warn=False), originals=show_original, _settled=settled)
        folder.check_code()
        report = build_report(folder, engine)
    folder = RunFolder(run_dir.rstrip("/"))
    path = folder.path("report.html")
    lost = what_is_lost(folder.path("report.json"), report) if storage.exists(path) else []
    if lost:
        LOG.warning(KEPT, path, ", ".join(lost))
        return path
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    storage.write_bytes(folder.path("report.json"), (text + "\n").encode("utf-8", "replace"), private=show_original)
    storage.write_bytes(path, render_page(report).encode("utf-8", "replace"), private=show_original)
    note_page(folder.root, "report")
    return path


def build_report(folder: RunFolder, engine: Engine | None = None) -> tree.Report:
    """Return the report of a run folder."""
    check_readable(folder.root)
    engine = engine or InlineEngine()
    sums = count_ledger(folder, engine)
    members = members_of_groups(folder, engine, sums.largest.docs)
    in_groups = [*sums.largest.docs, *(doc for group in members.values() for doc in group)]
    shown = read_shown(folder, [*in_groups, *sampled(folder, sums)], (doc for _, doc in paired(folder, sums)))
    histograms = score_histograms(folder, engine)
    digests = _stage_digests(folder)
    total = funnel_of_run(folder, sums)
    return {
        "format": DATA_FORMAT,
        "name": folder.recipe.get("name", ""),
        "tokens_are": folder.tokens_are,
        "digests": _digests(folder),
        "recipe": storage.read_bytes(recipe_of_ledger(folder.root)).decode(),
        "stages": [_stage(stage, digests.get(stage.name)) for stage in folder.stages],
        "datasets": [_dataset(folder, name) for name in folder.datasets],
        "funnel": {name: funnel_of_dataset(folder, name, sums.datasets[name]) for name in folder.datasets},
        "total": total,
        "warnings": [str(text) for text in folder.mix_manifest.get("warnings") or []],
        "stale": stale_sources(folder.root),
        "figures": figures.read(folder, engine),
        "overlap": overlap_of_datasets(folder, sums),
        "dedup": similarities_of_stages(folder, sums),
        "groups": groups_by_size(sums, members, shown),
        "scores": histograms.scores,
        "languages": histograms.languages,
        "scores_from": histograms.source,
        "lengths": lengths_of_datasets(sums, folder.datasets),
        "accuracy": read_accuracy(folder.root),
        "mix": mix_shares(folder, sums),
        "samples": samples_of_documents(folder, sums, shown),
        "pairs": pairs_side_by_side(folder, sums, shown),
        "quarantine": _quarantine(folder),
        "passed_over": {name: [item.to_json() for item in items] for name, items in passed_over(folder.root).items()},
        "timings": timing_rates(folder, total),
    }


def count_ledger(folder: RunFolder, engine: Engine | None = None) -> LedgerSums:
    """Return the sums over the whole ledger. Raises LedgerError unless those of every dataset close."""
    sums = sum_ledger(folder, engine or InlineEngine())
    for name in folder.datasets:
        check_dataset(folder, name, sums.datasets[name])
    return sums


def check_dataset(folder: RunFolder, name: str, sums: DatasetSums) -> None:
    """Raise LedgerError unless rows in = kept + dropped, and the mix is what the ledger says."""
    dropped = sum((a.documents for a in sums.dropped.values()), 0)
    rows = pc.sum(_shards(folder, name).column("rows")).as_py() or 0
    if not (sums.rows.documents == rows == sums.kept.documents + dropped):
        raise LedgerError(
            f"the funnel of {name} does not close: {rows:,} rows in the manifest, "
            f"{sums.rows.documents:,} in the ledger, {sums.kept.documents:,} kept + {dropped:,} dropped. "
            "Delete the ledger folder and run again."
        )
    written = folder.mix_dataset(name)
    for what, said, counted in (
        ("documents", written.get("documents"), sums.mix.documents),
        ("tokens", written.get("tokens"), sums.mix.tokens),
    ):
        if said is not None and said != counted:
            raise LedgerError(
                f"the mix of {name} is not what the ledger says: mix/manifest.json counts {said:,} "
                f"{what}, the ledger {counted:,}. Delete the mix folder and run again."
            )


def _shards(folder: RunFolder, dataset: str) -> pa.Table:
    return folder.manifest.filter(pc.equal(folder.manifest.column("dataset"), dataset))


def _digests(folder: RunFolder) -> tree.Digests:
    shards = folder.manifest.select(["ordinal", "dataset", "rows", "fingerprint"]).to_pylist()
    return {
        "recipe": str(folder.mix_manifest.get("recipe_digest") or digest(folder.recipe)),
        "inputs": str(folder.mix_manifest.get("manifest_digest") or digest(shards)),
    }


def _stage_digests(folder: RunFolder) -> dict[str, str]:
    """Return the digest of every stage's parameters and model; nothing where a model is gone."""
    try:
        return {stage.name: stage.digest() for stage in folder.run.stages}
    except (WinnowError, OSError):
        return {}


def _stage(stage: StageInfo, digest: str | None) -> tree.Stage:
    return {
        "name": stage.name,
        "use": stage.use,
        "digest": digest,
        "datasets": list(stage.datasets),
        "parameters": stage.parameters,
    }


def _dataset(folder: RunFolder, name: str) -> tree.Dataset:
    entry = folder.recipe["datasets"][name] or {}
    shards = _shards(folder, name)
    priority = list(folder.recipe.get("priority") or [])
    return {
        "name": name,
        "licence": folder.licence(name),
        "preset": entry.get("preset"),
        "role": entry.get("role") or "source",
        "priority": priority.index(name) + 1 if name in priority else None,
        "shards": shards.num_rows,
        "rows": pc.sum(shards.column("rows")).as_py() or 0,
        "bytes": pc.sum(shards.column("bytes")).as_py() or 0,
    }


def _problem(path: str, line: bytes) -> QuarantinedProblem:
    """Return a line of a quarantine file; one that is damaged still counts, as a problem of that file."""
    found = problem_of(line) or {"path": path, "row": None, "byte_offset": None, "error": "the line is damaged"}
    return cast(QuarantinedProblem, found)


def _quarantine(folder: RunFolder) -> tree.Quarantine:
    """Return how many problems were set aside, and the first of them."""
    problems, first = 0, list[QuarantinedProblem]()
    for name in sorted(storage.names(folder.path("quarantine"))):
        for line in storage.read_bytes(folder.path("quarantine", name)).splitlines():
            problems += 1
            if len(first) < QUARANTINED_SHOWN:
                first.append(_problem(folder.path("quarantine", name), line))
    return {"problems": problems, "first": first}
