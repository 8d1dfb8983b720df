"""Show an explanation in the terminal.

Guarantees: texts, ids and URLs are shown through `visible` as plain text: no control character and no markup
of theirs reaches the terminal.
"""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipelines.explain import tree
from pipelines.shown_text import DifferenceTree, visible

STYLES = {"dropped": "red", "passed": "green"}
NOT_EXACT = {
    "alike": "No document has exactly this URL; these differ in scheme, case, fragment or final slash only.",
    "near": "No document has exactly this text; these are its near duplicates, the most similar first.",
}


def render_explanation(explanation: tree.Explanation) -> Group:
    """Return an explanation as something that rich can print."""
    parts: list[RenderableType] = [render_document(document) for document in explanation["documents"]]
    if explanation["match"] != "exact":
        parts.insert(0, Text(NOT_EXACT[explanation["match"]], style="yellow"))
    if explanation["found"] > 1:
        parts.insert(0, Text(f"{explanation['found']:,} documents match."))
    if explanation["more"]:
        parts.append(Text("Not shown: doc_id " + ", ".join(map(str, explanation["more"]))))
    return Group(*parts)


def render_document(document: tree.ExplainedDocument) -> Panel:
    """Return the explanation of one document as something that rich can print."""
    parts: list[RenderableType] = [
        Text(document["verdict"], style="bold green" if document["kept"] else "bold red"),
        _names(document),
        _decisions(document),
        _facts(document),
        *_lineage(document),
        *_made_from(document),
    ]
    comparison, resemblance = document["comparison"], document["resemblance"]
    if resemblance:
        parts.append(Text(f"\nestimated similarity to the given text: {resemblance['similarity']:.3f}"))
        if resemblance["difference"]:
            parts += _difference(resemblance["difference"], "the given text", "this document")
    if comparison and comparison["difference"]:
        parts += _difference(comparison["difference"], "this document", "what it lost to")
    elif document["text"] is not None:
        parts += [_heading("text"), Text(visible(document["text"]))]
    return Panel(Group(*parts), title=f"doc_id {document['doc_id']}", title_align="left")


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _plain(value: object) -> Text:
    if value is None:
        return Text("-", style="dim")
    return Text(f"{value:.6g}" if isinstance(value, float) else visible(str(value)))


def _made_from(document: tree.ExplainedDocument) -> list[RenderableType]:
    """Return what a synthetic document was made from, and by whom."""
    source = document["made_from"]
    if source is None:
        return []
    table = Table.grid(padding=(0, 2))
    for name in ("doc_id", "dataset", "id", "url", "path", "row"):
        table.add_row(Text(f"source {name}", style="dim"), _plain(source[f"source_{name}"]))
    for name in ("chunk", "prompt", "model"):
        table.add_row(Text(name, style="dim"), _plain(source[name]))
    for round_, critique in enumerate(source["critiques"] or (), start=1):
        table.add_row(Text(f"critique {round_}", style="dim"), _plain(critique))
    return [_heading("made from"), table, Text(visible(source["chunk_text"]))]


def _names(document: tree.ExplainedDocument) -> Table:
    table = Table.grid(padding=(0, 2))
    for name in ("dataset", "id", "url", "path", "row", "tokens"):
        table.add_row(Text(name, style="dim"), _plain(document[name]))
    return table


def _decisions(document: tree.ExplainedDocument) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title="\ndecisions", title_justify="left", title_style="bold")
    for title in ("stage", "verdict", "reason", "value", "threshold"):
        table.add_column(title, header_style="dim", justify="right" if title in ("value", "threshold") else "left")
    for step in document["decisions"]:
        verdict = Text(step["verdict"], style=STYLES.get(step["verdict"], "dim"))
        table.add_row(Text(step["stage"]), verdict, *(_plain(step[k]) for k in ("reason", "value", "threshold")))
    return table


def _facts(document: tree.ExplainedDocument) -> Table:
    table = Table.grid(padding=(0, 2))
    table.title, table.title_justify, table.title_style = "\nfacts", "left", "bold"
    for stage, facts in document["facts"].items():
        for name, value in facts.items():
            table.add_row(Text(stage, style="dim"), Text(name), _plain(value))
    if document["facts_missing"]:
        table.add_row(Text("not to be had: " + visible(document["facts_missing"]), style="dim"))
    return table


def _lineage(document: tree.ExplainedDocument) -> list[RenderableType]:
    """Return what it lost to, who lives in the end, and the group."""
    parts: list[RenderableType] = []
    if document["lost_to"]:
        parts.append(_heading("lost to"))
        for link in document["lost_to"]:
            near = "" if link["similarity"] is None else f" similarity {link['similarity']:.4g}"
            kind = f" ({link['similarity_kind']})" if link["similarity_kind"] else ""
            names = visible(" ".join(str(link[k]) for k in ("doc_id", "dataset", "id", "url") if link[k] is not None))
            parts.append(Text(f"{link['stage']}:{near}{kind} {names}; {link['verdict']}"))
    survivor, group = document["survivor"], document["group"]
    if survivor and not document["kept"]:
        names = " ".join(str(survivor[k]) for k in ("doc_id", "dataset", "id", "url") if survivor[k] is not None)
        parts += [_heading("who lives"), Text(visible(names))]
    elif not document["kept"] and document["lost_to"]:
        parts += [_heading("who lives"), Text("nobody: what it lost to was dropped later")]
    if group and group["size"] and group["size"] > 1:
        members = ", ".join(f"{name} {count:,}" for name, count in group["datasets"].items())
        parts += [_heading(f"group of {group['size']:,}"), Text(visible(members))]
        parts.append(_members(group))
    return parts


def _members(group: tree.Group) -> Table:
    table = Table.grid(padding=(0, 2))
    for member in group["members"]:
        table.add_row(*(_plain(member[k]) for k in ("doc_id", "dataset", "id", "stage", "similarity")))
    return table


def _difference(difference: DifferenceTree, left: str, right: str) -> list[RenderableType]:
    """Return the two texts side by side under these titles, what differs marked."""
    table = Table(expand=True, padding=(0, 1))
    table.add_column(left, ratio=1, overflow="fold")
    table.add_column(right, ratio=1, overflow="fold")
    table.add_row(*(_spans(difference[side]) for side in ("left", "right")))
    words = f"{difference['same_words']:,} of {difference['left_words']:,} and {difference['right_words']:,} words"
    spacing = f", {difference['spacing']:,} with other white space" if difference["spacing"] else ""
    return [_heading(f"difference ({words} in common{spacing})"), table]


def _spans(spans: list[list[str]]) -> Text:
    text = Text()
    for kind, words in spans:
        if kind == "gap":
            text.append(f"\n[… {words} …]\n", style="dim")
        else:
            text.append(visible(words), style="black on yellow" if kind == "other" else "")
    return text
