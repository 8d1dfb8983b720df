"""A push leaves mix, card and ledger in the repository, in small commits, and goes on after a failure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.errors import BackendError, RecipeError
from pipelines.cli.main import main
from pipelines.commands import push as module
from pipelines.commands.push import push
from pipelines.mix.card import write_card
from tests.support import exports, run_folders
from tests.support.hub import TOKEN, Hub, hub

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = exports.small_run(tmp_path_factory.mktemp("push"))
    write_card(str(made))
    return made


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(module, "COMMIT_FILES", 5)
    with hub() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.address)
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


def expected(run: Path) -> dict[str, bytes]:
    mix = {str(p.relative_to(run / "mix")): p.read_bytes() for p in (run / "mix").rglob("*") if p.is_file()}
    ledger = {f"ledger/{p.name}": p.read_bytes() for p in (run / "ledger").iterdir() if p.is_file()}
    return {name: data for name, data in {**mix, **ledger}.items() if not name.startswith(".")}


def test_mix_card_and_ledger_are_there_afterwards(run: Path, there: Hub) -> None:
    found = push(str(run), "me/mix")
    assert there.files == expected(run)
    assert found.sent == len(there.files)
    assert max(map(len, there.commits)) <= 5
    assert set(there.commits[-1]) == {"README.md", "manifest.json"}
    assert "private" in (there.created[0].get("visibility"), *(k for k, v in there.created[0].items() if v is True))
    again = push(str(run), "me/mix")
    assert (again.sent, again.commits, again.there) == (0, 0, len(there.files))


def test_an_interrupted_push_goes_on(run: Path, there: Hub) -> None:
    there.fail_commits = {2}
    with pytest.raises(BackendError, match="the Hub refuses me/mix"):
        push(str(run), "me/mix")
    assert len(there.commits) == 2
    assert "README.md" not in there.files
    before = list(there.uploads)
    push(str(run), "me/mix")
    assert there.files == expected(run)
    assert len(there.uploads) == len(set(there.uploads)) >= len(before), "a file was sent twice"


def test_files_of_an_earlier_mix_go(run: Path, there: Hub) -> None:
    there.files |= {"a/part-99999.parquet": b"old", "notes.md": b"mine", "ledger/77.parquet": b"old"}
    found = push(str(run), "me/mix")
    assert found.removed == 2
    assert there.files == {**expected(run), "notes.md": b"mine"}


def test_the_ledger_may_stay(run: Path, there: Hub) -> None:
    push(str(run), "me/mix", ledger=False)
    assert not [name for name in there.files if name.startswith("ledger/")]


def test_the_token_comes_from_the_environment_alone(
    run: Path, there: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(BackendError, match="the Hub refuses"):
        push(str(run), "me/mix")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(RecipeError, match="HF_TOKEN is not set"):
        push(str(run), "me/mix")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    cut = run_folders.copy(run, tmp_path / "cut")
    part = next((cut / "mix").glob("*/part-*"))
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(RecipeError, match=r"is not what mix/manifest.json says"):
        push(str(cut), "me/mix")


def test_a_named_mix_takes_the_place_of_another(tmp_path: Path, there: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    mixes = {"stable": {"target_tokens": 8000}, "anneal": {"target_tokens": 2000, "exclude": ["stable"]}}
    made = exports.small_run(tmp_path, mix={"mode": "sample"}, mixes=mixes)
    for name in mixes:
        write_card(str(made), name)
        assert main(["push", str(made), "me/mix", "--mix", name, "--no-ledger", "--quiet"]) == 0
        root = made / "mixes" / name
        files = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")]
        assert there.files == {str(path.relative_to(root)): path.read_bytes() for path in files}
    assert main(["push", str(made), "me/mix", "--mix", "other"]) == 2
    assert "stable, anneal" in capsys.readouterr().err
