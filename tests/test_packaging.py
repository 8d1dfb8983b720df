"""What is promised about the package itself: names, imports, version, and what the README tells readers to type."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from setuptools import find_packages

from cluster.version import VERSION
from pipelines.cli import main
from pipelines.cli.old_names import understood
from pipelines.recipe.mix_section import MixSection
from pipelines.recipe.recipe import Sections, builtin_names, load_data, load_recipe
from pipelines.recipe.sections import ClusterSection, DatasetSection, OutputSection
from pipelines.run import runner
from pipelines.runfolder import open_run
from stages.core.digests import DATA_FORMAT
from stages.core.manifest import MANIFEST_SCHEMA
from stages.outcome import ledger
from stages.registry import STAGES, stage_class

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTION = "winnow-mix"
TOP = ("winnow", "pipelines", "stages", "classifiers", "cluster")
MIX_COLUMNS = ("text", "id", "doc_id", "source", "url", "language", "language_score", "quality_score", "num_tokens")
HEAVY = ("numba", "dask", "distributed", "pandas", "torch", "scipy", "fasttext", "ray", "jinja2", "pyarrow.dataset")
# Import names whose distribution is called otherwise, or comes with another one.
DISTRIBUTIONS = {
    "kenlm": "ufal-kenlm",
    "cudf": "cudf-cu13",
    "cuml": "cuml-cu13",
    "cupy": "cudf-cu13",
    "distributed": "dask",
    "fasttext": "fasttext-community",
    "llvmlite": "numba",
    "markupsafe": "jinja2",
    "pylibcudf": "cudf-cu13",
    "pylibcugraph": "pylibcugraph-cu13",
    "rmm": "cudf-cu13",
    "sklearn": "scikit-learn",
    "stdnum": "python-stdnum",
    "yaml": "pyyaml",
}
# Where this code was written is nobody's business; the words are split so that this file does not hold them.
PLACES = ("/wor" + "k/", "pypi" + ".org", "pythonhosted" + ".org")


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@cache
def tracked() -> tuple[Path, ...]:
    """Files under version control; without git, every file of the code."""
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return tuple(p for top in (*TOP, "tests") for p in (ROOT / top).rglob("*.py"))
    return tuple(ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file())


@cache
def command_line() -> Any:
    return main.command_line()


def test_the_version_is_the_same_everywhere() -> None:
    assert project()["project"]["version"] == VERSION
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {VERSION}" in changelog
    newest = changelog.split("## ")[1]
    assert f"data format {DATA_FORMAT}" in newest


def test_every_folder_with_code_is_packaged() -> None:
    found = {p.parent.relative_to(ROOT).as_posix().replace("/", ".") for t in TOP for p in (ROOT / t).rglob("*.py")}
    include = project()["tool"]["setuptools"]["packages"]["find"]["include"]
    assert found == set(find_packages(str(ROOT), include=include))


def test_every_data_file_is_packaged() -> None:
    patterns = project()["tool"]["setuptools"]["package-data"]
    packaged = {p for package, globs in patterns.items() for g in globs for p in (ROOT / package).glob(g)}
    data = {p for p in tracked() if p.relative_to(ROOT).parts[0] in TOP and p.suffix != ".py"}
    assert data <= packaged


def imported() -> set[str]:
    """Top-level names that the code imports, at the top of a module or later."""
    found: set[str] = set()
    for path in (p for top in TOP for p in (ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).split(".")[0])
    return found - set(sys.stdlib_module_names) - set(TOP) - {"__future__"}


def test_what_the_code_imports_is_declared() -> None:
    extras = project()["project"]["optional-dependencies"].values()
    requirements = [*project()["project"]["dependencies"], *(r for extra in extras for r in extra)]
    declared = {re.split(r"[\[<>=~!; ]", r)[0].lower() for r in requirements}
    for name in sorted(imported()):
        known = DISTRIBUTIONS.get(name, name.replace("_", "-"))
        assert known in declared, f"{name} is imported, but {known} is not in pyproject.toml"


def test_no_other_distribution_provides_our_top_level_packages() -> None:
    owners = importlib.metadata.packages_distributions()
    for name in TOP:
        assert set(owners.get(name, [DISTRIBUTION])) == {DISTRIBUTION}, f"{name} is also in {owners[name]}"


def test_our_packages_are_the_ones_that_are_imported() -> None:
    for name in TOP:
        module = importlib.import_module(name)
        assert module.__file__ is not None
        assert Path(module.__file__).parent == ROOT / name


def test_no_module_shadows_one_of_the_standard_library_or_of_a_dependency() -> None:
    taken = {"dask", "distributed", "ray", "numpy", "pandas", "pyarrow", "numba", "fasttext", "cudf", "torch"}
    assert not (set(TOP) & (set(sys.stdlib_module_names) | taken))
    assert not [p for top in TOP for p in (ROOT / top).rglob("*.py") if p.stem in taken]


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_stage_has_one_name(name: str) -> None:
    cls = stage_class(name)
    assert cls.__module__ == f"stages.{name}"
    assert cls.use == name
    assert cls.summary
    assert not cls.hidden


@pytest.mark.parametrize("name", builtin_names())
def test_recipes_that_come_along_are_valid(name: str) -> None:
    assert load_recipe(name).stages


def test_no_tracked_file_names_the_place_where_it_was_written() -> None:
    for path in tracked():
        data = path.read_bytes().decode(errors="replace")
        assert not [word for word in PLACES if word in data], path


def test_asking_for_help_imports_nothing_heavy() -> None:
    code = f"import sys; from pipelines.cli.main import main; main(['--help']); {_report_heavy()}"
    assert _run(code) == "[]"


def _report_heavy() -> str:
    return f"print([m for m in {HEAVY!r} if m in sys.modules])"


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def readme_commands() -> list[str]:
    """Every call of winnow in the README: lines of code blocks, continuation lines joined, and inline code."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`(winnow [^`]+)`", text)
    shown = {line.strip() for line in lines if re.match(r"winnow\s", line.strip())}
    return sorted(line for line in shown if "shouting" not in line)  # the stage that readers add themselves


