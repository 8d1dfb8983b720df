"""What a run folder remembers of how it was made: the recipe's lock, sample and limit, and who works in it.

Guarantees: a folder opens again as it was last used; one run at a time works in a folder that is mounted here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import stat
from collections.abc import Iterator
from typing import Any

from typing_extensions import TypedDict  # pydantic reads it, and needs this one before Python 3.12

from cluster import storage
from cluster.credentials import check_place
from cluster.errors import RecipeError
from cluster.files.records import as_kind, read_record
from cluster.files.sealed import damaged, write_json
from cluster.writers import only_writer
from pipelines.recipe.code_named import check_code
from pipelines.recipe.lock import check_lock, sealed_lock
from pipelines.recipe.output import Output, output_of_mix
from pipelines.recipe.recipe import load_recipe
from pipelines.recipe.to_run import Prepared, prepare
from stages.core import manifest
from stages.core.digests import digest
from stages.core.exchange_stage import ExchangeStage, is_complete
from stages.core.run import Run, StageRun
from stages.core.shard import Shard
from stages.core.stage import ShardStage
from stages.core.view import View
from stages.outcome.lineage import lineage_digest
from stages.outcome.mixing import Mix
from stages.passes import judge_later

LOCK = "recipe.lock.yaml"
LOCK_FILE = ".lock"
PLACES = ("started_in", "run_dir")  # of the options
MIXES = "mixes"  # the folder of named ones
NO_LOCK = "{path} is a link or no plain file, so winnow does not lock by it. Look where it leads, then remove it."


class _Options(TypedDict, total=False):
    """facts/options.json: how a run folder was last used."""

    sample: float | None
    output: dict[str, Any] | None
    started_in: str
    run_dir: str


def write_lock(prepared: Prepared) -> None:
    """Write the recipe with every default, the sample, the output and the working folder into the run folder."""
    root = prepared.run.root
    storage.write_bytes(storage.join(root, LOCK), sealed_lock(prepared.lock).encode())
    options = {"sample": prepared.sample, "output": dataclasses.asdict(prepared.output)}
    write_json(_options_path(root), {**options, "started_in": os.getcwd(), "run_dir": storage.absolute(root)})


def mix_digest(run: Run, mix: Mix, output: Output) -> str:
    """Digest of everything that the bytes of the mix depend on."""
    written = output_of_mix(output, mix).values()
    return digest("even parts", lineage_digest(run), mix.values(), written, sorted(run.extra_columns))


def mix_root(root: str, name: str = "") -> str:
    """Return where a mix of a run folder lies; name: of one of several."""
    return storage.join(root, MIXES, name) if name else storage.join(root, "mix")


def reopen(run_dir: str, recipe: str | None = None) -> Prepared:
    """Return the recipe and the run of a run folder as they were last used.

    recipe : path of the recipe that describes it; None: recipe.lock.yaml.

    Raises RecipeError if it is none or names code that is not trusted (code_named.py), DamagedError where one of its
    files is not what was written.
    """
    root = run_dir.rstrip("/")
    lock = storage.join(root, LOCK)
    frozen = manifest.read_manifest(root)
    locked = storage.exists(lock)
    if locked and frozen is None:
        raise RecipeError(f"the run in {root} ended before its inputs were listed. Run `winnow run` again: it goes on.")
    if not locked or frozen is None:
        raise RecipeError(
            f"{root} is not a run folder (no recipe.lock.yaml or manifest.parquet). Run `winnow run` first."
        )
    check_lock(lock)
    check_code(recipe or lock)
    source = load_recipe(recipe or lock)
    prepared = prepare(source, root, sample=sample_of(root), output=_output_of(root))
    return dataclasses.replace(prepared, run=dataclasses.replace(prepared.run, manifest_digest=frozen.digest))


def _options_path(root: str) -> str:
    return storage.join(root, "facts", "options.json")


def sample_of(run_dir: str) -> float | None:
    """Return the `--sample` a run folder was made with. Raises DamagedError."""
    options = _options(run_dir)
    if options and "sample" not in options:
        raise damaged(_options_path(run_dir), "it lacks the sample")
    return options.get("sample")


def _options(run_dir: str) -> dict[str, Any]:
    """Return how a run folder was last used; empty where nothing is written down. Raises DamagedError."""
    path = _options_path(run_dir)
    if not storage.exists(path):
        return {}
    found = read_record(path, _Options)
    if not found:
        raise damaged(path, "it holds no options")
    if any("\0" in str(found.get(name)) for name in PLACES):
        raise damaged(path, "its folders are no paths")
    return dict(found)


def _output_of(root: str) -> Output | None:
    """Return how the mix was written; None where an earlier winnow wrote it, or the recipe alone says so."""
    given = _options(root).get("output") or {}
    if not given.get("everything"):  # `winnow dedup`; else the recipe that is asked about says how
        return None
    return as_kind(_options_path(root), given, Output)


@contextlib.contextmanager
def from_home(run_dir: str) -> Iterator[str]:
    """Let relative paths count against the folder in which a run was started; yield the run folder.

    Where the folder is gone, or the inputs lie there no more, one at the same place relative to the run folder (both
    were moved) is taken, else the present one. The working folder of the process stays: other threads rely on it.
    """
    check_place(run_dir, "the run folder")
    there = home_of(run_dir)
    if there == os.getcwd():
        yield run_dir
        return
    root = storage.absolute(run_dir)
    with storage.relative_to(there):
        yield root


@contextlib.contextmanager
def working_at_home(run_dir: str) -> Iterator[str]:
    """Do what `from_home` does by the working folder of the process, which workers take over: for commands that run."""
    check_place(run_dir, "the run folder")
    here = os.getcwd()
    there = home_of(run_dir)
    root = run_dir if there == here else storage.absolute(run_dir)
    os.chdir(there)
    try:
        yield root
    finally:
        os.chdir(here)


def shard_at_home(run: Run, ordinal: int) -> Shard:
    """Return a shard with the path where it lies: a relative one counts against the folder the run was started in."""
    shard = run.manifest.shard(ordinal)
    if not storage.is_local(shard.path):
        return shard
    return dataclasses.replace(
        shard, path=os.path.join(home_of(run.root, run.manifest), storage.local_path(shard.path))
    )


def home_of(run_dir: str, frozen: manifest.Manifest | None = None) -> str:
    """Return the folder against which the relative paths of a run folder's recipe count.

    frozen : its manifest, where it is at hand; else it is read.
    """
    root, here = run_dir.rstrip("/"), os.getcwd()
    options = _options(root)
    started = options.get("started_in")
    if not started:
        return here
    places = [started]
    if storage.is_local(root) and storage.is_local(str(options.get("run_dir"))):
        beside = os.path.relpath(started, options["run_dir"])
        places.append(os.path.normpath(os.path.join(storage.absolute(root), beside)))
    frozen = frozen or manifest.read_manifest(root)
    paths = (s.path for s in (frozen.live_shards if frozen else ()) if storage.is_local(s.path))
    relative = next((storage.local_path(path) for path in paths if not os.path.isabs(storage.local_path(path))), "")
    return next((p for p in places if os.path.isdir(p) and os.path.exists(os.path.join(p, relative))), here)


def limit_of(run_dir: str) -> int | None:
    """Return the `--limit` a run folder was made with. Raises DamagedError."""
    frozen = manifest.read_manifest(run_dir.rstrip("/"))
    return frozen.limit if frozen else None


def stage_progress(run: Run, index: int) -> tuple[int, int]:
    """Return how many bundles a stage has judged, and how many it has to."""
    stage = run.stages[index]
    mine = [b for b in run.manifest.bundles if stage.applies_to(b.dataset)]
    if isinstance(stage, ExchangeStage):
        return (len(mine) if stage.hidden or is_complete(StageRun(run, index)) else 0), len(mine)
    assert isinstance(stage, ShardStage)
    judged = not run.deferred(index) or judge_later.is_resolved(StageRun(run, index))
    have = storage.names(run.facts(stage).folder) if judged else set()
    return sum(f"{b.number}-{b.fingerprint}{run.reading(b.dataset)}.arrow" in have for b in mine), len(mine)


def stage_counts(run_dir: str, name: str) -> dict[str, int]:
    """Return how many documents a stage judged and dropped."""
    run = reopen(run_dir).run
    index = run.index(name)
    judged = dropped = 0
    for bundle in run.manifest.bundles:
        if run.stages[index].applies_to(bundle.dataset):
            view = View(run, bundle)
            judged += int(view.live(index).sum())
            dropped += int(view.decided(index)[1].dropped.sum())
    return {"judged": judged, "dropped": dropped}


@contextlib.contextmanager
def only_one(root: str) -> Iterator[None]:
    """Hold the run folder against a second run at the same time: by a file lock, in an object store by a claim.

    Raises RecipeError where another run works there, or the folder has no name.
    """
    if not root.rstrip("/"):
        raise RecipeError(f"run folder {root!r} cannot be written (it has no name). Give another --run-dir.")
    if not storage.is_local(root):
        with only_writer(root):
            yield
        return
    import fcntl

    try:
        held = _open_lock(root)
    except OSError as error:
        raise RecipeError(
            f"run folder {root!r} cannot be written ({error.strerror}). Give another --run-dir."
        ) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise RecipeError(
            f"run folder {root} is in use by another winnow. Wait for it, or give another --run-dir."
        ) from None
    try:
        yield
    finally:
        os.close(held)


def _open_lock(root: str) -> int:
    """Open the lock file of a local run folder, through no link and without changing what it holds."""
    path = os.path.join(storage.local_path(root), LOCK_FILE)
    storage.make_folder(os.path.dirname(path))  # synced: else a power cut takes the run folder, with all it holds
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        held = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO):
            raise RecipeError(NO_LOCK.format(path=path)) from error
        raise
    found = os.fstat(held)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(held)
        raise RecipeError(NO_LOCK.format(path=path))
    return held
