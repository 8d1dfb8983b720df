"""The card of a trained classifier as Markdown: what it was made from, how, and how good it is."""

from __future__ import annotations

from typing import Any


def markdown(card: dict[str, Any]) -> str:
    """Return the card for people; `card` is what `.card.json` holds."""
    lines = [
        f"# {card['model']}",
        "",
        "A fastText classifier trained by winnow. Its score is the probability of the label "
        f"`{card['positive_label']}`. sha256 `{card['digest']}`.",
        "",
        *_data(card),
        "",
        *_table("Parameters", ("parameter", "value"), sorted(card["parameters"].items())),
        "",
        *_results(card["model"], card["held_out"]),
    ]
    return "\n".join(lines) + "\n"


def _data(card: dict[str, Any]) -> list[str]:
    counts = card["counts"]
    rows = [
        (label, counts["texts"][label], counts["trained"][label], counts["held_out"][label]) for label in card["data"]
    ]
    lines = _table("Data", ("label", "texts", "trained on", "held out"), rows)
    lines += [
        "",
        f"{counts['copies']} copies were used once; {counts['conflicting']} texts under both labels were",
    ]
    lines += ["left out. Held out by content hash, so copies of a text are never on both sides.", ""]
    lines += [
        f"- {label}: `{path}` {digest}" for label, files in card["data"].items() for path, digest in files.items()
    ]
    return lines


def _results(name: str, found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["Nothing was held out, so nothing was measured."]
    rows = [
        tuple(_number(row[name]) for name in ("threshold", "kept", "precision", "recall", "f1"))
        for row in found["thresholds"]
    ]
    return [
        f"On {found['positives']} positive and {found['negatives']} negative held-out texts: AUC "
        f"{_number(found['auc'])}, calibration error {_number(found['calibration_error'])}. The curves are in "
        f"[{name}.svg]({name}.svg).",
        "",
        *_table("Thresholds", ("threshold", "kept", "precision", "recall", "F1"), rows),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _table(title: str, head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    lines = [f"## {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
