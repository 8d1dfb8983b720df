"""Drive the fasttext package as its users do: one call of `predict` per text, without its line breaks.

The score of task `quality` is the probability of the label hq, whichever label comes first.
"""

from __future__ import annotations

import fasttext
import protocol

POSITIVE = "__label__hq"

if __name__ == "__main__":
    given = protocol.arguments()
    model = fasttext.load_model(given.model)
    labels = 2 if given.task == "quality" else 1

    def predict(texts: list[str]) -> list[tuple[tuple[str, ...], list[float]]]:
        return [model.predict(text.replace("\n", " "), k=labels) for text in texts]

    found = protocol.measure(given, predict)
    places = [names.index(POSITIVE) if labels == 2 and names else 0 for names, _ in found]
    best = [names[0] if names else "" for names, _ in found]
    scores = [float(values[at]) if len(values) else 0.0 for (_, values), at in zip(found, places, strict=True)]
    protocol.write_answers(given, best, scores)
