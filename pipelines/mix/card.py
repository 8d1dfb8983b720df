"""The dataset card of a mix: Markdown with the front matter that dataset hubs read.

Guarantees: made from recipe, manifest, ledger and mix alone, without dates or machine names, so that an
interrupted and resumed run writes the same bytes. Memory: one ledger batch in
a task, counts here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc
import yaml

from cluster import storage
from cluster.engines import Engine, Growth, InlineEngine, TaskCost
from pipelines.artefacts import MixDataset, files_of_mix
from pipelines.ledger_blocks import count_documents
from pipelines.mix.card_cells import cells_section, similarity_section
from pipelines.mix.card_features import dataset_info
from pipelines.mix.card_files import config_entry, configs_of
from pipelines.mix.loaders import write_loaders
from pipelines.mix.markdown import code, inline, table
from pipelines.recipe.output import FACT, Output
from pipelines.run_tables import mix_tables
from pipelines.runfolder import Counts, RunFolder, open_run
from pipelines.staleness import check_up_to_date, note_page
from stages.core.costs import Quantity
from stages.inputs.fit import is_json
from stages.inputs.presets import PRESETS, SYNTHETIC

# identifiers that dataset hubs accept in `license`; anything else becomes `other` with its name beside it
LICENCES = {
    "apache-2.0", "mit", "odc-by", "pddl", "odbl", "cc0-1.0", "cc", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0",
    "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "gpl-2.0", "gpl-3.0", "lgpl-3.0",
    "agpl-3.0", "gfdl", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "mpl-2.0", "unlicense", "wtfpl",
    "unknown",
}  # fmt: skip
SIZES = (
    *("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B"),
    *("1B<n<10B", "10B<n<100B", "100B<n<1T", "n>1T"),
)
CHANGED = "with the cuts and replacements of the steps above"
LANGUAGE_SHARE = 0.005  # of the documents: what is rarer is not listed
LANGUAGE = re.compile(r"[a-z]{2,3}")
NOT_A_LANGUAGE = {"und", "zxx", "mul", "mis"}
LIMITS = """\
- Deduplication finds near duplicates with high probability, not with certainty: MinHash-LSH misses some
  pairs near the threshold.
- What no step above looks for is still in the data: personal data, offensive text, and copies of evaluation
  sets, unless a step for them is listed.
- Quality and language are judged by models, which are wrong for some documents and tend to favour some
  styles and dialects over others.
- The texts come from the sources {changed}. Their licences, and the rights of the authors of the pages they
  were made from, continue to apply to each of them."""


def write_card(run_dir: str, mix: str = "", engine: Engine | None = None) -> str:
    """Write README.md and loaders/ of a mix into its folder; return the card's path. mix: name of one of several.

    engine : reads ledger and mix; None: this process.

    Raises LedgerError where ledger or mix are stale.
    """
    folder = open_run(run_dir, warn=False).of_mix(mix)
    check_up_to_date(folder.root, mix)
    engine = engine or InlineEngine()
    counts = count_documents(folder, engine)
    path = storage.join(folder.mix_folder, "README.md")
    storage.write_bytes(path, render_card(folder, counts, engine).encode("utf-8", "replace"))
    write_loaders(folder, counts)
    note_page(folder.root, "card", mix)
    return path


def render_card(folder: RunFolder, counts: Mapping[str, Counts] | None = None, engine: Engine | None = None) -> str:
    """Return the card of a run's mix; counts: None to count here."""
    engine = engine or InlineEngine()
    counts = count_documents(folder, engine) if counts is None else counts
    head = yaml.safe_dump(front_matter(folder, counts, engine), sort_keys=False, allow_unicode=True, width=100)
    sections = [
        f"# {inline(_title(folder))}",
        _summary(folder, counts),
        "## Sources\n\n" + _sources(folder),
        "## Steps\n\n" + _steps(folder),
        "## Counts\n\n" + _counts(folder, counts),
        *cells_section(folder),
        *similarity_section(folder),
        *_warnings(folder),
        "## Columns\n\n" + _columns(folder),
        "## Known limits\n\n" + LIMITS.format(changed=CHANGED if _rewritten(folder) else "unchanged"),
    ]
    return f"---\n{head}---\n\n" + "\n\n".join(sections) + "\n"


