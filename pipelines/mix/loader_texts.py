"""The texts of loader configurations that are programs; `loaders.py` fills in the numbers."""

WINDOWS = """\
Made with winnow. Shares of tokens, for windows of one length; export each dataset first:
winnow export RUN --dataset NAME --format FORMAT --tokenizer TOKENIZER --sequence-length N -o EXPORTS/NAME\
"""
_HEAD = f'"""{WINDOWS}\n"""\n'
NANOTRON = """
nanotron looks the tokenizer up by its name. Where TOKENIZER is a file, say below `dataset` what the exports hold:
  tokenizer_name: tokenizer.json   (as the first line of EXPORTS/NAME/part-00000.ds.metadata has it, then the next)
  token_size_in_bytes: 2
  vocab_size: 32000                (EXPORTS/NAME/export.json, vocab_size)\
"""

HUGGINGFACE = '''"""Stream the mix at its shares of tokens: python huggingface.py shows the first documents.

Made with winnow. A document with several copies comes several times. Probabilities are per document: shares of tokens
divided by the mean tokens of each dataset's documents.
"""

from pathlib import Path

from datasets import interleave_datasets, load_dataset

ROOT = str(Path(__file__).resolve().parent.parent)
INTERLEAVED = INTERLEAVED_HERE  # the files hold the whole mix in its order already
REPEATED = REPEATED_HERE  # a document with several copies is several rows already
PROBABILITIES = PROBABILITIES_HERE


def repeated(batch):
    """Repeat each document as often as the mix wants it."""
    which = [n for n, copies in enumerate(batch["copies"]) for _ in range(copies)]
    return {name: [values[n] for n in which] for name, values in batch.items()}


def copies_of(part):
    """Return a part with each document as often as the mix wants it."""
    return part if REPEATED else part.map(repeated, batched=True)


def load(split="train", streaming=True, seed=0, stopping_strategy="all_exhausted"):
    """Return the mix as a dataset; held-out documents (split="holdout") as they lie, each once."""
    if split != "train":
        return load_dataset(ROOT, split=split, streaming=streaming)
    if INTERLEAVED:
        return copies_of(load_dataset(ROOT, split=split, streaming=streaming))
    parts = [copies_of(load_dataset(ROOT, name, split=split, streaming=streaming)) for name in PROBABILITIES]
    return interleave_datasets(
        parts, probabilities=list(PROBABILITIES.values()), seed=seed, stopping_strategy=stopping_strategy
    )


if __name__ == "__main__":
    for row in load().take(10):
        print(row["source"], row["text"][:80].replace("\\n", " "))
'''

TORCHTITAN = '''"""Make the mix known to torchtitan: `register()` before training, then `--training.dataset winnow_mix`.

Made with winnow.
"""

import importlib.util
from pathlib import Path


def _huggingface():
    path = Path(__file__).resolve().parent / "huggingface.py"
    spec = importlib.util.spec_from_file_location("winnow_mix_huggingface", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(path, split="train"):
    """Return the mix as torchtitan streams it."""
    return _huggingface().load(split=split)


def sample_text(sample):
    """Return the text of a document."""
    return sample["text"]


def register(name="winnow_mix"):
    """Add the mix to torchtitan's datasets."""
    from torchtitan.hf_datasets import DatasetConfig
    from torchtitan.hf_datasets.text_datasets import DATASETS

    root = str(Path(__file__).resolve().parent.parent)
    DATASETS[name] = DatasetConfig(path=root, loader=load, sample_processor=sample_text)
'''

MEGATRON = (
    _HEAD
    + '''
import sys
from pathlib import Path

SHARES = SHARES_HERE


def blend(exports):
    """Return Megatron's --data-path: a weight before each prefix; prefixes of a dataset share its weight by size."""
    found = []
    for name, share in SHARES.items():
        files = sorted(Path(exports, name).glob("part-*.bin"))
        size = sum(file.stat().st_size for file in files)
        for file in files:
            found += [f"{share * file.stat().st_size / size:.10f}", str(file.with_suffix(""))]
    return found


if __name__ == "__main__":  # --data-path $(python3 PATH_OF_THIS_FILE EXPORTS)
    print(" ".join(blend(sys.argv[1])))
'''
)

LITDATA = (
    _HEAD
    + '''
from pathlib import Path

SHARES = SHARES_HERE


def load(exports, sequence_length, seed=0):
    """Return the mix as a dataset of windows."""
    from litdata import CombinedStreamingDataset, StreamingDataset, TokensLoader

    parts = [
        StreamingDataset(str(Path(exports, name)), item_loader=TokensLoader(block_size=sequence_length), shuffle=True)
        for name in SHARES
    ]
    return CombinedStreamingDataset(parts, seed=seed, weights=list(SHARES.values()), iterate_over_all=False)
'''
)

OLMO = (
    _HEAD
    + '''
from pathlib import Path

SHARES = SHARES_HERE


def sources(exports, max_repetition=1.0):
    """Return the sources of OLMo-core's SourceMixtureDatasetConfig, for exports with --pack concat.

    It takes no label masks beside a mixture, so what fills the windows of other packings would be trained on.
    max_repetition : how often a dataset that is too small for its share may be read; OLMo-core stops without.
    """
    from olmo_core.data.source_mixture import SourceMixtureConfig, SourceMixtureList

    return SourceMixtureList(
        sources=[
            SourceMixtureConfig(
                source_name=name,
                target_ratio=share,
                paths=[str(path) for path in sorted(Path(exports, name).glob("part-*.npy"))],
                max_repetition_ratio=max_repetition,
            )
            for name, share in SHARES.items()
        ]
    )
'''
)