def test_the_readme_shows_commands() -> None:
    assert len(readme_commands()) >= 10


def problem_of(line: str) -> str:
    """What is wrong with a call of winnow: no such command, no such option; empty when nothing is."""
    command: Any = command_line()
    words = understood(shlex.split(line, comments=True)[1:])
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        command, name, words = command.get_command(None, words[0]), words[0], words[1:]
        if command is None:
            return "" if name == "NAME" else f"{line}: no command {name}"
    known = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
    return ", ".join(f"{line}: no option {w}" for w in words if re.match(r"--?[a-z]", w) and w not in known)


def test_commands_in_the_readme_exist_with_their_options() -> None:
    assert [problem for line in readme_commands() if (problem := problem_of(line))] == []


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in command_line().list_commands(None) if f"`winnow {name}`" not in text] == []


def test_every_stage_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in STAGES if f"`{name}`" not in text] == []


def test_the_readme_explains_every_column_of_the_ledger_and_the_mix() -> None:
    text = (ROOT / "README.md").read_text()
    table = text.split("| column | type | meaning |")[1].split("\n\n")[0]
    shown = [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert shown == ledger.SCHEMA.names
    assert [name for name in MIX_COLUMNS if name not in text.split("RUN/mix/manifest.json")[0]] == []


def test_the_data_format_is_described_column_by_column() -> None:
    text = (ROOT / "docs/data-format.md").read_text()
    assert text.startswith(f"# Data format {DATA_FORMAT}\n")
    assert [name for name in MANIFEST_SCHEMA.names if f"`{name}`" not in text] == []


def test_files_that_the_readme_names_exist() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (ROOT / target).exists(), f"the README links to {target}"


def readme_code(word: str) -> str:
    """The Python block of the README that holds `word`."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(next(block for block in blocks if word in block))


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The README's own stage and classifier, as modules that can be imported."""
    (tmp_path / "readme_stage.py").write_text(readme_code("class Shouting"))
    (tmp_path / "readme_model.py").write_text(readme_code("class Length"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("readme_stage", "readme_model"):
        sys.modules.pop(name, None)


def test_the_stage_and_the_classifier_of_the_readme_work(added: Path) -> None:
    texts = ["quiet and long enough to stay", "LOUD AND LONG ENOUGH TO STAY", "short"]
    (added / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    recipe = load_data(
        {
            "datasets": {"web": {"paths": str(added / "in.jsonl")}},
            "stages": [
                {"use": "readme_stage:Shouting", "min_calm": 0.5},
                {"use": "quality", "model": "python:readme_model:Length", "min_score": 10},
            ],
            "cluster": {"kind": "inline"},
        },
        "test",
    )
    runner.run(recipe, str(added / "run"))
    rows = [row for table in open_run(str(added / "run")).ledger() for row in table.to_pylist()]
    assert [(row["stage"], row["reason"]) for row in rows] == [
        (None, None),
        ("shouting", "shouting"),
        ("quality", "low_quality"),
    ]
    assert rows[1]["value"] < 0.5


def test_the_recipe_of_the_readme_is_valid() -> None:
    text = (ROOT / "README.md").read_text()
    block = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    parsed = load_data(yaml.safe_load(block[1]), "README.md")
    assert [stage.name for stage in parsed.stages][-1] == "hq"


def test_every_key_of_a_recipe_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    sections = (Sections, DatasetSection, MixSection, OutputSection, ClusterSection)
    keys = [key for section in sections for key in section.model_fields if key != "backend"]
    assert [key for key in keys if not re.search(rf"[`.]{key}\b", text)] == []


def test_the_supported_pythons_are_the_same_everywhere() -> None:
    found = [c.rpartition(" ")[2] for c in project()["project"]["classifiers"] if "Python :: 3." in c]
    first, last = found[0], found[-1]
    above = f"3.{int(last.partition('.')[2]) + 1}"
    assert project()["project"]["requires-python"] == f">={first},<{above}"
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == found
    low, high = (f"(3, {version.partition('.')[2]})" for version in (first, above))
    assert f"{low} <= v < {high}" in (ROOT / "Makefile").read_text()
    assert f"Python {first} to {last}" in (ROOT / "README.md").read_text()


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    listed = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith("Variables")]
    assert sorted(listed) == sorted(phony[1].split())


def test_commit_hooks_run_what_make_test_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    tools = {Path(hook["entry"].split()[0]).name for hook in hooks}
    assert tools == {"ruff", "mypy", "lint-imports"}
    assert [tool for tool in tools if f"$(BIN)/{tool}" not in (ROOT / "Makefile").read_text()] == []


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs/decisions"
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (folder / "README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in folder.glob("*.md") if path.name != "README.md")
