"""Write docs/api.md, the reference of the public names, from their docstrings: `python docs/make_api.py`.

Sources are parsed, not imported, so the page is the same under every Python. A name that several of the modules offer
is described once, under the first; tests/docs/test_api.py tells when the page is stale or a name is missing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"
MODULES = ("winnow", "stages.base", "stages.testing", "classifiers.base", "pipelines.runfolder")
SECTIONS = ("Parameters", "Returns", "Raises", "Examples", "Yields")
HEAD = """# API reference

Every public name, from its docstring; `make api` writes this page anew. What stands under a module is imported from it.
"""

Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Found:
    """Where a name is defined: the module, its source lines, and the node."""

    module: str
    node: Definition


@cache
def _path(module: str) -> Path:
    plain = ROOT / (module.replace(".", "/") + ".py")
    return plain if plain.exists() else ROOT / module.replace(".", "/") / "__init__.py"


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text(encoding="utf-8"))


@cache
def _lines(module: str) -> list[str]:
    return _path(module).read_text(encoding="utf-8").splitlines()


def public(module: str) -> list[str]:
    """Return the names of a module's `__all__`, dunders left out."""
    for node in _tree(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.startswith("__")]
    raise SystemExit(f"{module} has no __all__")


def find(module: str, name: str) -> Found:
    """Return the definition of a name, imports followed to where it is made."""
    for node in ast.walk(_tree(module)):
        if (
            isinstance(node, ast.FunctionDef | ast.ClassDef)
            and node.name == name
            and node in _tree(module).body
            and "overload" not in map(ast.unparse, node.decorator_list)
        ):
            return Found(module, node)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return Found(module, node)
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find(node.module, alias.name)
    raise SystemExit(f"{module} does not define {name}")


def page() -> str:
    """Return the text of docs/api.md."""
    described: dict[tuple[str, int], str] = {}
    parts = [HEAD]
    for module in MODULES:
        parts.append(f"## {module}\n\n{_first(ast.get_docstring(_tree(module)) or '')}\n")
        for name in public(module):
            found = find(module, name)
            where = f"{module}.{name}"
            first = described.setdefault((found.module, found.node.lineno), where)
            parts.append(_entry(where, found) if first == where else f"### `{where}`\n\nThe same as `{first}`.\n")
    return "\n".join(parts)


def _first(docstring: str) -> str:
    return docstring.split("\n\n")[0]


def _entry(where: str, found: Found) -> str:
    node = found.node
    if isinstance(node, ast.FunctionDef):
        return f"### `{where}{_signature(node)}`\n\n{_markdown(node)}\n"
    if isinstance(node, ast.ClassDef):
        return "\n".join([f"### class `{where}`\n\n{_markdown(node)}\n", *_members(where, found.module, node)])
    value = ast.unparse(node.value) if node.value else ""
    return f"### `{where} = {value}`\n\n{_comment(found.module, node)}\n"


def _signature(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({ast.unparse(node.args)}){returns}"


def _comment(module: str, node: ast.stmt) -> str:
    """Return the comment behind a constant or a field."""
    return _lines(module)[(node.end_lineno or 1) - 1].partition("  # ")[2].strip()


def _members(where: str, module: str, node: ast.ClassDef) -> Iterator[str]:
    """Yield the fields of a class, its checks if it is a suite, then an entry for each public method and property."""
    fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and not ast.unparse(n.target).startswith("_")]
    lines = [f"- `{ast.unparse(n)}` {_comment(module, n)}".rstrip() for n in fields]
    methods = [n for n in node.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]
    lines += [f"- check: {n.name[5:].replace('_', ' ')}" for n in methods if n.name.startswith("test_")]
    if lines:
        yield "\n".join(lines) + "\n"
    for n in methods:
        if not n.name.startswith("test_"):
            is_value = any("property" in ast.unparse(d) for d in n.decorator_list)
            shown = f": {ast.unparse(n.returns)}" if is_value and n.returns else _signature(n)
            yield f"#### `{where}.{n.name}{shown}`\n\n{_markdown(n)}\n"


def _markdown(node: ast.FunctionDef | ast.ClassDef) -> str:
    """Return a docstring as Markdown: sections in bold, their entries as lists, examples as code."""
    lines = (ast.get_docstring(node) or "").splitlines()
    shown: list[str] = []
    section = code = False
    for at, line in enumerate(lines):
        if code and not line.strip():
            shown.append("```")
            code = False
        if re.fullmatch(r"-{3,}", line):
            continue
        if line in SECTIONS and lines[at + 1 : at + 2] and lines[at + 1].startswith("---"):
            shown += [f"**{line}**", ""]
            section = line in ("Parameters", "Raises")
        elif line.startswith(">>>") and not code:
            shown += ["```python", line]
            code = True
        else:
            is_entry = section and line and not line.startswith(" ") and not code
            shown.append(f"- {line}" if is_entry else line)
    return "\n".join([*shown, "```"] if code else shown)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
