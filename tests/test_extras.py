"""Adapters with the real packages of the extras torch, nemo and presidio, on small models made here (make test-extras).

Each test skips where its package is missing. Published weights are never used.
"""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from classifiers import quality
from classifiers.base import Scores
from classifiers.hf_model import HuggingFaceClassifier
from cluster.errors import RecipeError
from stages.document_filter import DocumentFilter
from stages.pii import Pii
from stages.quality import Quality

WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrs"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SPREAD = {"initializer_range": 0.5}  # texts differ in their scores without training


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def sentences(count: int, longest: int) -> list[str]:
    rng = random.Random(5)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, longest))) for _ in range(count)]


def tokenizer(folder: Path, longest: int) -> Any:
    """Write a tokenizer of whole words into a model folder; return it."""
    tokenizers, transformers = importlib.import_module("tokenizers"), importlib.import_module("transformers")
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    found = transformers.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=longest, **names)
    found.save_pretrained(folder)
    return found


def one_by_one(model: Any, words: Any, texts: list[str], longest: int) -> np.ndarray[Any, Any]:
    """Return the logits of each text alone, as the model cards compute them."""
    torch: Any = importlib.import_module("torch")
    found = []
    with torch.inference_mode():
        for text in texts:
            out = model(**words(text, return_tensors="pt", truncation=True, max_length=longest))
            found.append((out if torch.is_tensor(out) else out.logits).reshape(-1).numpy())
    return np.array(found, np.float64)


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of fineweb-edu-classifier's architecture: BERT with one output and no activation."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("hf") / "fineweb-edu-classifier"
    tokenizer(folder, 512)
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(WORDS) + 4, num_labels=1, problem_type="regression", **SIZES, **SPREAD
    )
    model = transformers.BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.mul_(1.5)
        model.classifier.bias.fill_(2.5)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def deberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with the layout of quality-classifier-deberta: backbone, dropout, linear at the first token."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("hf")
    base, folder = root / "base", root / "quality-classifier-deberta"
    more = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_position_embeddings": 1024}
    transformers.DebertaV2Config(vocab_size=len(WORDS) + 4, **more, **SIZES, **SPREAD).save_pretrained(base)
    tokenizer(folder, 10**9)
    labels = {0: "High", 1: "Medium", 2: "Low"}
    config = {"model_type": "deberta-v2", "base_model": str(base), "fc_dropout": 0.2, "id2label": labels}
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(2)
    backbone = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(base))
    head = torch.nn.Linear(SIZES["hidden_size"], 3)
    weights = {f"model.{name}": value for name, value in backbone.state_dict().items()}
    weights |= {"fc.weight": head.weight.detach() * 3, "fc.bias": head.bias.detach()}
    importlib.import_module("safetensors.torch").save_file(weights, folder / "model.safetensors")
    return folder


def shuffled(model: HuggingFaceClassifier, texts: list[str]) -> Scores:
    """Return the scores of the texts, asked for in another order and put back."""
    order = np.random.default_rng(3).permutation(len(texts))
    found = model.score(column([texts[i] for i in order]))
    back = np.argsort(order)
    return Scores(found.value[back], found.label[back])


def test_a_regressor_gives_the_numbers_of_each_text_alone(regressor: Path) -> None:
    transformers = pytest.importorskip("transformers")
    texts = sentences(60, 900)  # many are longer than 512 tokens
    alone = transformers.BertForSequenceClassification.from_pretrained(regressor).eval()
    expected = one_by_one(alone, transformers.AutoTokenizer.from_pretrained(regressor), texts, 512)[:, 0]
    model = HuggingFaceClassifier(str(regressor))
    found = model.score(column(texts))
    np.testing.assert_allclose(found.value, expected, atol=1e-4)
    assert found.label.tolist() == np.clip(np.round(expected), 0, 5).astype(int).tolist()
    assert len(set(found.label.tolist())) > 2
    assert model.labels == ("0", "1", "2", "3", "4", "5")
    np.testing.assert_allclose(shuffled(model, texts).value, found.value, atol=1e-5)


