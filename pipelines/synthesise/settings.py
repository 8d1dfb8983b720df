"""The file that says what is rewritten how: `winnow synthesise RUN wiki.yaml`.

Guarantees: unknown keys and values of the wrong kind are errors that name the key; nothing is opened but the file.
"""

from __future__ import annotations

import hashlib

import yaml
from pydantic import Field, ValidationError

from classifiers.endpoint import prompt as prompts
from classifiers.endpoint.ask import Manner, manner_of
from classifiers.endpoint.asker import Asker
from classifiers.endpoint.prompt import Prompt
from cluster import storage
from cluster.errors import RecipeError
from pipelines.recipe.mix_section import Condition
from pipelines.recipe.sections import NAME, Section
from stages.asking.population import Limits

PLACE = ("name", "base_urls", "key_env", "concurrency", "timeout", "patience", "backoff", "weight", "licence")


class Checks(Section):
    """What an output must be to be used."""

    min_words: int = Field(20, ge=0, description="fewest words")
    min_ratio: float = Field(0.05, ge=0, description="least length, as a multiple of its source's characters")
    max_ratio: float = Field(4.0, gt=0, description="greatest length, as a multiple of its source's characters")
    max_copied: float = Field(0.8, ge=0, le=1, description="greatest share of its runs of 8 words that its source has")
    language: bool = Field(True, description="an output must be in its source's language")


class Synthesis(Section):
    """What is rewritten: which documents of a run, by which models, to what."""

    name: str = Field(description="name of the new dataset")
    where: dict[str, Condition] = Field({}, description="documents that are rewritten, as in a cell of a mix")
    prompts: tuple[str, ...] = Field(min_length=1, description="names of winnow's prompts, or .yaml files")
    base_urls: tuple[str, ...] = Field(min_length=1, description="servers, asked in turn")
    models: tuple[str, ...] = Field(min_length=1, description="models; each rewrites every chunk")
    rounds: int = Field(0, ge=0, le=8, description="of critique and refinement (Self-Refine)")
    sample: int | None = Field(None, ge=1, description="documents, chosen by a hash of their content")
    chunk_tokens: int = Field(512, ge=16, description="most tokens of a chunk of a document")
    min_chunk_tokens: int = Field(30, ge=1, description="shorter documents and ends are left out")
    tokenizer: str = Field("", description="tokenizer.json that counts them; else UTF-8 bytes / 4")
    max_tokens: int = Field(1024, ge=1, description="most tokens of an output")
    temperature: float = Field(0.7, ge=0, le=2)
    seed: int = Field(0, ge=0)
    extra: tuple[str, ...] = Field((), description="further members of a request, KEY=JSON")
    tries: int = Field(2, ge=1, le=20, description="attempts at an output that may have cost tokens")
    checks: Checks = Checks()
    budget_requests: int | None = Field(None, ge=0)
    budget_tokens: int | None = Field(None, ge=0)
    budget_dollars: float | None = Field(None, ge=0)
    price_input: float = Field(0.0, ge=0, description="dollars for a million tokens")
    price_output: float = Field(0.0, ge=0, description="dollars for a million tokens")
    key_env: str = ""
    concurrency: int = Field(64, ge=1)
    timeout: float = Field(300.0, gt=0)
    patience: float = Field(600.0, gt=0)
    backoff: float = Field(1.0, ge=0)
    weight: float = Field(1.0, gt=0, description="of the new dataset in the mix")
    licence: str = Field("", description="default: that of the sources, where all have the same")

    def digest(self) -> str:
        """Return the digest of all that outputs depend on."""
        told = [prompt.digest() for prompt in self.loaded()]
        return hashlib.sha256(repr((self.model_dump(exclude=set(PLACE)), told)).encode()).hexdigest()[:16]

    def loaded(self) -> list[Prompt]:
        """Return the prompts. Raises RecipeError where one is not there or does not ask for plain text."""
        found = [prompts.load(name, "rewrite") for name in self.prompts]
        for name, one in zip(self.prompts, found, strict=True):
            if not one.plain:
                raise RecipeError(f"prompt {name} must ask for plain text, without `answer`.")
        return found

    def asker(self, model: str, prompt: Prompt) -> Asker:
        """Return a model with a prompt; verdicts of critiques are drawn without temperature."""
        return Asker(
            model=model,
            prompt=prompt,
            temperature=self.temperature if prompt.plain else 0.0,
            max_tokens=self.max_tokens,
            seed=self.seed,
            extra=self.extra,
        )

    def manner(self, processes: int) -> Manner:
        """Return how one of so many processes asks."""
        return manner_of(self, processes, strict=self.limits.budget)

    @property
    def limits(self) -> Limits:
        """Sample and budget."""
        return Limits(
            sample=self.sample,
            by="none",
            seed=self.seed,
            requests=self.budget_requests,
            tokens=self.budget_tokens,
            dollars=self.budget_dollars,
            price_asked=self.price_input,
            price_answered=self.price_output,
        )


def load(path: str) -> Synthesis:
    """Return the settings in a file. Raises RecipeError with what is wrong."""
    try:
        data = yaml.safe_load(storage.read_bytes(path))
    except FileNotFoundError:
        raise RecipeError(f"{path} does not exist. Give the YAML file that says what is to be rewritten.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is no YAML: {' '.join(str(error).split())}.") from None
    try:
        found = Synthesis.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise RecipeError(f"{path}: {key}: {first['msg']}.") from None
    if not NAME.fullmatch(found.name):
        raise RecipeError(f"{path}: name must be made of letters, digits, _ and -, got {found.name!r}.")
    if found.budget_dollars is not None and not (found.price_input or found.price_output):
        raise RecipeError(f"{path}: budget_dollars needs price_input and price_output.")
    found.loaded()
    found.manner(1)
    return found
