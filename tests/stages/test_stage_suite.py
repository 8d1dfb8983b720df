"""`StageSuite` passes the stage that README shows, and finds each fault that it is there to find."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from stages.base import Decisions, ShardStage, array, param
from stages.testing import StageSuite

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Size(ShardStage):
    """Reads text / Writes its characters / Drops short ones."""

    least: int = param(5, "fewest characters", ge=0)
    most: int = param(1000, "characters that are counted", fact=True, ge=1)

    use: ClassVar[str] = "size"
    summary: ClassVar[str] = "drop short documents"
    schema: ClassVar[pa.Schema] = pa.schema([("size", pa.float64())])

    def annotate(self, documents: pa.Table) -> pa.Table:
        size = pc.min_element_wise(pc.utf8_length(documents["text"]), self.most)
        return pa.table([size.cast(pa.float64())], schema=self.schema)

    def decide(self, facts: pa.Table) -> Decisions:
        return Decisions.below(array(facts, "size"), self.least, "short")


class TestSize(StageSuite):
    stage = Size()


@pytest.fixture(scope="module")
def readme() -> types.ModuleType:
    """The README's stage, as a module."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    module = types.ModuleType("readme_stage_suite")
    sys.modules[module.__name__] = module
    exec(next(block for block in blocks if "class Shouting" in block), module.__dict__)
    return module


class TestShouting(StageSuite):
    @pytest.fixture(autouse=True)
    def shouting(self, readme: types.ModuleType) -> None:
        self.stage = readme.Shouting(min_calm=0.7)


@dataclass(frozen=True, kw_only=True)
class Undeclared(Size):
    """A parameter without param."""

    extra: int = 3


@dataclass(frozen=True, kw_only=True)
class Unmarked(Size):
    """Facts depend on a parameter that is not marked."""

    share: float = param(1.0, "multiplies the size", ge=0)

    def annotate(self, documents: pa.Table) -> pa.Table:
        facts = super().annotate(documents)
        return pa.table([pc.multiply(facts["size"], self.share)], schema=self.schema)


@dataclass(frozen=True, kw_only=True)
class BatchMean(Size):
    """Facts depend on the rest of the batch."""

    def annotate(self, documents: pa.Table) -> pa.Table:
        size = array(super().annotate(documents), "size")
        return pa.table([size - (size.mean() if len(size) else 0)], schema=self.schema)


@dataclass(frozen=True, kw_only=True)
class Ranked(Size):
    """A decision depends on other documents."""

    def decide(self, facts: pa.Table) -> Decisions:
        size = array(facts, "size")
        return Decisions.below(size, float(np.median(size)) if len(size) else 0.0, "short")


@dataclass(frozen=True, kw_only=True)
class Counter(Size):
    """Facts depend on what was annotated before."""

    def annotate(self, documents: pa.Table) -> pa.Table:
        CALLS.append(documents.num_rows)
        return pa.table([np.full(documents.num_rows, float(len(CALLS)))], schema=self.schema)


@dataclass(frozen=True, kw_only=True)
class Narrow(Size):
    """Facts of another type than declared."""

    def annotate(self, documents: pa.Table) -> pa.Table:
        return super().annotate(documents).cast(pa.schema([("size", pa.float32())]))


@dataclass(frozen=True, kw_only=True)
class FirstChunk(Size):
    """Reads only the first chunk of a column."""

    def annotate(self, documents: pa.Table) -> pa.Table:
        size = np.zeros(documents.num_rows)
        first = pc.utf8_length(documents["text"].chunk(0)).to_numpy() if documents.num_rows else np.zeros(0)
        size[: len(first)] = first
        return pa.table([size], schema=self.schema)


@dataclass(frozen=True, kw_only=True)
class NotEmpty(Size):
    """Fails on a batch without documents."""

    def annotate(self, documents: pa.Table) -> pa.Table:
        assert documents["text"][0].is_valid
        return super().annotate(documents)


@dataclass(frozen=True, kw_only=True)
class AsciiOnly(Size):
    """Fails on text that is not ASCII."""

    def annotate(self, documents: pa.Table) -> pa.Table:
        size = [float(len(text.encode("ascii"))) for text in documents["text"].to_pylist()]
        return pa.table([pa.array(size, pa.float64())], schema=self.schema)


@dataclass(frozen=True, kw_only=True)
class Nameless(Size):
    """A reason that is not named."""

    def decide(self, facts: pa.Table) -> Decisions:
        found = super().decide(facts)
        return Decisions(found.reason, (), found.value, found.threshold)


@dataclass(frozen=True, kw_only=True)
class Stateful(Size):
    """Holds what cannot travel."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "model", lambda text: text)


@dataclass(kw_only=True, frozen=True)
class Unused(Size):
    """A name that recipes cannot write."""

    use: ClassVar[str] = "Un used"


class Undecorated(Size):
    """No dataclass of its own."""


CALLS: list[int] = []
FAULTS: dict[type[Size], tuple[str, Any]] = {
    Undeclared: ("test_every_parameter_is_declared_with_param_and_a_type", AssertionError),
    Unmarked: ("test_facts_depend_on_no_parameter_that_is_not_marked", AssertionError),
    BatchMean: ("test_facts_do_not_depend_on_how_documents_are_cut_into_batches", AssertionError),
    Ranked: ("test_a_document_is_decided_alone", AssertionError),
    Counter: ("test_the_same_documents_give_the_same_facts", AssertionError),
    Narrow: ("test_facts_have_the_declared_schema_and_a_row_per_document", AssertionError),
    FirstChunk: ("test_facts_do_not_depend_on_the_chunks_of_a_column", AssertionError),
    NotEmpty: ("test_an_empty_batch_has_facts_without_rows", IndexError),
    AsciiOnly: ("test_facts_have_the_declared_schema_and_a_row_per_document", UnicodeEncodeError),
    Nameless: ("test_decisions_have_a_row_per_fact_and_name_their_reasons", AssertionError),
    Stateful: ("test_a_pickled_copy_is_equal_and_gives_the_same", (AttributeError, pickle.PicklingError)),
    Unused: ("test_it_has_a_name_a_summary_and_a_docstring", AssertionError),
    Undecorated: ("test_it_is_a_frozen_dataclass_with_keywords_only", AssertionError),
}


def suite_of(stage: ShardStage) -> Any:
    suite = StageSuite()
    suite.stage = stage
    return suite


@pytest.mark.parametrize("cls", FAULTS, ids=lambda cls: cls.__name__)
def test_a_fault_is_found(cls: type[Size]) -> None:
    check, error = FAULTS[cls]
    getattr(suite_of(Size()), check)()
    with pytest.raises(error):
        getattr(suite_of(cls()), check)()


def test_the_module_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; from stages.testing import StageSuite"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_the_readmes_test_finds_the_suite_and_passes(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for name, word in (("shouting", "class Shouting"), ("test_shouting", "class TestShouting")):
        (tmp_path / f"{name}.py").write_text(next(block for block in blocks if word in block))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^(\d{2}) passed", done.stdout, re.MULTILINE), done.stdout
