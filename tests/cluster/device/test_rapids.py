"""Every name and keyword that winnow asks of RAPIDS exists in the wheels of the pinned release.

The wheels are fetched without dependencies and read, never imported: no GPU, no driver. $WINNOW_RAPIDS_WHEELS names a
folder that holds them already.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import tomllib
import zipfile
from functools import cache
from pathlib import Path

import pytest

from cluster.device import rapids
from cluster.device.rapids import CALLERS, CALLS, Call
from cluster.kinds import slurm
from cluster.kinds.local import this_machine_keywords
from cluster.options import ClusterOptions, SlurmOptions
from stages.kernels.dispatch.dispatch import HOST_KERNELS
from tests.support.embedding_models import download, fetching

ROOT = Path(__file__).resolve().parents[3]
WHEELS = ("cudf-cu13", "pylibcudf-cu13", "dask-cuda", "cuml-cu13", "pylibcugraph-cu13", "rmm-cu13")
LIBRARIES = {"cudf", "pylibcudf", "pylibcugraph", "cuml", "rmm", "dask_cuda"}
FRAMES = "stages/kernels/dispatch/resident.py"  # takes columns of pandas and cuDF, imports neither


@cache
def bounds() -> str:
    """The release that the extra pins, such as >=26.8,<26.11; one for all of RAPIDS."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {
        re.sub(r"^[a-z0-9-]+(\[\w+\])?", "", requirement)
        for extra in ("gpu-cu12", "gpu-cu13")
        for requirement in project["optional-dependencies"][extra]
        if requirement.startswith(("cudf", "cuml", "dask-cuda", "pylibcugraph"))  # not ONNX Runtime and tokenizers
    }
    assert len(found) == 1, f"the GPU extras pin several releases: {found}"
    return found.pop()


@cache
def wheels() -> tuple[dict[str, Path], str]:
    """The wheels by distribution name, and why they are not there."""
    given = os.environ.get("WINNOW_RAPIDS_WHEELS")
    problem = ""
    with contextlib.nullcontext(Path(given)) if given else fetching("rapids") as folder:
        found = {name: path for name in WHEELS if (path := _wheel(folder, name))}
        if len(found) < len(WHEELS) and not given:
            problem = download(tuple(f"{name}{bounds()}" for name in WHEELS if name not in found), folder)
            found = {name: path for name in WHEELS if (path := _wheel(folder, name))}
    lacking = [name for name in WHEELS if name not in found]
    return found, f"{', '.join(lacking)} cannot be had ({problem or folder})" if lacking else ""


def _wheel(folder: Path, name: str) -> Path | None:
    return max(folder.glob(f"{name.replace('-', '_')}-*.whl"), default=None)


@cache
def source(path: str) -> str:
    """A file of one of the wheels."""
    found, problem = wheels()
    if problem:
        pytest.skip(f"RAPIDS wheels: {problem}")
    for wheel in found.values():
        with zipfile.ZipFile(wheel) as archive:
            if path in archive.namelist():
                return archive.read(path).decode()
    raise AssertionError(f"no wheel holds {path}")


class Missing(AssertionError):
    """A name that winnow calls is not in the release."""


def signature(path: str, name: str) -> ast.arguments:
    """The parameters of a function or a method as defined in a file, Cython included."""
    *owner, function = name.split(".")
    text = source(path)
    if owner:
        found = re.search(
            rf"^(?:cdef )?class {owner[0]}\b.*?(?=^(?:class |def |cdef |@)|\Z)", text, re.DOTALL | re.MULTILINE
        )
        if not found:
            raise Missing(f"{path} has no class {owner[0]}")
        text = found[0]
    indent = "    " if owner else ""
    begin = re.search(rf"^{indent}(?:async )?(?:def|cpdef[\w ]*) ({function})\(", text, re.MULTILINE)
    if not begin:
        raise Missing(f"{path} has no {name}")
    static = text[: begin.start()].rstrip().endswith("@staticmethod")
    own = "self, " if owner and static else ""
    parameters = _parameters(text[begin.end() :])
    if path.endswith(".pyx"):
        parameters = re.sub(r"\b\w+ +(\w+)\s*(?=[,=]|$)", r"\1", parameters)  # without the types of C
    tree = ast.parse(f"def f({own}{parameters}): pass")
    assert isinstance(tree.body[0], ast.FunctionDef)
    return tree.body[0].args


