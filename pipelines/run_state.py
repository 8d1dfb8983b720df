"""What a run folder remembers of how it was made: the recipe's lock, sample and limit, and who works in it.

Guarantees: a folder opens again as it was last used; one run at a time works in a folder that is mounted here.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import cast

from cluster import storage
from cluster.errors import RecipeError
from cluster.sealed import damaged, read_json, write_json
from pipelines.recipe.code_named import check_code
from pipelines.recipe.lock import check_lock, sealed_lock
from pipelines.recipe.recipe import load_recipe
from pipelines.recipe.to_run import Prepared, prepare
from stages.core import manifest
from stages.core.view import View

LOCK = "recipe.lock.yaml"


def write_lock(prepared: Prepared) -> None:
    """Write the recipe with every default, and the sample, into the run folder."""
    root = prepared.run.root
    storage.write_bytes(storage.join(root, LOCK), sealed_lock(prepared.lock).encode())
    write_json(_options_path(root), {"sample": prepared.sample})


def reopen(run_dir: str) -> Prepared:
    """Return the recipe and the run of a run folder as they were last used.

    Raises RecipeError if it is none or names code that is not trusted (code_named.py), DamagedError where one of its
    files is not what was written.
    """
    root = run_dir.rstrip("/")
    lock = storage.join(root, LOCK)
    frozen = manifest.read_manifest(root)
    if not storage.exists(lock) or frozen is None:
        raise RecipeError(
            f"{root} is not a run folder (no recipe.lock.yaml or manifest.parquet). Run `winnow run` first."
        )
    check_lock(lock)
    check_code(lock)
    prepared = prepare(load_recipe(lock), root, sample=sample_of(root))
    return dataclasses.replace(prepared, run=dataclasses.replace(prepared.run, manifest_digest=frozen.digest))


def _options_path(root: str) -> str:
    return storage.join(root, "facts", "options.json")


def sample_of(run_dir: str) -> float | None:
    """Return the `--sample` a run folder was made with. Raises DamagedError."""
    path = _options_path(run_dir)
    if not storage.exists(path):
        return None
    try:
        return cast("float | None", read_json(path)["sample"])
    except (KeyError, TypeError) as error:
        raise damaged(path, f"it lacks the sample ({error})") from None


def limit_of(run_dir: str) -> int | None:
    """Return the `--limit` a run folder was made with. Raises DamagedError."""
    frozen = manifest.read_manifest(run_dir.rstrip("/"))
    return frozen.limit if frozen else None


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
    """Hold the run folder against a second run at the same time (on a mounted file system)."""
    if not storage.is_local(root):
        yield
        return
    import fcntl
    import os

    path = storage.local_path(root)
    try:
        os.makedirs(path, exist_ok=True)
        held = open(os.path.join(path, ".lock"), "w")  # noqa: SIM115
    except OSError as error:
        raise RecipeError(
            f"run folder {root!r} cannot be written ({error.strerror}). Give another --run-dir."
        ) from error
    with held as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecipeError(
                f"run folder {root} is in use by another winnow. Wait for it, or give another --run-dir."
            ) from None
        yield
