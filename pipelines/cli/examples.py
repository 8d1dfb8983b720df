"""An example of every command, shown at the end of its `--help`."""

from __future__ import annotations

from typing import Any

EXAMPLES = {
    "audit": "winnow audit RUN --threshold 0.75",
    "calibrate": "winnow calibrate RUN --stage hq --export labels.csv",
    "check": "winnow check mix.yaml",
    "classifier distil": "winnow classifier distil RUN --from llm_judge --out quality.bin",
    "classifier evaluate": "winnow classifier evaluate quality.bin --positive good.jsonl --negative bad.jsonl",
    "classifier score": "winnow classifier score quality.bin data/*.parquet --out scores.parquet",
    "classifier train": "winnow classifier train --positive good.jsonl --negative bad.jsonl --out quality.bin",
    "clean": "winnow clean RUN --dry-run",
    "dedup": "winnow dedup data/*.parquet --out OUT --jaccard-threshold 0.8",
    "diff": "winnow diff RUN1 RUN2 --page diff.html",
    "doctor": "winnow doctor mix.yaml",
    "explain": "winnow explain RUN --url https://example.com/page",
    "export": "winnow export RUN --format megatron --tokenizer gpt2 --sequence-length 4096 -o TOKENS",
    "facts": "winnow facts RUN language_id --out language.parquet",
    "init": "winnow init data/ --out mix.yaml",
    "lists fetch": "winnow lists fetch bad-words-en gsm8k",
    "lists list": "winnow lists list",
    "materialize": "winnow materialize RUN --set mix.target_tokens=1B",
    "minhash": "winnow minhash data/*.parquet --out SIGNATURES",
    "models fetch": "winnow models fetch",
    "models list": "winnow models list",
    "plan": "winnow plan mix.yaml --run-dir RUN",
    "push": "winnow push RUN me/my-mix",
    "report": "winnow report RUN",
    "rules fit": "winnow rules fit ko=reference/ko de=reference/de --out limits.yaml",
    "run": "winnow run mix.yaml --run-dir RUN --limit 10000",
    "schema": "winnow schema > recipe.schema.json",
    "slurm-script": "winnow slurm-script mix.yaml --run-dir RUN > job.sh",
    "stage": "winnow stage RUN near_dedup --jaccard-threshold 0.9",
    "status": "winnow status RUN",
    "submit": "winnow submit mix.yaml --address http://HEAD:8265 --run-dir /shared/RUN",
    "synthesise": "winnow synthesise RUN wiki.yaml --run",
    "trace": "winnow trace TOKENS --step 5000 --batch-size 256 --samples 2560000 --seed 1234",
    "warmup": "winnow warmup",
    "verify": "winnow verify RUN",
}


def add_examples(command: Any) -> None:
    """Put its example at the end of every command."""
    for path, example in EXAMPLES.items():
        found = command
        for name in path.split():
            found = found.commands.get(name) if found is not None else None
        if found is not None:
            found.epilog = f"Example: {example}"
