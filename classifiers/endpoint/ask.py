"""Ask many questions at once: bounded concurrency, answers kept as they come, none asked that is known.

Guarantees: each question is sent until it has an answer of the asked form or `tries` attempts have failed that may have
cost tokens; refusals cost no attempt. What is returned depends on the answers alone, not on their order. A question
whose answer is kept is not sent. Memory: the questions and answers of one call.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from classifiers.endpoint.answers import NONE, OK, UNSENT, Known, Range, Tokens, Writer, describe, folder_of, known
from classifiers.endpoint.asker import MODES, Asker
from classifiers.endpoint.client import CUT_OFF, Client, Outcome
from classifiers.endpoint.servers import Server, Servers
from classifiers.endpoint.settings import Endpoint
from cluster.errors import BackendError

LOG = logging.getLogger("winnow.endpoint")
TOLD = 10.0  # seconds between two lines of the log
INVALID = "invalid_answer"
LOST = "interrupted"
UNFIT_ALIKE = 8  # requests that a server does not take, before any that it takes: then it takes none


@dataclass(frozen=True)
class Question:
    """A question: its key in the answers, the text as it is asked, the number of the vote."""

    key: str
    text: str
    vote: int = 0


@dataclass(frozen=True)
class Reply:
    """The answer to a question, or the reason why there is none."""

    content: str | None
    reason: str = ""


@dataclass
class Counts:
    """What one call did, for progress and log."""

    known: int = 0
    answered: int = 0
    failed: int = 0
    refused: int = 0
    tokens: Tokens = NONE
    began: float = field(default_factory=time.monotonic)

    def line(self, left: int) -> str:
        """Return counts and rates in words."""
        seconds = max(1e-3, time.monotonic() - self.began)
        every = self.tokens.asked + self.tokens.answered
        return (
            f"{self.answered:,} answers, {self.answered / seconds:,.1f}/s, {every / seconds:,.0f} tokens/s, "
            f"{self.failed:,} failed, {self.refused:,} refused, {self.known:,} known, {left:,} to go"
        )


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How questions are asked. strict: attempts that were under way when a run died count among the `tries`."""

    endpoint: Endpoint
    tries: int = 3
    strict: bool = False


class ServerSettings(Protocol):
    """Settings of servers, as recipes and files of settings have them; see `Endpoint`."""

    @property
    def base_urls(self) -> tuple[str, ...]: ...
    @property
    def key_env(self) -> str: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def timeout(self) -> float: ...
    @property
    def patience(self) -> float: ...
    @property
    def backoff(self) -> float: ...
    @property
    def tries(self) -> int: ...


