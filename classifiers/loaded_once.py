"""Cache of loaded models that threads share: a model is loaded once, while the others wait for it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def loaded_once(count: int) -> Callable[[F], F]:
    """Decorate a function that loads a model, so that this process holds the last `count`, each of them once.

    functools.lru_cache alone lets two threads that ask at the same time load two. The function must not wait for
    another thread.
    """

    def decorate(load: F) -> F:
        cached = functools.lru_cache(maxsize=count)(load)
        lock = threading.Lock()

        @functools.wraps(load)
        def locked(*given: Hashable) -> Any:
            with lock:
                return cached(*given)

        return cast(F, locked)

    return decorate
