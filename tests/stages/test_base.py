"""The front door for authors: what was there stays there for one version."""

from __future__ import annotations

import pytest

from stages import base
from stages.line_dedup import LineDedup
from stages.minhash import MinHash
from stages.pii import Pii


def test_stages_tell_whether_they_rewrite() -> None:
    assert [kind.rewrites() for kind in (Pii, LineDedup, MinHash)] == [True, True, False]


def test_the_function_rewrites_still_answers_and_says_what_to_call() -> None:
    with pytest.warns(DeprecationWarning, match=r"stage\.rewrites\(\)"):
        assert base.rewrites(Pii)
