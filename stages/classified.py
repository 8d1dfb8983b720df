"""What the stages that ask a classifier or a column have in common: the model's name, what is read, limits of a score.

Not a stage: `label` and `quality` declare the parameters, each with its own help.
"""

from __future__ import annotations

from classifiers import quality
from cluster.errors import RecipeError
from stages.core.stage import ShardStage
from stages.inputs.columns import COLUMN


class Classified(ShardStage):
    """Base class of stages with a parameter `model`: a spec of classifiers/quality.py, or column:NAME."""

    model: str
    min_score: float | None
    max_score: float | None

    def validate(self) -> None:
        if not self._column:
            try:
                quality.split_spec(self.model)
            except RecipeError as error:
                sentence = str(error).removesuffix(".").removeprefix("model ")
                raise RecipeError(f"model {sentence} (stage {self.name}).") from None
        if self.min_score is not None and self.max_score is not None and self.min_score > self.max_score:
            raise self.error("min_score", self.min_score, f"at most max_score ({self.max_score})")

    @property
    def _column(self) -> str:
        return self.model[len(COLUMN) :] if self.model.startswith(COLUMN) else ""

    @property
    def costly(self) -> bool:
        return not self._column and quality.split_spec(self.model)[0] in ("onnx", "hf", "nemo", "python")

    @property
    def host_text(self) -> bool:  # fastText models judge texts where they lie, other classifiers take Arrow's
        return not self._column and quality.split_spec(self.model)[0] != "fasttext"

    @property
    def neural(self) -> bool:
        return self.costly

    def columns(self) -> tuple[str, ...]:
        return (self.model,) if self._column else ("text",)

    def model_digest(self) -> str:
        return "" if self._column else quality.digest_of(self.model)
