"""mosaicml-streaming, imported also beside a torchvision that was built for another torch."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

DECLARED: list[Any] = []  # an operator is there as long as its library is


def streaming_library() -> ModuleType:
    """Return the module `streaming`.

    It imports torchvision, which describes operators that its compiled part brings; where that does not fit torch (as a
    build for CUDA does not fit torch for CPUs), they are declared here by name. No test calls them.
    """
    import torch

    while True:
        try:
            import torchvision  # noqa: F401

            break
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            DECLARED.append(torch.library.Library("torchvision", "FRAGMENT"))
            DECLARED[-1].define(f"{missing[1]}(Tensor input) -> Tensor")
    import streaming

    return streaming
