"""Drive the fasttext package as its users do: one call of `predict` per text, without its line breaks."""

from __future__ import annotations

import fasttext
import protocol

if __name__ == "__main__":
    given = protocol.arguments()
    model = fasttext.load_model(given.model)
    protocol.measure(given, lambda texts: sum(model.predict(text.replace("\n", " "))[1].size for text in texts))