def front_matter(
    folder: RunFolder, counts: Mapping[str, Counts] | None = None, engine: Engine | None = None
) -> dict[str, Any]:
    """Return the metadata of the card, in the hubs' schema for datasets; counts: None to count here."""
    counts = folder.counts if counts is None else counts
    names = _written(folder)
    licences = sorted({" ".join((folder.licence(name) or "unknown").split()) for name in names})
    valid = [lic.lower() for lic in licences if lic.lower() in LICENCES]
    head: dict[str, Any] = {"pretty_name": _title(folder)}
    others = [lic for lic in licences if lic.lower() not in LICENCES]
    keys = [*valid, *(["other"] if others else [])]
    head["license"] = keys[0] if len(keys) == 1 else keys
    if others:
        head["license_name"] = "; ".join(others)
    languages = _languages(folder, names, engine or InlineEngine())
    if languages:
        head["language"] = languages
    head["task_categories"] = ["text-generation"]
    head["size_categories"] = [size_category(_rows_written(folder, names, counts))]
    made = [name for name in names if (folder.recipe["datasets"][name] or {}).get("preset") == SYNTHETIC]
    head["tags"] = ["pretraining", "deduplicated", "winnow", *(["synthetic"] if made else [])]
    if made:
        head["synthetic"] = True
        head["synthetic_datasets"] = made
    configs = configs_of(folder)
    if configs:
        files = len(files_of_mix(folder.mix_manifest))
        head["configs"] = [config_entry(config, files) for config in configs]
        head["dataset_info"] = dataset_info(folder, configs)
    return head


def size_category(rows: int) -> str:
    """Return the hubs' name for a number of rows.

    >>> size_category(999), size_category(1000), size_category(5 * 10**10)
    ('n<1K', '1K<n<10K', '10B<n<100B')
    """
    return SIZES[sum(rows >= 10**power for power in range(3, 13))]


def _written(folder: RunFolder) -> list[str]:
    """Return the datasets that are in the mix."""
    return [n for n in folder.datasets if folder.mix_files(n) or folder.mix_dataset(n).get("documents")]


def _rows_written(folder: RunFolder, names: list[str], counts: Mapping[str, Counts]) -> int:
    return sum(int(folder.mix_dataset(name).get("rows") or counts[name].in_mix) for name in names)


LANGUAGES = TaskCost(
    name="count the card's languages",
    tasks=Growth(quantity=Quantity.MIX_PARTS),
    work=Growth(quantity=Quantity.MIX_BYTES),
    rare=True,
)


def _languages(folder: RunFolder, names: list[str], engine: Engine) -> list[str]:
    """Return the languages of the mix, commonest first, as far as a stage told them."""
    found: Counter[str] = Counter()
    documents = 0
    for rows, counts in engine.map(_languages_of, folder.files if names else [], cost=LANGUAGES):
        documents += rows
        found.update(counts)
    shown = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [
        code
        for code, count in shown
        if LANGUAGE.fullmatch(code) and code not in NOT_A_LANGUAGE and count >= LANGUAGE_SHARE * documents
    ]


def _languages_of(path: str) -> tuple[int, Counter[str]]:
    """Return the documents of one file of the mix, and those of each language."""
    found: Counter[str] = Counter()
    documents = 0
    for batch in mix_tables(path, ["language"]):
        documents += batch.num_rows
        for entry in pc.value_counts(batch.column("language")).to_pylist():
            if entry["values"] is not None:
                found[str(entry["values"]).split("-")[0]] += entry["counts"]
    return documents, found


def _title(folder: RunFolder) -> str:
    """Return the name of the mix: the recipe's, and its own where the recipe has several."""
    return " ".join(filter(None, [str(folder.recipe.get("name") or "mix"), folder.mix_name]))


def _rewritten(folder: RunFolder) -> bool:
    """Tell whether a stage of the recipe changes the texts that are written."""
    return any(stage.use == "rewrite" for stage in folder.stages)


def _summary(folder: RunFolder, counts: Mapping[str, Counts]) -> str:
    rows, kept, mixed = (sum(getattr(c, key) for c in counts.values()) for key in ("rows", "kept", "in_mix"))
    tokens = sum(int(e.get("tokens") or 0) for e in (folder.mix_manifest.get("datasets") or {}).values())
    digest = folder.mix_manifest.get("recipe_digest")
    made = f" by recipe `{digest}`" if digest else ""
    return (
        f"A text mix for pretraining language models, made with winnow{made} from {len(folder.datasets)} datasets: "
        f"of {rows:,} documents {kept:,} survived every step, and {mixed:,} are in the mix, {tokens:,} tokens "
        f"({folder.tokens_are}). `report.html` beside the mix shows what was dropped and why."
    )


def _sources(folder: RunFolder) -> str:
    rows = []
    for name in folder.datasets:
        entry = folder.recipe["datasets"][name] or {}
        preset = PRESETS.get(entry.get("preset") or "")
        role = "compared against, not included" if entry.get("role") == "reference" else "included"
        licence = folder.licence(name) or "not given"
        rows.append([name, preset.title if preset else "", licence, role])
    note = "Licences are as given in the recipe, or as published with the dataset; they were not checked."
    return table(["dataset", "known as", "licence", "role"], rows) + "\n\n" + note