def manner_of(servers: ServerSettings, processes: int, *, strict: bool) -> Manner:
    """Return how one of so many processes asks: with its share of the requests that may wait at one time."""
    endpoint = Endpoint(
        base_urls=servers.base_urls,
        key_env=servers.key_env,
        concurrency=max(1, servers.concurrency // processes),
        timeout=servers.timeout,
        patience=max(servers.patience, servers.timeout),
        backoff=servers.backoff,
    )
    return Manner(endpoint=endpoint, tries=servers.tries, strict=strict)


def ask(
    root: str,
    asker: Asker,
    manner: Manner,
    part: Range,
    questions: Sequence[Question],
    accept: Callable[[str], bool],
) -> tuple[list[Reply], Counts]:
    """Return a reply to every question, asked or known, and what was done.

    Parameters
    ----------
    root : run folder, which keeps the answers.
    part : range of keys that all questions lie in.
    accept : tells whether an answer has the asked form.

    Raises
    ------
    BackendError
        when no server can be used, or none answers for `patience` seconds; the answers so far are kept.
    """
    folder = folder_of(root, asker.digest())
    distinct = {question.key: question for question in questions}
    have = known(folder, part, distinct)
    counts = Counts()
    replies = {key: reply for key in distinct if (reply := kept_reply(have.get(key), manner, accept)) is not None}
    counts.known = len(replies)
    open_ = [question for key, question in distinct.items() if key not in replies]
    if open_:
        describe(folder, asker.described())
        writer = Writer(folder, part)
        try:
            asking = _Asking(asker, manner, writer, accept, counts, have)
            replies |= asyncio.run(asking.all(open_))
        finally:
            writer.close()
    return [replies[question.key] for question in questions], counts


def kept_reply(one: Known | None, manner: Manner, accept: Callable[[str], bool]) -> Reply | None:
    """Return the reply to a question of which something is kept; None where it is still to be asked."""
    if one is None:
        return None
    if one.content is not None and accept(one.content):
        return Reply(one.content)
    if one.content is not None:  # kept by a winnow that took this form
        return Reply(None, INVALID)
    if one.failures and one.failures[-1] == "bad_request":
        return Reply(None, one.failures[-1])
    spent = len(one.failures) + (one.under_way if manner.strict else 0)
    return Reply(None, one.failures[-1] if one.failures else LOST) if spent >= manner.tries else None


class _Asking:
    """The state of one call while its questions are asked."""

    def __init__(
        self,
        asker: Asker,
        manner: Manner,
        writer: Writer,
        accept: Callable[[str], bool],
        counts: Counts,
        have: dict[str, Known],
    ) -> None:
        self.asker, self.manner, self.writer, self.accept = asker, manner, writer, accept
        self.counts, self.have = counts, have
        endpoint = manner.endpoint
        self.servers = Servers(len(endpoint.base_urls), endpoint.concurrency, endpoint.backoff)
        self.good = self.told = time.monotonic()
        self.last = ""  # what a server said last that was no answer
        self.taken = self.unfit = 0
        self.left = 0
        self.sending: set[str] = set()  # questions that a server may have

    async def all(self, questions: Sequence[Question]) -> dict[str, Reply]:
        """Ask the questions; return the reply to each by its key."""
        self.left = len(questions)
        found: dict[str, Reply] = {}
        waiting = iter(questions)
        async with Client(self.manner.endpoint) as client:
            workers = min(self.manner.endpoint.concurrency, len(questions))
            tasks = [asyncio.ensure_future(self._work(client, waiting, found)) for _ in range(workers)]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        LOG.info("asked %s: %s", self.asker.model, self.counts.line(self.left))
        return found

    async def _work(self, client: Client, waiting: Iterator[Question], found: dict[str, Reply]) -> None:
        for question in waiting:
            found[question.key] = await self._ask(client, question)
            self.left -= 1
            now = time.monotonic()
            if now - self.told >= TOLD:
                self.told = now
                LOG.info("asking %s: %s", self.asker.model, self.counts.line(self.left))

    async def _ask(self, client: Client, question: Question) -> Reply:
        """Ask one question until it has a reply."""
        one = self.have.get(question.key, Known())
        attempt = len(one.failures)
        spent = attempt + (one.under_way if self.manner.strict else 0)
        reason, broken = LOST, set[int]()
        while spent < self.manner.tries:
            most = self.asker.reserve(question.text)
            self.writer.asked(question.key, most)
            try:
                outcome = await self._sent(client, question, attempt, broken)
            except BaseException:
                if question.key not in self.sending:
                    self.writer.ended(question.key, UNSENT, NONE)
                raise
            tokens = outcome.tokens or Tokens(*most)
            attempt, spent = attempt + 1, spent + 1
            if outcome.kind == "answer" and self.accept(outcome.content):
                self.writer.ended(question.key, OK, tokens, outcome.content)
                self._count(tokens, answered=1)
                return Reply(outcome.content)
            reason = outcome.reason or INVALID
            if outcome.kind == "unfit":
                tokens = NONE
                spent = self.manner.tries
            self.writer.ended(question.key, reason, tokens)
            self._count(tokens, failed=1)
            if outcome.kind == "failed":
                self._check_patience(time.monotonic())  # after its end is noted: it may have cost tokens
        return Reply(None, reason)

    def _count(self, tokens: Tokens, *, answered: int = 0, failed: int = 0) -> None:
        self.counts.answered += answered
        self.counts.failed += failed
        self.counts.tokens = self.counts.tokens.plus(tokens)

    async def _sent(self, client: Client, question: Question, attempt: int, broken: set[int]) -> Outcome:
        """Send a question until a server takes it; return what came of it: an answer, failed or unfit.

        broken : servers that have failed with it, put to use last; one more may be added.
        """
        mode = None
        while True:
            server = await self._free(broken)
            place = server.mode if mode is None else mode
            mark = server.mark
            body = self.asker.body(question.text, mode=self._mode(place), vote=question.vote, attempt=attempt)
            self.sending.add(question.key)
            try:
                outcome = await client.send(server.number, body)
            finally:
                server.busy -= 1
            self.sending.discard(question.key)
            now = time.monotonic()
            if outcome.kind == "answer" or outcome.reason in ("no_content", CUT_OFF):
                server.mode, server.proven = place, True
                self.servers.answered(server)
                self.good, self.taken = now, self.taken + 1
                return outcome
            self.last = outcome.detail or outcome.reason
            if outcome.kind == "unfit" and not server.proven and place + 1 < len(self.asker.modes):
                mode = place + 1  # perhaps it does not know this way of asking for a form
                continue
            if outcome.kind == "unfit":
                self._check_unfit()
                return outcome
            if outcome.kind == "failed":
                self.servers.failed(server, mark, now)
                broken.add(server.number)
                return outcome
            self.counts.refused += 1
            if outcome.kind == "fatal":
                server.dead = self.last
            else:
                self.servers.refused(server, mark, now, outcome.wait)
                self._check_patience(now)

    def _mode(self, place: int) -> str:
        return self.asker.modes[place] if self.asker.modes else MODES[-1]

    async def _free(self, broken: Collection[int]) -> Server:
        """Return a server that may be asked, as soon as there is one. Raises BackendError where none comes back."""
        while True:
            now = time.monotonic()
            if server := self.servers.take(now, broken):
                return server
            if dead := self.servers.dead():
                raise BackendError(f"no server of {self.asker.model} can be used: {dead}. {self._remedy(dead)}")
            if all(server.until > now or server.dead for server in self.servers.all):
                self._check_patience(now)
            await asyncio.sleep(self.servers.wait(now))

    def _check_patience(self, now: float) -> None:
        patience = self.manner.endpoint.patience
        if now - self.good > patience and not self.servers.healthy():
            urls = ", ".join(self.manner.endpoint.base_urls)
            raise BackendError(
                f"no server of {self.asker.model} ({urls}) has answered for {patience:g} seconds (patience). The last "
                f"said: {self.last}. What was answered is kept; the same command goes on from there."
            )

    def _check_unfit(self) -> None:
        self.unfit += 1
        if not self.taken and self.unfit >= UNFIT_ALIKE:
            raise BackendError(
                f"the servers of {self.asker.model} take none of the requests: {self.last}. Parameters may be changed "
                "or left out by extra, such as extra: [seed=null]."
            )

    def _remedy(self, dead: str) -> str:
        if "HTTP 401" in dead or "HTTP 403" in dead:
            return "Name the environment variable of the API key in key_env."
        if "HTTP 404" in dead:
            return "base_urls must end as the server's paths begin (often /v1), and the server must have the model."
        return "Look at base_urls."
