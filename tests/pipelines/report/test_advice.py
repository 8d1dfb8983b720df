"""What to change next: real figures, the key that changes them, and silence where nothing is to be said."""

from __future__ import annotations

from typing import Any

from pipelines.report.advice import MOST, advice
from tests.support.small_reports import minimal_report


def quiet() -> Any:
    """Return a report of which there is nothing to say."""
    report = minimal_report("a")
    report |= {"stale": [], "languages": [], "quarantine": {"problems": 0, "first": []}}
    return report


def mix(report: Any, **values: Any) -> Any:
    report["mix"]["datasets"]["a"] |= values
    return report


def test_a_run_without_faults_gets_no_advice() -> None:
    assert advice(quiet()) == []


def test_a_dataset_that_its_epochs_cap_is_told_the_number_it_needs() -> None:
    [sentence] = advice(
        mix(quiet(), tokens=400, target_tokens=1000, epochs=1.0, available={"documents": 9, "tokens": 400})
    )
    assert sentence.startswith("mix.max_epochs.a: 2.5 instead of 1 would give the 1,000 tokens")
    assert "60% are missing" in sentence


def test_an_overshoot_is_told_as_one() -> None:
    [sentence] = advice(mix(quiet(), tokens=1120, target_tokens=1000, epochs=0.5))
    assert sentence.startswith("a gives 12% more than its target")


def test_a_language_that_is_common_and_dropped_is_named_with_its_share() -> None:
    report = quiet()
    counts = (("en", 900, 10), ("fr", 0, 60), ("(not recorded)", 0, 30), ("7 others", 0, 90))
    rows = [
        {"language": n, "kept": {"documents": k, "tokens": 0}, "dropped": {"documents": d, "tokens": 70 * d}}
        for n, k, d in counts
    ]
    judged = {"documents": 1000, "tokens": 1}
    report["languages"] = [{"stage": "lid", "wanted": ["en"], "judged": judged, "rows": rows, "scores": None}]
    assert advice(report) == ["lid.languages: fr is 6.0% of the documents (60, 4,200 tokens); add it if it is wanted."]


def test_another_threshold_is_told_with_what_it_keeps() -> None:
    report = quiet()
    thresholds = [{"threshold": t, "documents": n, "share": n / 1000} for t, n in ((0.3, 900), (0.4, 730), (0.5, 700))]
    report["scores"] = [{"stage": "hq", "min_score": 0.5, "thresholds": thresholds}]
    assert advice(report) == ["hq.min_score: 0.4 instead of 0.5 keeps 30 documents more (3.0% of those judged)."]


def test_low_recall_names_the_key_and_the_number_left_over() -> None:
    report = quiet()
    report["accuracy"]["stages"]["a"]["recall"] = {"estimate": 0.8, "low": 0.7, "high": 0.9, "left_over": 1234.0}
    [sentence] = advice(report)
    assert sentence.startswith("a.min_recall: 80.0% of the duplicates were found, 1,234 are left over")


def test_a_deduplication_that_was_not_audited_asks_for_it() -> None:
    report = quiet()
    report |= {"accuracy": None, "dedup": [{"stage": "near"}]}
    assert advice(report)[0].startswith("winnow audit RUN")


def test_there_is_never_more_than_anybody_reads() -> None:
    report = quiet()
    report["funnel"] = {f"d{n}": {**report["total"], "kept": {"documents": 0, "tokens": 0}} for n in range(30)}
    assert len(advice(report)) == MOST
