"""The tools that are compared: which environment, which driver, which settings, how much text they are given."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import Environments

DRIVERS = Path(__file__).parent / "peers"
THRESHOLD = 0.8
WIDTH = 25  # characters


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One row of a table. `cap` is the text a slow tool is measured on, in MB; 0 means all of it."""

    key: str
    label: str
    settings: str
    driver: str
    options: tuple[str, ...] = ()
    environment: str = ""  # a key of environments.PEERS; empty: the one that runs this
    cap: float = 0.0
    cores: int = 1

    def command(self, environments: Environments, task: str, *arguments: str) -> list[str]:
        """Return the command line of a task; raise Unavailable when the tool's environment cannot be had."""
        python = str(environments.python(self.environment)) if self.environment else sys.executable
        return [python, str(DRIVERS / self.driver), task, *self.options, *arguments]


class WinnowDedup(Tool):
    """The real command line, as a user calls it."""

    @staticmethod
    def program() -> list[str]:
        """Return what starts winnow: the command of this environment, or the package where it is not installed."""
        found = Path(sys.executable).with_name("winnow")
        return [str(found)] if found.exists() else [sys.executable, "-m", "pipelines"]

    def command(self, environments: Environments, task: str, *arguments: str) -> list[str]:
        given = dict(zip(arguments[::2], arguments[1::2], strict=True))
        options = ["--workers", str(self.cores), "--shingle-width", str(WIDTH), "--quiet"]
        return [*self.program(), "dedup", given["--input"], "--out", given["--output"], *options]


class WinnowRecipe(WinnowDedup):
    """The real command line on benchmarks/recipe.yaml; OUT is the run folder."""

    def command(self, environments: Environments, task: str, *arguments: str) -> list[str]:
        given = dict(zip(arguments[::2], arguments[1::2], strict=True))
        more = ["--set", f"datasets.text.paths={given['--input']}", "--workers", str(self.cores), "--quiet"]
        return [
            *self.program(),
            "run",
            str(DRIVERS.parent / "recipe.yaml"),
            "--run-dir",
            given["--output"],
            *more,
            *self.options,
        ]


def _shingles(kind: str, width: int, *more: str) -> tuple[str, ...]:
    return ("--shingles", kind, "--width", str(width), *more)


CHARACTERS, WORDS5, WORDS = _shingles("characters", WIDTH), _shingles("words", 5), _shingles("words", 1)
RHO = _shingles("words", 1, "--variant", "rho")

# 128 permutations everywhere.
SIGNATURES = (
    Tool(key="winnow", label="winnow", settings="characters 25", driver="run_winnow.py", options=CHARACTERS),
    Tool(key="winnow-words5", label="winnow", settings="words 5", driver="run_winnow.py", options=WORDS5),
    Tool(
        key="datatrove",
        label="datatrove",
        settings="words 5, normalised",
        driver="run_datatrove.py",
        environment="datatrove",
        cap=1.5,
    ),
    Tool(
        key="text-dedup",
        label="text-dedup",
        settings="words 5, normalised",
        driver="run_text_dedup.py",
        options=WORDS5,
        environment="text-dedup",
        cap=6,
    ),
    Tool(
        key="datasketch",
        label="datasketch",
        settings="characters 25",
        driver="run_datasketch.py",
        options=CHARACTERS,
        environment="datasketch",
        cap=3,
    ),
    Tool(
        key="datasketch-words5",
        label="datasketch",
        settings="words 5",
        driver="run_datasketch.py",
        options=WORDS5,
        environment="datasketch",
        cap=8,
    ),
    Tool(
        key="rensa",
        label="rensa",
        settings="characters 25",
        driver="run_rensa.py",
        options=CHARACTERS,
        environment="rensa",
        cap=10,
    ),
    Tool(
        key="rensa-words5",
        label="rensa",
        settings="words 5",
        driver="run_rensa.py",
        options=WORDS5,
        environment="rensa",
    ),
    Tool(
        key="rensa-words",
        label="rensa",
        settings="single words",
        driver="run_rensa.py",
        options=WORDS,
        environment="rensa",
    ),
    Tool(
        key="rensa-rho",
        label="rensa rho",
        settings="single words, sampled",
        driver="run_rensa.py",
        options=RHO,
        environment="rensa",
    ),
    Tool(
        key="daft",
        label="Daft",
        settings="words 5",
        driver="run_daft.py",
        options=WORDS5,
        environment="daft",
    ),
)

