"""Asking many questions: faults of servers, kills, and that nothing is asked twice."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from classifiers.endpoint import answers
from classifiers.endpoint.answers import Range, files, folder_of, key_of, spent
from classifiers.endpoint.ask import Manner, Question, Reply, ask
from classifiers.endpoint.asker import MODES, Asker
from classifiers.endpoint.client import Client
from classifiers.endpoint.prompt import load
from classifiers.endpoint.settings import Endpoint
from cluster.errors import BackendError, RecipeError
from tests.support.chat_server import (
    ChatServer,
    Request,
    Say,
    completion,
    hashed_score,
    refuse,
    user_text,
    verdict,
)

ASKER = Asker(model="m", prompt=load("edu"))
ROOT = Path(__file__).parents[3]


def questions(count: int) -> list[Question]:
    texts = [f"text number {n}" for n in range(count)]
    return [Question(key_of(hashlib.sha256(text.encode()).digest()[:16], 0), text) for text in texts]


def accept(content: str) -> bool:
    return ASKER.prompt.verdict(content) is not None


def asked(
    root: Path, urls: Sequence[str], count: int = 40, *, tries: int = 3, asker: Asker = ASKER, **more: object
) -> list[Reply]:
    settings = {"concurrency": 8, "timeout": 5.0, "patience": 5.0, "backoff": 0.0, **more}
    manner = Manner(endpoint=Endpoint(base_urls=tuple(urls), **settings), tries=tries)  # type: ignore[arg-type]
    return ask(str(root), asker, manner, Range(), questions(count), accept)[0]


def right(request: Request, before: int) -> Say:
    return verdict(hashed_score(request))


def scores(replies: Sequence[Reply]) -> list[float | None]:
    found = [ASKER.prompt.verdict(reply.content or "") for reply in replies]
    return [None if one is None else one.score for one in found]


def test_every_question_is_asked_once_and_the_answers_are_kept(tmp_path: Path) -> None:
    with ChatServer(right) as server:
        first = asked(tmp_path, [server.url])
        again = asked(tmp_path, [server.url], concurrency=1)
    assert sum(server.seen.values()) == len(server.seen) == 40
    assert first == again
    assert scores(first) == [hashed_score(request) for request in sorted(server.requests, key=number)]


def number(request: Request) -> int:
    return int(user_text(request).partition("text number ")[2].split()[0])


@pytest.mark.parametrize("concurrency", [1, 3, 64])
def test_concurrency_is_bounded_and_changes_nothing(tmp_path: Path, concurrency: int) -> None:
    with ChatServer(right) as server:
        found = asked(tmp_path, [server.url], concurrency=concurrency)
    assert server.most_at_once <= concurrency
    with ChatServer(right) as other:
        assert found == asked(tmp_path / "other", [other.url])


@pytest.mark.parametrize("status", [429, 503])
def test_a_storm_of_refusals_loses_nothing(tmp_path: Path, status: int) -> None:
    def storm(request: Request, before: int) -> Say:
        return refuse(status, Retry_After="0") if before < 3 else verdict(1)

    with ChatServer(storm) as server:
        assert scores(asked(tmp_path, [server.url], tries=1)) == [1.0] * 40
    assert set(server.seen.values()) == {4}
    assert set(server.answered.values()) == {1}


def faulty(fault: Callable[[Request], Say]) -> Callable[[Request, int], Say]:
    """Return a script that does something wrong with each question's first two attempts."""
    tried: dict[int, int] = {}

    def script(request: Request, before: int) -> Say:
        n = number(request)
        tried[n] = tried.get(n, 0) + 1
        return fault(request) if tried[n] <= 2 else verdict(n % 6)

    return script