def test_the_deberta_layout_gives_high_medium_and_low(deberta: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = HuggingFaceClassifier(str(deberta))
    assert (model.labels, model.max_chars, model.max_tokens) == (("High", "Medium", "Low"), 6000, 1024)
    texts = sentences(40, 1400)
    weights = importlib.import_module("safetensors.torch").load_file(deberta / "model.safetensors")
    base = json.loads((deberta / "config.json").read_text())["base_model"]
    backbone = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(base)).eval()
    backbone.load_state_dict({k.removeprefix("model."): v for k, v in weights.items() if k.startswith("model.")})

    def alone(**given: Any) -> Any:
        first = backbone(given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state[:, 0]
        return first @ weights["fc.weight"].T + weights["fc.bias"]

    words = transformers.AutoTokenizer.from_pretrained(deberta)
    logits = one_by_one(alone, words, [text[:6000] for text in texts], 1024)
    expected = torch.softmax(torch.tensor(logits), 1).numpy()
    found = model.score(column(texts))
    np.testing.assert_allclose(found.value, expected[:, 0], atol=1e-5)
    assert found.label.tolist() == expected.argmax(1).tolist()
    assert len(set(found.label.tolist())) > 1


def test_what_stands_behind_the_cut_is_not_seen(deberta: Path, regressor: Path) -> None:
    model = HuggingFaceClassifier(str(deberta))
    text = ("bal " * 1500)[:6000]  # more than 1,024 tokens
    seen, more, other = model.score(column([text, text + "dem " * 500, "dem " + text])).value
    assert seen == pytest.approx(more, abs=1e-6)
    assert abs(seen - other) > 1e-6
    long = "x" * 5_992 + " dem gon"  # few tokens: here the characters decide
    assert np.ptp(model.score(column([long, long + " fur" * 9])).value) == pytest.approx(0, abs=1e-6)
    tokens = HuggingFaceClassifier(str(regressor)).score(column(["bal " * 510, "bal " * 510 + "dem " * 90])).value
    assert tokens[0] == pytest.approx(tokens[1], abs=1e-5)


def test_the_stage_keeps_by_label_and_another_label_can_be_the_score(deberta: Path) -> None:
    pytest.importorskip("torch")
    texts = sentences(30, 60)
    stage = Quality(model=f"hf:{deberta}", keep_labels=("High", "Medium"))
    facts = stage.annotate(pa.table({"text": column(texts)}))
    dropped = stage.decide(facts).dropped.tolist()
    assert dropped == [label == "Low" for label in facts.column("quality_label").to_pylist()]
    low = quality.load(quality.Settings(spec=f"hf:{deberta}", positive_label="Low")).score(column(texts)).value
    assert (low + np.array(facts.column("quality_score").to_pylist()) < 1).all()
    with pytest.raises(RecipeError, match="High, Medium, Low"):
        quality.load(quality.Settings(spec=f"hf:{deberta}", positive_label="Best"))


def test_a_sentence_transformers_model_gives_its_own_embeddings(tmp_path: Path) -> None:
    from classifiers import embeddings

    library, transformers = pytest.importorskip("sentence_transformers"), pytest.importorskip("transformers")
    tokenizer(tmp_path / "bert", 64)
    importlib.import_module("torch").manual_seed(4)
    config = transformers.BertConfig(vocab_size=len(WORDS) + 4, max_position_embeddings=64, **SIZES, **SPREAD)
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    made = library.SentenceTransformer(str(tmp_path / "bert"), device="cpu")  # adds mean pooling
    made.save(str(tmp_path / "model"))
    texts = sentences(30, 100)
    settings = embeddings.Settings(spec=f"sentence-transformers:{tmp_path / 'model'}", max_tokens=256)
    found = embeddings.load(settings).embed(column(texts))
    alone = np.stack([made.encode(text) for text in texts])
    np.testing.assert_allclose(found, alone, atol=1e-3)


def test_filters_of_nemo_curator_judge_by_import_path() -> None:
    pytest.importorskip("nemo_curator")
    path = "nemo_curator.stages.text.filters.heuristic:WordCountFilter"
    stage = DocumentFilter(filter=path, arguments=("min_words=2", "max_words=5"))
    facts = stage.annotate(pa.table({"text": column(["one two three", "word " * 9, "one"])}))
    assert facts.column("score").to_pylist() == [3, 9, 1]
    assert stage.decide(facts).dropped.tolist() == [False, True, True]


def test_a_classifier_that_nemo_curator_lacks_is_named() -> None:
    pytest.importorskip("nemo_curator")
    with pytest.raises(RecipeError, match=r"it has .*FineWebEduClassifier.*QualityClassifier"):
        quality.load(quality.Settings(spec="nemo:NoSuchClassifier"))


def test_presidio_finds_with_a_model_named_in_its_configuration(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    pytest.importorskip("presidio_analyzer")
    spacy.blank("en").to_disk(tmp_path / "blank")
    config = tmp_path / "presidio.yaml"
    model = {"lang_code": "en", "model_name": str(tmp_path / "blank")}
    nlp = {"nlp_engine_name": "spacy", "models": [model]}
    config.write_text(json.dumps({"supported_languages": ["en"], "nlp_configuration": nlp}))
    text = "é mail john.smith@example.com, card 4111 1111 1111 1111, server 8.8.8.8"
    stage = Pii(detector="presidio", presidio_config=str(config))
    spans = stage.annotate(pa.table({"text": column([text, "nothing"])})).column("spans").to_pylist()
    found = {(s["kind"], text.encode()[s["start"] : s["stop"]].decode()) for s in spans[0]}
    assert found == {("email", "john.smith@example.com"), ("credit_card", "4111 1111 1111 1111"), ("ip", "8.8.8.8")}
    assert spans[1] == []