def _steps(folder: RunFolder) -> str:
    """Return the stages in order with their parameters, then how the mix was drawn and written."""
    lines = ["1. **read**: texts that are null, empty, white space or unreadable are dropped."]
    for number, stage in enumerate(folder.stages[1:], start=2):
        use = "" if stage.use == stage.name else f" ({inline(stage.use)})"
        only = f", only for {inline(', '.join(stage.datasets))}" if stage.datasets else ""
        given = ", ".join(f"{k} {code(_plain(v))}" for k, v in stage.parameters.items() if v not in (None, "", [], ()))
        lines.append(f"{number}. **{inline(stage.name)}**{use}{only}: {given or 'no parameters'}.")
    wish = {**(folder.recipe.get("mix") or {}), **((folder.recipe.get("mixes") or {}).get(folder.mix_name) or {})}
    mix = {k: v for k, v in wish.items() if v not in (None, "", [], {}) and k not in ("cells", "scores")}
    if wish.get("cells"):
        mix["cells"] = [cell.get("name") for cell in wish["cells"]]
    lines.append(f"{len(lines) + 1}. **mix**: " + ", ".join(f"{k} {code(_plain(v))}" for k, v in mix.items()) + ".")
    if folder.recipe.get("priority"):
        ranked = inline(", ".join(map(str, folder.recipe["priority"])))
        lines.append(f"\nOf duplicates in several datasets the copy of the first one here survives: {ranked}.")
    return "\n".join(lines)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}: {v}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _counts(folder: RunFolder, counts: Mapping[str, Counts]) -> str:
    """Return the funnel: documents per dataset, read, dropped by each stage, kept, in the mix."""
    stages = [s.name for s in folder.stages]
    dropping = [s for s in stages if any(k[0] == s for c in counts.values() for k in c.dropped)]
    listed = folder.mix_manifest.get("datasets") or {}
    titles = [
        "dataset",
        "read",
        *(f"dropped: {s}" for s in dropping),
        "kept",
        "in the mix",
        "tokens",
        "epochs",
    ]
    rows = [
        [name, *_numbers(counts[name], dropping), *_mix_numbers(folder.mix_dataset(name))] for name in folder.datasets
    ]
    totals = [sum(column) for column in zip(*(_numbers(c, dropping) for c in counts.values()), strict=True)]
    tokens = sum(int(e.get("tokens") or 0) for e in listed.values())
    return table(titles, [*rows, ["all", *totals, tokens, ""]])


def _warnings(folder: RunFolder) -> list[str]:
    """Return the section of what the mix could not be, if there is anything."""
    found = folder.mix_manifest.get("warnings") or []
    return ["## Warnings\n\n" + "\n".join(f"- {inline(text)}" for text in found)] if found else []


def _numbers(counts: Counts, stages: list[str]) -> list[int]:
    dropped = [sum(n for (stage, _), n in counts.dropped.items() if stage == s) for s in stages]
    return [counts.rows, *dropped, counts.kept, counts.in_mix]


def _mix_numbers(entry: MixDataset) -> list[object]:
    epochs = entry.get("epochs")
    return [int(entry.get("tokens") or 0), "" if epochs is None else f"{epochs:.3g}"]


def _columns(folder: RunFolder) -> str:
    known = {
        "text": f"the document, {CHANGED if _rewritten(folder) else 'unchanged'}",
        "id": "the source's own id",
        "doc_id": "handle inside this run: file number << 32 | row",
        "source": "dataset it came from",
        "url": "where the source says it was found",
        "language": "as a model judged it",
        "language_score": "how sure the model was",
        "quality_score": "on the scale of the last quality stage that applied",
        "num_tokens": folder.tokens_are,
        "copies": "how often the document counts in the mix",
        "group_size": "documents that were duplicates of each other, this one included",
    }
    if folder.mix_manifest.get("mode") == "sample" and folder.mix_manifest.get("repeat"):
        known["copies"] += "; it is that many rows"
    if "documents_in_no_cell" in folder.mix_manifest:
        known["cell"] = "the cell of the mix that the document belongs to"
    given = (folder.recipe.get("output") or {}).get("columns") or []
    extra = [c for c in given if c not in known and not c.startswith(FACT)]
    rows = [[code(k), v] for k, v in known.items()]
    for name, field in Output(columns=tuple(given)).facts(folder.run.stages).items() if extra != given else ():
        rows.append([code(name), f"{inline(field.name)} as the run knows it, null where no stage judged"])
    rows += [[code(c), _source_of(folder, c)] for c in extra]
    return table(["column", "what it is"], rows)


def _source_of(folder: RunFolder, column: str) -> str:
    """Say what an input column holds, and where its types differ so that each value is JSON text."""
    schemas = [(name, folder.run.types(name)) for name in folder.datasets]
    mixed = [name for name, s in schemas if s is not None and column in s.names and is_json(s.field(column))]
    return f"from the source; JSON text of each value for {', '.join(mixed)}" if mixed else "from the source"
