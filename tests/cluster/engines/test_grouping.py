"""Which tasks of a map are sent to a worker at once."""

from __future__ import annotations

from cluster.engines.grouping import MOST, SECONDS, SHARES, SHORT, TaskQueue


def sizes(tasks: int, threads: int, seconds: float, timeout: float | None = None) -> list[int]:
    """Return how many are done at once, where each takes so many seconds and what was sent ends before more is sent.

    As a worker does, none is begun but the first once the seconds that they were to take have passed.
    """
    queue, found = TaskQueue(range(tasks), timeout), []
    numbers: list[int] = []
    while items := queue.take(threads):
        wanted = queue.wanted(threads)
        begun = next((n for n in range(1, len(items)) if n * seconds >= wanted), len(items))
        queue.back(items[begun:])
        assert [number for number, _ in items] == [task for _, task in items]
        numbers += [number for number, _ in items[:begun]]
        found.append(begun)
        queue.ended(begun, begun * seconds)
    assert numbers == list(range(tasks))
    return found


def test_long_tasks_go_alone_and_short_ones_together() -> None:
    assert sizes(100, 2, SECONDS) == [1] * 100
    assert max(sizes(1000, 2, SECONDS / 10)) == 10
    assert max(sizes(10_000, 2, 1e-6)) == MOST


def test_the_first_go_alone_and_a_few_short_ones_in_few_pieces() -> None:
    assert len(TaskQueue(range(14)).take(2)) == 1
    assert sizes(14, 2, 1e-3) == [1, 6, 4, 2, 1]
    assert sizes(14, 2, 2 * SHORT) == [1] * 14


def test_every_thread_has_some_to_the_end_but_of_what_takes_no_time() -> None:
    for seconds in (1e-6, SHORT / 10, SECONDS / MOST):
        left = 10_000
        for size in sizes(left, 16, seconds):
            assert size == 1 or size <= left / (SHARES * 16) or (size <= -(-left // 16) and size * seconds <= SHORT)
            left -= size


def test_very_many_threads_take_longer_ones_together_but_none_longer_than_the_timeout() -> None:
    assert max(sizes(200_000, 1000, 2.0)) == 10  # 20 s, which is three times what sending 1,000 of them takes
    assert max(sizes(200_000, 1000, 2.0, timeout=12)) == 3


def test_slow_first_tasks_are_forgotten() -> None:
    queue = TaskQueue(range(50_000))
    queue.take(1)
    queue.ended(1, 5.0)
    for _ in range(500):
        queue.ended(len(queue.take(1)), 0.001)
    assert len(queue.take(1)) == MOST


def test_tasks_that_are_sent_one_by_one_come_first() -> None:
    queue = TaskQueue("abcdef")
    queue.ended(1, SECONDS)
    for _ in range(3):
        queue.take(1)
    queue.apart([(0, "a"), (2, "c")])
    assert [queue.take(1) for _ in range(3)] == [[(0, "a")], [(2, "c")], [(3, "d")]]


def test_tasks_that_were_not_begun_come_next_in_their_order_and_every_thread_has_some_to_the_end() -> None:
    queue = TaskQueue(range(1000))
    queue.ended(1, 1e-6)
    first = queue.take(2)
    queue.back(first[1:])
    queue.ended(1, SECONDS)
    assert queue.take(2) == first[1:2]  # long ones go alone
    for _ in range(8):
        queue.ended(100, 1e-6)
    second = queue.take(2)
    assert [number for number, _ in second] == list(range(2, 2 + MOST))
    queue.back(second)
    left, found = 998, []
    while items := queue.take(2):
        assert len(items) <= -(-left // 2)
        left -= len(items)
        found += [number for number, _ in items]
    assert found == list(range(2, 1000))