def _parameters(text: str) -> str:
    """The text up to the bracket that closes the parameters."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if not depth:
            return text[:place]
    raise AssertionError("a bracket is never closed")


def check(call: Call) -> None:
    """Raise Missing where the release has no such name, or it takes other arguments. **kwargs prove nothing."""
    arguments = signature(call.path, call.name)
    plain = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    if "." in call.name:
        plain = plain[1:]  # self or cls
    unknown = set(call.keywords) - {*plain, *(a.arg for a in arguments.kwonlyargs)}
    if unknown:
        raise Missing(f"{call.name} takes no {', '.join(sorted(unknown))}; it has {', '.join(plain)}")
    needed = [a for a in plain[: len(plain) - len(arguments.defaults)] if a not in call.keywords]
    if len(needed) > call.positional or (call.positional > len(plain) and not arguments.vararg):
        raise Missing(f"{call.name} needs {needed}, {call.positional} positional arguments are given")


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_the_pinned_release_has_what_winnow_calls(call: Call) -> None:
    check(call)


@pytest.mark.parametrize(
    "broken",
    [
        Call("cudf/core/accessors/string.py", "StringMethods.minhash_permuted"),
        Call("cudf/core/accessors/string.py", "StringMethods.minhash", ("seed", "a", "b", "widht")),
        Call("cudf/core/accessors/string.py", "StringMethods.minhash", ("seed", "a", "b")),
        Call("cuml/cluster/kmeans.pyx", "KMeans.__init__", ("n_cluster",)),
        Call("cuml/cluster/kmeans.pyx", "KMean.__init__"),
        Call("rmm/rmm.py", "reinitialise"),
        Call("pylibcugraph/graphs.pyx", "SGGraph.__cinit__", ("symmetrise",), positional=4),
        Call("pylibcugraph/graphs.pyx", "SGGraph.__cinit__", ("renumber",), positional=3),
        Call("pylibcugraph/weakly_connected_components.pyx", "weakly_connected_components", positional=6),
        Call("pylibcudf/io/parquet.pyi", "ParquetReaderOptions.builder", positional=2),
        Call("pylibcudf/io/parquet.pyi", "ChunkedParquetReader.__init__", ("chunk_limit",), positional=1),
        Call("pylibcudf/io/parquet.pyi", "ParquetReaderOptions.set_row_groups"),
    ],
    ids=lambda call: f"{call.name}-{len(call.keywords)}",
)
def test_a_broken_name_is_found(broken: Call) -> None:
    with pytest.raises(Missing):
        check(broken)


def calls_in(path: str) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.Call)]


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def root_of(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""


def imports(tree: ast.AST) -> dict[str, str]:
    """RAPIDS modules by the name that code holds them under, as in `cudf: Any = importlib.import_module("cudf")`."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
            given = node.value.args[0] if node.value.args else None
            if isinstance(given, ast.Constant) and str(given.value).split(".")[0] in LIBRARIES:
                assert isinstance(node.target, ast.Name)
                found[node.target.id] = str(given.value)
    return found


def module(name: str) -> str:
    """The text of a module of the release; Missing where it has none of that name."""
    stem = name.replace(".", "/")
    for path in (f"{stem}/__init__.py", f"{stem}.py", f"{stem}.pyx"):
        with contextlib.suppress(AssertionError):
            return source(path)
    raise Missing(f"no wheel holds a module {name}")


@pytest.mark.parametrize("path", CALLERS)
def test_modules_and_the_names_taken_from_them_are_in_the_release(path: str) -> None:
    for function in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(function, ast.FunctionDef):
            held = imports(function)
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in held:
                    whole = held[node.value.id]
                    assert re.search(rf"\b{node.attr}\b", module(whole)), f"{path}: {whole} has no {node.attr}"


def test_a_module_that_is_not_there_is_found() -> None:
    assert "KMeans" in module("cuml.cluster")
    with pytest.raises(Missing):
        module("cuml.clusters")


@pytest.mark.parametrize("path", CALLERS)
def test_every_call_in_the_code_is_listed_with_its_keywords(path: str) -> None:
    listed: dict[str, set[str]] = {}
    for call in CALLS:
        listed.setdefault(call.called, set()).update(call.keywords)
    libraries = imports(ast.parse((ROOT / path).read_text()))
    assert libraries or path == FRAMES, f"{path} imports nothing of RAPIDS: leave it out of CALLERS"
    for made in calls_in(path):
        name = name_of(made)
        keywords = {k.arg for k in made.keywords if k.arg} - {"zero_copy_only"}  # Arrow's to_numpy, not cuDF's
        if root_of(made.func) in libraries:
            assert name in listed, f"{path}, line {made.lineno}: {name} is not in rapids.CALLS"
        if name in listed and isinstance(made.func, ast.Attribute):
            assert keywords <= listed[name], (
                f"{path}, line {made.lineno}: {name}({keywords - listed[name]}=) is not listed"
            )


