"""Upload a run's mix, its card and the ledger to a dataset repository of the Hugging Face Hub.

Files go in commits of at most `COMMIT_FILES` files and `COMMIT_BYTES` bytes; each is compared with what the repository
holds before it is sent, so an interrupted upload goes on where it stopped. Files of an earlier mix are removed with the
last commit, that of card and manifest: until then the card describes what was there before. Guarantees: the token comes
from the environment (HF_TOKEN) and is written nowhere. Memory: the names of one commit.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cluster import storage
from cluster.errors import BackendError, RecipeError
from cluster.files.digesting import sha256_of
from pipelines.artefacts import files_of_mix
from pipelines.runfolder import RunFolder, open_run

COMMIT_FILES = 100
COMMIT_BYTES = 20 << 30
LAST = ("manifest.json", "README.md")


@dataclass
class Pushed:
    """What an upload did: files sent, files that were there, files removed, commits."""

    sent: int = 0
    there: int = 0
    removed: int = 0
    commits: int = 0
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """A file to upload, and its path in the repository."""

    path: str
    name: str
    size: int
    sha256: str | None = None


@dataclass
class Upload:
    """One upload to a repository. say: called with a sentence after every commit."""

    api: Any
    repository: str
    say: Callable[[str], None]
    pushed: Pushed = field(default_factory=Pushed)

    def send(self, files: Iterable[LocalFile]) -> None:
        """Commit files, so many at a time, that the repository does not hold yet."""
        for batch in _batches(files):
            missing = self._missing(batch)
            self.pushed.there += len(batch) - len(missing)
            if missing:
                self._commit([_addition(file) for file in missing], f"Add {len(missing):,} files")
                self.pushed.sent += len(missing)
                self.pushed.bytes += sum(file.size for file in missing)
                self.say(f"{self.pushed.sent:,} files sent, {self.pushed.bytes:,} bytes; last {missing[-1].name}")

    def _missing(self, batch: list[LocalFile]) -> list[LocalFile]:
        found = self.api.get_paths_info(self.repository, [file.name for file in batch], repo_type="dataset")
        there = {info.path: info for info in found}
        return [file for file in batch if not _is_same(file, there.get(file.name))]

    def finish(self, last: list[LocalFile], wanted: Callable[[str], bool]) -> None:
        """Remove data files that are not wanted any more, then commit card and manifest with the last of them."""
        gone: list[Any] = []
        for entry in self.api.list_repo_tree(self.repository, recursive=True, repo_type="dataset"):
            if hasattr(entry, "size") and _is_data(entry.path) and not wanted(entry.path):
                gone.append(_deletion(entry.path))
                self.pushed.removed += 1
                if len(gone) == COMMIT_FILES:
                    self._commit(gone, f"Remove {len(gone):,} files of an earlier mix")
                    gone = []
        missing = self._missing(last)
        self.pushed.there += len(last) - len(missing)
        self.pushed.sent += len(missing)
        if gone or missing:
            self._commit([*gone, *map(_addition, missing)], "Describe the mix")

    def _commit(self, operations: list[Any], message: str) -> None:
        self.api.create_commit(self.repository, operations, commit_message=message, repo_type="dataset")
        self.pushed.commits += 1


def push(
    run_dir: str,
    repository: str,
    *,
    mix: str | None = None,
    ledger: bool = True,
    public: bool = False,
    say: Callable[[str], None] = lambda sentence: None,
) -> Pushed:
    """Upload a run's mix, card and ledger; return what was done.

    Parameters
    ----------
    repository : OWNER/NAME; made if missing. mix : name of one of several.
    ledger : whether the ledger goes along. public : whether a repository that is made can be seen by all.

    Raises
    ------
    RecipeError
        There is no token in the environment, no whole mix, or the repository's name is none.
    BackendError
        The Hub refuses.
    """
    from pipelines.staleness import check_up_to_date

    if not storage.is_local(run_dir):
        raise RecipeError(
            f"{run_dir} is no folder of this machine, and the Hub takes uploads from files. Copy it first."
        )
    folder = open_run(run_dir, warn=False).of_mix(mix or "")
    check_up_to_date(folder.root, mix or "")
    if not folder.mix_manifest:
        raise RecipeError(f"{folder.root} has no mix. `winnow run` writes it.")
    upload = Upload(_api(), repository, say)
    try:
        upload.api.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
        upload.send(_data_files(folder, ledger))
        upload.finish(list(_last_files(folder)), lambda name: _is_wanted(folder, name, ledger))
    except _hub_errors() as error:
        kind = RecipeError if isinstance(error, ValueError) else BackendError  # a name that is none, or a refusal
        first = " ".join(str(error).split())
        raise kind(f"the Hub refuses {repository}: {first}. The same command goes on.") from None
    return upload.pushed


def _api() -> Any:
    try:
        import huggingface_hub.utils  # its names are loaded on demand
    except ImportError:
        raise RecipeError("push needs the package huggingface_hub: pip install 'winnow-mix[export]'.") from None
    token = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")
    if not token:
        raise RecipeError("push takes the Hub's token from the environment, and HF_TOKEN is not set.")
    hub: Any = huggingface_hub
    hub.utils.disable_progress_bars()  # of every file; the command says how far it is after each commit
    return hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)


def _hub_errors() -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    return (HfHubHTTPError, HFValidationError)


def _data_files(folder: RunFolder, ledger: bool) -> Iterator[LocalFile]:
    """Yield the files of mix and ledger, those that tell of them left out."""
    root = folder.mix_folder
    for file in files_of_mix(folder.mix_manifest):
        path = storage.join(root, file["path"])
        _check_size(path, file["bytes"])
        yield LocalFile(path=path, name=file["path"], size=file["bytes"], sha256=file["sha256"])
    yield from _below(storage.join(root, "loaders"), "loaders")
    if ledger:
        yield from _below(folder.path("ledger"), "ledger")


def _check_size(path: str, size: int) -> None:
    if not os.path.exists(path) or os.path.getsize(path) != size:
        raise RecipeError(f"{path} is missing or is not what mix/manifest.json says. `winnow run` again makes it.")


def _below(place: str, name: str) -> Iterator[LocalFile]:
    for file, size in sorted(storage.sizes(place).items()):
        path = storage.join(place, file)
        if os.path.isfile(path):
            yield LocalFile(path=path, name=f"{name}/{file}", size=size)


def _last_files(folder: RunFolder) -> Iterator[LocalFile]:
    for name in LAST:
        path = storage.join(folder.mix_folder, name)
        if os.path.exists(path):
            yield LocalFile(path=path, name=name, size=os.path.getsize(path))


def _is_data(name: str) -> bool:
    """Tell whether a path of the repository is of a kind that an upload of a run leaves there."""
    inside, _, last = name.rpartition("/")
    return bool(inside) and (last.startswith(("part-", "holdout-")) or inside == "ledger")


def _is_wanted(folder: RunFolder, name: str, ledger: bool) -> bool:
    root = folder.root if name.startswith("ledger/") else folder.mix_folder
    return (ledger or not name.startswith("ledger/")) and os.path.exists(storage.join(root, name))


def _batches(files: Iterable[LocalFile]) -> Iterator[list[LocalFile]]:
    held: list[LocalFile] = []
    for file in files:
        if held and (len(held) == COMMIT_FILES or sum(f.size for f in held) + file.size > COMMIT_BYTES):
            yield held
            held = []
        held.append(file)
    if held:
        yield held


def _is_same(file: LocalFile, there: Any) -> bool:
    """Tell whether the repository holds a file with these bytes: by SHA-256 of large ones, else by git's blob id."""
    if there is None or there.size != file.size:
        return False
    lfs = getattr(there, "lfs", None)
    if lfs:
        return bool(lfs.sha256 == (file.sha256 or sha256_of(file.path)[1]))
    data = storage.read_bytes(file.path)
    return bool(there.blob_id == hashlib.sha1(b"blob %d\x00" % len(data) + data).hexdigest())  # git's own


def _addition(file: LocalFile) -> Any:
    from huggingface_hub import CommitOperationAdd

    return CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file.path)


def _deletion(name: str) -> Any:
    from huggingface_hub import CommitOperationDelete

    return CommitOperationDelete(path_in_repo=name)
