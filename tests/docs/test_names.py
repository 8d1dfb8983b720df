"""Every file and dotted name of the code that the documentation names exists: stale names send readers astray.

Read are README.md, CONTRIBUTING.md and docs/ (paths, links, dotted names), and the packages' sources (file names in
docstrings and comments). The changelog may name what is gone.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from pipelines.recipe.mix_section import MixSection
from pipelines.recipe.recipe import builtin_names
from pipelines.recipe.sections import ClusterSection, OutputSection
from stages.registry import STAGES

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("winnow", "pipelines", "stages", "classifiers", "cluster", "benchmarks", "tests")
API = ROOT / "docs/api.md"  # generated from the sources, see test_api.py
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted({*(ROOT / "docs").rglob("*.md")} - {API})]
SECTIONS = {"cluster": ClusterSection, "mix": MixSection, "output": OutputSection}
OF_READERS = {"shouting.py", "my_module.py"}  # files that a reader of the page would write
OF_READERS |= {
    f"{name}.py" for name in ("huggingface", "litdata", "megatron", "olmo_core", "torchtitan")
}  # mix/loaders/
OF_OTHERS = {"MinHash.generator"}  # of datasketch
DATA = (".json", ".yaml", ".sbatch", ".md")
PATH = re.compile(rf"(?<![\w/.~-])(?:{'|'.join(PACKAGES)}|docs|\.\./pipelines)/[\w./<>*-]*[\w*]/?")
FILE = re.compile(r"(?<![\w/<>*.-])\w+\.py\b")
DOTTED = re.compile(rf"(?<![\w/.-])(?:{'|'.join(PACKAGES)})(?:\.\w+)+(?!\w|/)")
MEMBER = re.compile(r"`([A-Z]\w*[a-z]\w*)\.(\w+)[`(]")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)")


@cache
def sources() -> dict[Path, str]:
    """Every Python file of the packages, tests and docs."""
    folders = (*PACKAGES, "docs")
    found = (p for folder in folders for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts)
    return {path: path.read_text(encoding="utf-8") for path in found}


@cache
def names_in(path: Path) -> frozenset[str]:
    """What a module defines or imports at its top, `Class.member` included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom | ast.Import):
            found.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found.update(ast.unparse(target) for target in targets)
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                name = getattr(inner, "name", None) or (inner.target if isinstance(inner, ast.AnnAssign) else None)
                if name is not None:
                    found.add(f"{node.name}.{name if isinstance(name, str) else ast.unparse(name)}")
    return frozenset(found)


def is_code(dotted: str) -> bool:
    """Tell whether a dotted name is a package, a module, or a name in one."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        place, rest = ROOT.joinpath(*parts[:count]), ".".join(parts[count:])
        for module in (place.with_suffix(".py"), place / "__init__.py"):
            if module.is_file():
                return not rest or rest in names_in(module) or rest == "py"
    return False


def is_key(dotted: str) -> bool:
    """Tell whether a dotted name is a key of a recipe, or of a stage in one."""
    first, second, *_ = [*dotted.split("."), ""]
    if first == "stages":
        text = "".join((ROOT / "pipelines/recipe/shipped" / f"{name}.yaml").read_text() for name in builtin_names())
        return second in STAGES or f"name: {second}" in text
    return first in SECTIONS and second in SECTIONS[first].model_fields


def is_quoted(dotted: str) -> bool:
    """Tell whether a name is a string of the sources: a logger, an entry point group, a metadata key."""
    return any(f'"{dotted}"' in text or f'b"{dotted}"' in text for text in sources().values())


def exists(path: str) -> bool:
    """Tell whether a path, with * for what varies, names something in the repository."""
    plain = path.removeprefix("../").rstrip("/")
    if "<" in plain or "NAME" in plain or not plain:
        return True
    return any(True for _ in ROOT.glob(plain)) or (ROOT / plain).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_nothing_that_is_gone(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lost = [path for path in PATH.findall(text) if not exists(path)]
    files = {path.name for path in sources()} | OF_READERS
    lost += [name for name in FILE.findall(text) if name not in files]
    for dotted in DOTTED.findall(text):
        if not (is_code(dotted) or is_key(dotted) or is_quoted(dotted) or dotted.endswith(DATA)):
            lost.append(dotted)
    lost += [f"{owner}.{name}" for owner, name in MEMBER.findall(text) if not _is_member(owner, name)]
    assert not lost, f"{page.name} names what does not exist: {', '.join(sorted(set(lost)))}"


def _is_member(owner: str, name: str) -> bool:
    if f"{owner}.{name}" in OF_OTHERS:
        return True
    owners = [path for path in sources() if owner in names_in(path)]
    return not owners or any(f"{owner}.{name}" in names_in(path) for path in owners)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    lost = []
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        place = (page.parent / target).resolve()
        if not place.exists() or (anchor and anchor not in anchors(place)):
            lost.append(f"{target}#{anchor}" if anchor else target)
    assert not lost, f"{page.name}: {', '.join(lost)}"


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown renderer gives the headings of a page."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_sources_name_no_file_that_is_gone() -> None:
    files = {path.name for path in sources()} | OF_READERS
    lost = []
    for path, text in sources().items():
        if path.is_relative_to(ROOT / "tests"):
            continue
        prose = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if _has_docstring(node)]
        prose += re.findall(r"#.*$", text, re.M)
        for piece in prose:
            lost += [f"{path.relative_to(ROOT)}: {name}" for name in FILE.findall(piece) if name not in files]
            lost += [f"{path.relative_to(ROOT)}: {name}" for name in PATH.findall(piece) if not exists(name)]
    assert not lost, "\n".join(lost)


def _has_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)


def test_the_check_finds_what_is_gone() -> None:
    assert PATH.findall("see `stages/lost.py` and stages/core/") == ["stages/lost.py", "stages/core/"]
    assert not exists("stages/lost.py")
    assert is_code("stages.core.run.StageRun")
    assert not is_code("stages.core.run.NoSuchName")
    assert is_key("cluster.backend")
    assert not is_key("cluster.no_such_key")
    assert _is_member("Manifest", "locate")
    assert not _is_member("Manifest", "no_such_method")
    assert {"recipe", "commands"} <= anchors(ROOT / "README.md")


def tree() -> list[str]:
    """The paths of README's tree: two spaces per level, names before two spaces or more."""
    block = re.search(r"^## The tree\n+```\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert block
    above: list[str] = []
    found = []
    for line in block[1].splitlines():
        name = line.strip().split("  ")[0]
        level = (len(line) - len(line.lstrip())) // 2
        above[level:] = [name.rstrip("/")]
        found += ["/".join([*above[:-1], part.rstrip("/")]) for part in re.sub(" ….*", "", name).split(", ")]
    return found


def test_the_tree_in_readme_is_the_present_one() -> None:
    assert not [path for path in tree() if not (ROOT / path).exists()]
    modules = [path.parent for path in sources() if path.name == "__init__.py"]
    rooms = {str(path.relative_to(ROOT)) for path in modules if path.parts[len(ROOT.parts)] in PACKAGES[:5]}
    assert not rooms - set(tree()), "rooms that README's tree leaves out"