def test_every_listed_name_is_called() -> None:
    called = {name_of(made) for path in CALLERS for made in calls_in(path)}
    called |= {node.attr for path in CALLERS for node in _attributes(path)}
    assert [call.name for call in CALLS if call.called not in called] == []


def _attributes(path: str) -> list[ast.Attribute]:
    return [n for n in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(n, ast.Attribute)]


def test_the_libraries_that_are_probed_are_the_ones_imported() -> None:
    from cluster.device.backend import LIBRARIES as probed

    found = set()
    for path in CALLERS:
        for name in re.findall(r'import_module\("([\w.]+)"\)', (ROOT / path).read_text()):
            found.add(name.split(".")[0])
    # cuDF brings pylibcudf; only k-means needs cuML, and says so where it is missing
    assert found - {"dask_cuda", "torch", "pylibcudf", "cuml"} == set(probed)


def test_keywords_that_dask_cuda_hands_on_are_those_of_dask() -> None:
    import inspect

    import distributed

    known = set(inspect.signature(distributed.LocalCluster.__init__).parameters)
    assert set(this_machine_keywords(ClusterOptions())) <= known


def test_slurm_starts_workers_on_gpus_with_options_that_dask_cuda_has() -> None:
    pytest.importorskip("dask_jobqueue")
    options = ClusterOptions(kind="slurm", slurm=SlurmOptions(cores=8, memory="64GB", gpus=2, interface="lo"))
    with slurm.job_cluster(options) as cluster:
        commands = cluster.job_script() + slurm.batch_script(options, [], "/run", "name")
    started = re.findall(r" -m dask_cuda\.cli( .*)", commands)
    assert len(started) == 2
    named = re.findall(r'^ +"(--[\w-]+)(?:/(--[\w-]+))?",', source("dask_cuda/cli.py"), re.MULTILINE)
    known = {option for pair in named for option in pair}
    for line in started:
        assert set(re.findall(r" (--[\w-]+)", line)) <= known


def test_components_come_as_vertices_and_their_labels() -> None:
    assert "return (cupy_vertices, cupy_labels)" in source("pylibcugraph/weakly_connected_components.pyx")


def test_every_kernel_has_a_namesake_with_the_same_parameters() -> None:
    import inspect

    from stages.kernels.gpu import rapids_kernels
    from stages.kernels.hashes import hashing
    from stages.kernels.similarity import bands, kmeans, minhash
    from stages.kernels.survivors import components

    assert {bands, components, hashing, kmeans, minhash}  # they register their kernels
    for name, host in HOST_KERNELS.items():
        theirs = inspect.signature(getattr(rapids_kernels, name)).parameters
        ours = inspect.signature(host).parameters
        assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()], name


def test_rmm_offers_torch_an_allocator() -> None:
    assert "rmm_torch_allocator = CUDAPluggableAllocator(" in source("rmm/allocators/torch.py")


def test_the_spill_option_exists() -> None:
    assert re.search(r'_register_option\(\s*"spill",', source("cudf/options.py"))


def test_memory_sizes_fit_what_the_pool_takes() -> None:
    first, largest = rapids.pool_sizes(80 << 30)
    assert 0 < first < largest < 80 << 30


def test_wheels_are_those_of_the_pinned_release() -> None:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    found, problem = wheels()
    if problem:
        pytest.skip(f"RAPIDS wheels: {problem}")
    for name, path in found.items():
        assert Version(path.name.split("-")[1]) in SpecifierSet(bounds()), f"{name}: {path.name}"


def test_the_pool_of_a_user_is_told_by_the_name_of_the_resource_without_one() -> None:
    text = source("rmm/pylibrmm/memory_resource/_memory_resource.pyx")
    assert f"_per_device_mrs = defaultdict({rapids.DEFAULT_RESOURCE})" in text
    assert re.search(r"get_current_device_resource", source("rmm/mr/__init__.py"))


def test_libcudf_opens_addresses_as_well_as_paths() -> None:
    """Without this a file of S3 would be refused before KvikIO is asked (stages/inputs/device_reader.py)."""
    text = source("pylibcudf/io/types.pyx")
    assert text.count("os.path.isfile(") == text.count("or SourceInfo._is_remote_uri(") >= 1