DEDUP = (
    Tool(key="bare", label="read and write only", settings="pyarrow, nothing removed", driver="run_bare.py"),
    WinnowDedup(key="winnow", label="winnow dedup", settings="characters 25, oph, verified exactly", driver=""),
    WinnowDedup(
        key="winnow-2",
        label="winnow dedup, 2 cores",
        settings="characters 25, oph, verified exactly",
        driver="",
        cores=2,
    ),
    Tool(
        key="rensa-words",
        label="rensa",
        settings="single words",
        driver="run_rensa.py",
        options=WORDS,
        environment="rensa",
    ),
    Tool(
        key="rensa-rho",
        label="rensa rho",
        settings="single words, sampled; drops whole groups",
        driver="run_rensa.py",
        options=RHO,
        environment="rensa",
    ),
    Tool(
        key="rensa-words5",
        label="rensa",
        settings="words 5",
        driver="run_rensa.py",
        options=WORDS5,
        environment="rensa",
    ),
    Tool(
        key="rensa",
        label="rensa",
        settings="characters 25",
        driver="run_rensa.py",
        options=CHARACTERS,
        environment="rensa",
        cap=40,
    ),
    Tool(
        key="datasketch-words5",
        label="datasketch",
        settings="words 5, 9 x 13",
        driver="run_datasketch.py",
        options=WORDS5,
        environment="datasketch",
        cap=40,
    ),
    Tool(
        key="datasketch",
        label="datasketch",
        settings="characters 25, 9 x 13",
        driver="run_datasketch.py",
        options=CHARACTERS,
        environment="datasketch",
        cap=16,
    ),
    Tool(
        key="text-dedup",
        label="text-dedup",
        settings="words 5, 9 x 13; writes Arrow",
        driver="run_text_dedup.py",
        options=WORDS5,
        environment="text-dedup",
        cap=32,
    ),
    Tool(
        key="text-dedup-verified",
        label="text-dedup",
        settings="words 5, 9 x 13, verified; writes Arrow",
        driver="run_text_dedup.py",
        options=(*WORDS5, "--variant", "verified"),
        environment="text-dedup",
        cap=16,
    ),
    Tool(
        key="datatrove",
        label="datatrove",
        settings="words 5, 14 x 8",
        driver="run_datatrove.py",
        environment="datatrove",
        cap=8,
    ),
)

FILTERS = (
    Tool(key="winnow", label="winnow", settings="Gopher, FineWeb; every fact", driver="run_winnow.py"),
    Tool(
        key="datatrove",
        label="datatrove",
        settings="Gopher, FineWeb; to the first broken rule",
        driver="run_datatrove.py",
        environment="datatrove",
        cap=2,
    ),
)

LANGUAGE = (
    Tool(key="winnow", label="winnow", settings="lid.176.ftz", driver="run_winnow.py"),
    Tool(
        key="fasttext",
        label="fasttext",
        settings="lid.176.ftz, one call per text",
        driver="run_fasttext.py",
        environment="fasttext",
    ),
)

QUALITY = (
    Tool(key="winnow", label="winnow", settings="two labels, word pairs", driver="run_winnow.py"),
    Tool(
        key="fasttext",
        label="fasttext",
        settings="two labels, word pairs, one call per text",
        driver="run_fasttext.py",
        environment="fasttext",
    ),
)

RECIPE = (
    Tool(key="bare", label="read and write only", settings="pyarrow, nothing removed", driver="run_bare.py"),
    WinnowRecipe(key="winnow", label="winnow run", settings="no cluster", driver="", options=("--cluster", "inline")),
    WinnowRecipe(
        key="winnow-local", label="winnow run", settings="one Dask worker", driver="", options=("--cluster", "local")
    ),
    WinnowRecipe(
        key="winnow-2",
        label="winnow run, 2 cores",
        settings="two Dask workers",
        driver="",
        options=("--cluster", "local"),
        cores=2,
    ),
    Tool(
        key="datatrove",
        label="datatrove",
        settings="the same steps; stops at the first broken rule",
        driver="run_datatrove.py",
        environment="datatrove",
        cap=2,
    ),
)

STAGES = tuple(
    Tool(key=name, label=name, settings=settings, driver="run_winnow.py", options=("--variant", name))
    for name, settings in (
        ("language_id", "lid.176.ftz"),
        ("heuristics", "Gopher, FineWeb; every fact"),
        ("line_rules", "C4"),
        ("pii", "what the default looks for"),
        ("repair", "all repairs"),
        ("minhash", "characters 24"),
    )
)


def chosen(tools: tuple[Tool, ...], only: list[str]) -> list[Tool]:
    """Return the tools whose environment or key is in `only`; winnow and bare always, all when it is empty."""
    always = {"", "bare"}
    return [tool for tool in tools if not only or {tool.environment, tool.key} & {*only, *always}]
