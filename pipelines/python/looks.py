"""Questions to a run folder whose answers a notebook shows: plain values with `_repr_html_`."""

from __future__ import annotations

from typing import Any, cast

from pipelines.audit import audit as audits
from pipelines.audit import tree as audit_tree
from pipelines.audit.view import render_audit
from pipelines.diff import diff as diffs
from pipelines.diff import tree as diff_tree
from pipelines.diff.view import render as render_diff
from pipelines.explain import explain as explaining
from pipelines.explain.tree import Explanation
from pipelines.explain.view import render_explanation
from pipelines.python.shown import Shown


def explain(
    run_dir: str,
    *,
    doc_id: int | None = None,
    id: str | None = None,
    url: str | None = None,
    text: str | None = None,
    trust: bool = False,
    show_original: bool = False,
) -> Explanation:
    """Explain every document that matches; exactly one of the keys is given. More than 20 are listed by doc_id only.

    Parameters
    ----------
    doc_id : the document's handle inside the run.
    id : the user's own id.
    url : as the input states it; else those that differ in scheme, case, fragment or final slash only.
    text : the whole text; white space at its ends may be missing or added. Else its near duplicates.
    trust : see `open_run`.
    show_original : show texts as the input has them, not as they are written.

    Raises
    ------
    RecipeError
        Not exactly one key, nothing matches, it is no run folder, or one that names code that is not trusted.
    """
    found = explaining.explain(
        run_dir, doc_id=doc_id, id=id, url=url, text=text, trust=trust, show_original=show_original
    )
    return cast(Explanation, Shown(cast("dict[str, Any]", found), render_explanation))


def audit(run_dir: str, **more: Any) -> audit_tree.Audit:
    """Return precision and recall of every dedup stage of a run.

    Parameters
    ----------
    more : pairs, threshold, seed and trust, as `pipelines.audit.audit.audit` takes them.

    Raises
    ------
    RecipeError
        No run folder, or one without the stage that is asked for.
    """
    return cast(audit_tree.Audit, Shown(cast("dict[str, Any]", audits.audit(run_dir, **more)), render_audit))


def diff(old: str, new: str, *, out: str | None = None, trust: bool = False) -> diff_tree.Diff:
    """Return what changed from run folder `old` to run folder `new`.

    Parameters
    ----------
    out : Parquet file to write, one row for each document that entered or left; `stage` and `reason` are those of the
        run that does not keep it, null where that run has no such document.
    trust : see `open_run`.

    Raises
    ------
    RecipeError
        One of them is no run folder.
    """
    found = diffs.diff(old, new, out=out, trust=trust)
    return cast(diff_tree.Diff, Shown(cast("dict[str, Any]", found), render_diff))
