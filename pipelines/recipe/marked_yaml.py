"""YAML that remembers the line of every key, so that an error can say where.

Guarantees: scalars follow YAML 1.2 (`no` is a word and 1e-3 a number), a key given twice is an error, keys and
dates stay text. Values are plain dict, list, str, int, float, bool and None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from cluster.errors import RecipeError
from pipelines.recipe.limits import check_text, whole_number

Path = tuple[str | int, ...]  # of a value in the document: ("stages", 2, "min_score")


@dataclass(frozen=True)
class Marked:
    """A parsed document: its value, where it came from, and the line of each key (counted from 1)."""

    value: Any
    source: str
    lines: dict[Path, int] = field(default_factory=dict)

    def where(self, path: Path) -> str:
        """Return "file, line n" of the key, or of the nearest key around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.source}, line {self.lines[path]}" if path in self.lines else self.source


class _Loader(yaml.SafeLoader):
    """The safe loader with the scalar rules of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    try:
        return whole_number(loader.construct_scalar(node).replace("_", ""))
    except ValueError as error:
        raise yaml.constructor.ConstructorError(None, None, f"the number {error}", node.start_mark) from None


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node).replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


_TAG = "tag:yaml.org,2002:"
for _name, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", [*"~nN", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9][0-9_]*$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:[0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
    ("merge", r"^<<$", ["<"]),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _first)
_Loader.add_constructor(_TAG + "int", _construct_int)
_Loader.add_constructor(_TAG + "float", _construct_float)


class _Dumper(yaml.SafeDumper):
    """Writes without aliases, and quotes every text that the loader would take for something else."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own)
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
            *_Loader.yaml_implicit_resolvers.get(first, []),
        ]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
    }

    def ignore_aliases(self, data: object) -> bool:
        return True


def dump_yaml(data: dict[str, Any]) -> str:
    """Return plain data as YAML text that `parse_yaml` reads back as the same data."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


def parse_yaml(text: str, source: str) -> Marked:
    """Parse one YAML document. Raises RecipeError that names the line."""
    lines: dict[Path, int] = {}
    check_text(text, source)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return Marked(None, source)
            _walk(node, (), lines, source, set())
            value = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise RecipeError(_sentence(error, source)) from None
    except RecursionError:
        raise RecipeError(
            f"{source} holds too many lists and mappings inside each other. Check its brackets."
        ) from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{source} is not YAML text: {error}. Save it as UTF-8 text.") from None
    return Marked(value, source, lines)


def parse_scalar(text: str, source: str) -> Any:
    """Parse the value of a `--set`: a word, a number, [a, list] or {a: mapping}."""
    return parse_yaml(text, source).value


def _walk(node: yaml.Node, path: Path, lines: dict[Path, int], source: str, open_nodes: set[int]) -> None:
    """Note the line of every key below `node`; refuse double keys and aliases into themselves."""
    if id(node) in open_nodes:
        raise RecipeError(f"{source}, line {node.start_mark.line + 1}: an alias refers to what contains it.")
    open_nodes.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise RecipeError(f"{source}, line {line}: a key must be a word, got a list or a mapping.")
            if key.tag != _TAG + "merge":
                key.tag = _TAG + "str"  # a dataset called 2024 or true is called just that
            if name in seen:
                where = f"{source}, line {line}"
                raise RecipeError(f"{where}: {name} is given twice (first in line {seen[name]}). Remove one.")
            seen[name] = line
            lines[(*path, name)] = line
            _walk(value, (*path, name), lines, source, open_nodes)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, index)] = value.start_mark.line + 1
            _walk(value, (*path, index), lines, source, open_nodes)
    open_nodes.discard(id(node))


def _sentence(error: yaml.MarkedYAMLError, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
    problem = error.problem or error.context or "it cannot be parsed"
    remedy = "Indent with spaces, not tabs." if "\\t" in problem else "Check quotes, colons and indentation there."
    return f"{where}: not valid YAML: {problem}. {remedy}"