FAULTS: dict[str, Callable[[Request], Say]] = {
    "half_answer": lambda request: Say(verdict(1).body, cut=30),
    "bad_response": lambda request: Say(b"<html>"),
    "invalid_answer": lambda request: completion("I would say 3"),
    "no_content": lambda request: completion(None),
    "server_error": lambda request: refuse(500),
    "disconnected": lambda request: Say(drop=True),
    "timeout": lambda request: Say(hang=True),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_faults_cost_attempts_and_are_counted(tmp_path: Path, reason: str) -> None:
    seconds = 0.2 if reason == "timeout" else 5.0
    with ChatServer(faulty(FAULTS[reason])) as server:
        first = asked(tmp_path / "two", [server.url], 12, tries=2, timeout=seconds)
        assert {reply.reason for reply in first} == {reason}
        later = asked(tmp_path / "two", [server.url], 12, tries=3, timeout=5.0)
        assert scores(later) == [n % 6 for n in range(12)]
    assert sum(server.seen.values()) == 36, "attempts of an earlier call count"


def test_a_server_that_dies_leaves_its_work_to_the_other(tmp_path: Path) -> None:
    with ChatServer(right) as good:

        def dying(request: Request, before: int) -> Say:
            if sum(bad.seen.values()) >= 5:
                bad._loop.call_soon(bad._stopping.set)
            return right(request, before)

        with ChatServer(dying) as bad:
            found = asked(tmp_path, [bad.url, good.url], 60)
    assert None not in scores(found)
    both = bad.answered + good.answered
    assert len(both) == 60


def test_requests_go_to_all_servers_in_turn(tmp_path: Path) -> None:
    with ChatServer(right) as one, ChatServer(right) as two, ChatServer(right) as three:
        asked(tmp_path, [one.url, two.url, three.url], 60, concurrency=1)
    assert [sum(each.seen.values()) for each in (one, two, three)] == [20, 20, 20]


def test_a_server_that_hangs_costs_no_question_its_answer(tmp_path: Path) -> None:
    with ChatServer(lambda request, before: Say(hang=True)) as bad, ChatServer(right) as good:
        replies = asked(tmp_path, [bad.url, good.url], 30, tries=2, timeout=1.0)
        assert None not in scores(replies)
        assert bad.seen
        assert max(bad.seen.values()) == 1, "a question goes to the other server then"


def test_the_last_requests_may_hang_where_another_server_answers(tmp_path: Path) -> None:
    """All other answers are in for `patience` seconds when these requests time out."""
    with ChatServer(lambda request, before: Say(hang=True)) as bad, ChatServer(right) as good:
        replies = asked(tmp_path, [bad.url, good.url], 8, tries=2, timeout=1.0, patience=0.01)
    assert None not in scores(replies)


def test_when_no_server_is_left_the_answers_stay(tmp_path: Path) -> None:
    def dying(request: Request, before: int) -> Say:
        if sum(bad.seen.values()) >= 20:
            bad._loop.call_soon(bad._stopping.set)
        return right(request, before)

    with ChatServer(dying) as bad, pytest.raises(BackendError, match="has answered for"):
        asked(tmp_path, [bad.url], patience=1.0, timeout=5.0)
    with ChatServer(right) as good:
        assert None not in scores(asked(tmp_path, [good.url]))
    assert not bad.answered & good.answered


@pytest.mark.parametrize(("status", "what"), [(401, "key_env"), (404, "base_urls"), (302, "base_urls")])
def test_a_server_that_takes_nothing_stops_the_call(tmp_path: Path, status: int, what: str) -> None:
    with (
        ChatServer(lambda request, before: refuse(status, Location="http://127.0.0.1:1/")) as server,
        pytest.raises(BackendError, match=what),
    ):
        asked(tmp_path, [server.url])
    assert sum(server.seen.values()) <= 8


def test_parameters_that_no_server_takes_stop_the_call(tmp_path: Path) -> None:
    with (
        ChatServer(lambda request, before: refuse(400, "seed is not known")) as server,
        pytest.raises(BackendError, match=r"seed is not known.*extra"),
    ):
        asked(tmp_path, [server.url])


def test_one_text_that_a_server_does_not_take_fails_alone(tmp_path: Path) -> None:
    def script(request: Request, before: int) -> Say:
        return refuse(400, "context length") if number(request) == 7 else right(request, before)

    with ChatServer(script) as server:
        found = asked(tmp_path, [server.url], concurrency=1)
        asked(tmp_path, [server.url])
    assert [reply.reason for reply in found if reply.reason] == ["bad_request"]
    assert sum(server.seen.values()) == 40


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("known", MODES)
def test_the_form_is_asked_for_as_the_server_knows(tmp_path: Path, known: str, status: int) -> None:
    def script(request: Request, before: int) -> Say:
        form = request.get("response_format", {})
        name = form.get("type", "none") + ("_schema" if "schema" in form else "")
        return right(request, before) if name == known else refuse(status, "unknown response_format")

    with ChatServer(script) as server:
        assert None not in scores(asked(tmp_path, [server.url], concurrency=1))
    assert len(server.answered) == 40
    assert len(server.seen) <= 43, "the other ways are tried with one question"


def test_dates_and_numbers_say_how_long_to_wait() -> None:
    from classifiers.endpoint.client import _seconds

    assert _seconds("3") == 3.0
    assert _seconds("Fri, 31 Dec 1999 23:59:59 GMT") == 0.0
    assert (_seconds("Fri, 31 Dec 2100 23:59:59 GMT") or 0) > 1e9
    assert _seconds("soon") is None
    assert _seconds("Wed, 21 Oct 99999999999999999999 07:28:00 GMT") is None
    assert _seconds(None) is None


SECRET = "sk-very-secret-0123456789"


def test_a_key_is_sent_and_stands_in_no_file_and_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)

    def echo(request: Request, before: int) -> Say:
        if number(request) == 3:
            return completion(f'{{"reason": "your key is {SECRET}", "score": 1}}')
        return refuse(500, f"bad key {SECRET}") if number(request) == 4 else right(request, before)

    monkeypatch.setenv("JUDGE_KEY", SECRET)
    with ChatServer(echo) as server:
        asked(tmp_path, [server.url], key_env="JUDGE_KEY")
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {SECRET}"}
    with (
        ChatServer(lambda request, before: refuse(401, f"wrong key {SECRET}")) as server,
        pytest.raises(BackendError) as error,
    ):
        asked(tmp_path / "other", [server.url], key_env="JUDGE_KEY")
    assert SECRET not in str(error.value)
    assert SECRET not in caplog.text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(SECRET.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize("escaped", ["sk\\/\\u0061B", "sk/\\u0061\\u0042", "\\u0073k/aB"])
def test_a_key_that_is_echoed_in_escapes_is_taken_out_too(escaped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk/aB")
    client = Client(Endpoint(base_urls=("http://h/v1",), key_env="JUDGE_KEY"))
    assert json.loads(f'"{escaped}"') == "sk/aB"
    assert client.clean(f"so: {escaped}.") == "so: ***."
    assert client.clean(json.dumps(json.dumps(f"so: {escaped}."))).count("***") == 1
    padded = b" " * (1200 - 9 - 3) + b"sk/aB"  # no part of a key is left where what is shown is cut
    found = client._outcome(500, {}, padded)
    assert "sk" not in found.detail


@pytest.mark.parametrize("fault", ["500", "hang"])
def test_what_was_sent_when_patience_ended_counts_as_spent(tmp_path: Path, fault: str) -> None:
    say = refuse(500) if fault == "500" else Say(hang=True)
    with (
        ChatServer(lambda request, before: say) as server,
        pytest.raises(BackendError, match="goes on from there"),
    ):
        asked(tmp_path, [server.url], tries=9, timeout=0.1, patience=0.1, backoff=0.05, concurrency=4)
    paths = files(folder_of(str(tmp_path), ASKER.digest()))
    noted = [spent(path) for path in paths]
    assert sum(one.requests for one in noted) >= sum(server.seen.values()) > 0
    least = sum(server.seen.values()) * sum(ASKER.reserve("text number 0"))
    assert sum(sum(one.tokens) for one in noted) >= least


@pytest.mark.parametrize("key_env", ["sk-abcd", "hf_aBcD0123", "0123", "a b", "AbCdEfGh0123456789aBcDeFgH"])
def test_a_key_in_the_place_of_its_variable_is_refused_and_not_shown(key_env: str) -> None:
    with pytest.raises(RecipeError, match="name of an environment variable") as error:
        Endpoint(base_urls=("http://h/v1",), key_env=key_env)
    assert key_env not in str(error.value)


@pytest.mark.parametrize("key", ["sk-a\nb", "sk-a\x7fb"])
def test_a_key_with_control_characters_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", key)
    with pytest.raises(RecipeError, match="control character") as error:
        Endpoint(base_urls=("http://h/v1",), key_env="JUDGE_KEY").key()
    assert "sk-a" not in str(error.value)


def test_a_base_url_ends_with_its_path() -> None:
    with pytest.raises(RecipeError, match="end with a path") as error:
        Endpoint(base_urls=("http://h/v1?x=hidden-value",))
    assert "hidden-value" not in str(error.value)


def test_a_key_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(RecipeError, match="JUDGE_KEY"):
        asked(tmp_path, ["http://127.0.0.1:1/v1"], key_env="JUDGE_KEY")
    with pytest.raises(RecipeError, match="no secret"):
        Endpoint(base_urls=("http://me:pw@host/v1",))
    with pytest.raises(RecipeError, match="such as http"):
        Endpoint(base_urls=("localhost:8000",))


KILLED = """
import sys
from pathlib import Path
from tests.classifiers.endpoint.test_ask import asked
asked(Path(sys.argv[1]), [sys.argv[2]], timeout=60.0, patience=60.0)
"""


def test_a_killed_call_asks_no_answered_question_again(tmp_path: Path) -> None:
    """The process is killed with kill -9 while eight requests are under way, three times."""
    child: list[subprocess.Popen[bytes]] = []
    stops = [10, 21, 32]  # eight are left to be held at each: whoever has sent one has noted the answers before

    def script(request: Request, before: int) -> Say:
        if stops and len(server.answered) >= stops[0]:
            held.add(number(request))  # different ones: a request may be sent again
            if len(held) == 8:
                os.kill(child[-1].pid, signal.SIGKILL)
            return Say(hang=True)
        return right(request, before)

    with ChatServer(script) as server:
        while stops:
            held: set[int] = set()
            child.append(subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), server.url], cwd=ROOT))
            assert child[-1].wait(60) == -signal.SIGKILL
            del stops[0]
        spent = answers.Spent()
        for path in answers.files(answers.folder_of(str(tmp_path), ASKER.digest())):
            spent = spent.plus(answers.spent(path))
        assert spent.requests == sum(server.seen.values()), "those under way when it died are counted as spent"
        assert None not in scores(asked(tmp_path, [server.url]))
    assert len(server.answered) == 40
    assert set(server.answered.values()) == {1}


def test_memory_holds_one_range_alone(tmp_path: Path) -> None:
    folder = answers.folder_of(str(tmp_path), "x")
    for index in range(4):
        writer = answers.Writer(folder, Range(2, index))
        writer.asked(f"{index * 4:x}000.0", (1, 1))
        writer.ended(f"{index * 4:x}000.0", "ok", answers.Tokens(1, 1), "c")
        writer.close()
    assert Range(2, 1).meets("2-1")
    assert not Range(2, 1).meets("2-2")
    assert Range(2, 1).meets("0-0")
    assert Range(1, 0).meets("2-1")
    assert set(answers.known(folder, Range(2, 1), ["4000.0", "8000.0"])) == {"4000.0"}
    assert set(answers.known(folder, Range(0, 0), ["4000.0", "8000.0"])) == {"4000.0", "8000.0"}
