"""What `winnow doctor` shows: backend and why, devices, driver, versions, memory, models, what is missing.

Guarantees: with a recipe, the answers are those of the workers its cluster section starts, not of this process;
nothing is written but, where workers need one, a temporary folder.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster.device import agree, backend
from cluster.engines import Engine
from cluster.errors import BackendError
from cluster.options import ClusterOptions, available_cores, available_memory
from cluster.start import start
from cluster.version import VERSION

OPTIONAL = {  # module -> what it is for, and the extra that brings it
    "dask_cuda": ("one worker for each GPU (cluster.kind local-cuda)", "gpu-cu13"),
    "dask_jobqueue": ("Slurm jobs (cluster.kind slurm)", "slurm"),
    "huggingface_hub": ("models from the hub", "hf"),
    "onnxruntime": ("embeddings onnx:…", "semantic"),
    "ray": ("Ray clusters (cluster.kind ray)", "ray"),
    "s3fs": ("paths s3://…", "s3"),
    "gcsfs": ("paths gs://…", "gcs"),
    "sentence_transformers": ("embeddings sentence-transformers:…", "torch"),
    "sklearn": ("k-means of semantic_dedup on CPUs", "semantic"),
    "tokenizers": ("mix.tokenizer, embeddings onnx:…", "semantic"),
    "transformers": ("quality models hf:…", "torch"),
}


@dataclass(frozen=True)
class Diagnosis:
    """What was found; `problem` is set where the wanted backend cannot be had."""

    winnow: str
    backend: str
    reason: str
    problem: str
    cores: int
    memory: int
    processes: list[dict[str, Any]]
    missing: dict[str, dict[str, str]]
    models: dict[str, str]

    def as_data(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return dict(self.__dict__)


def examine(options: ClusterOptions | None = None) -> Diagnosis:
    """Look at this process, or at the workers of a cluster that is started for it and closed again."""
    problem, name, reason = "", "", ""
    wanted = options.backend if options else "auto"
    processes = [_describe_process(0)]
    try:
        processes = processes if options is None else _describe_workers(options)
        found = agree.resolve_backend(wanted, [_probe(process) for process in processes])
        name, reason = found.name, found.reason
    except BackendError as error:
        problem = str(error)
    return Diagnosis(
        winnow=VERSION,
        backend=name,
        reason=reason,
        problem=problem,
        cores=available_cores(),
        memory=available_memory(),
        processes=processes,
        missing=missing(),
        models=_models(),
    )


def _describe_process(_: int) -> dict[str, Any]:
    return backend.describe_process()


def _describe_workers(options: ClusterOptions) -> list[dict[str, Any]]:
    """Return what the workers that answered tell about themselves, each process once."""
    import dataclasses

    kind = "local-cuda" if (options.kind, options.backend) == ("local", "gpu") else options.kind  # as a run would
    engine: Engine = start(dataclasses.replace(options, kind=kind, backend="cpu"))
    try:
        answers = engine.map(_describe_process, range(4 * engine.workers))
    finally:
        engine.close()
    return list({(a["host"], a["pid"]): a for a in answers}.values())


def _probe(process: dict[str, Any]) -> backend.Probe:
    device = backend.Device(**process["device"]) if process["device"] else None
    return backend.Probe(host=process["host"], pid=process["pid"], problem=process["problem"], device=device)


def missing() -> dict[str, dict[str, str]]:
    """Return the optional modules that are not installed: what each is for, and its extra."""
    return {
        name: {"for": purpose, "extra": extra}
        for name, (purpose, extra) in OPTIONAL.items()
        if importlib.util.find_spec(name) is None
    }


def _models() -> dict[str, str]:
    from classifiers.models import list_models

    return {model.name: model.path or "not fetched (winnow models fetch)" for model in list_models()}


def render_diagnosis(found: Diagnosis) -> str:
    """Return the diagnosis as text."""
    lines = [f"winnow   {found.winnow}"]
    lines.append(f"backend  {found.backend}: {found.reason}" if found.backend else f"backend  none: {found.problem}")
    lines.append(f"here     {found.cores} cores, {found.memory / 1e9:.1f} GB free")
    for process in found.processes:
        lines += _process_lines(process)
    lines.append("models   " + ("; ".join(f"{name}: {path}" for name, path in found.models.items()) or "none"))
    if found.missing:
        lines.append("not installed (only needed for what stands beside it):")
        lines += [f"  {name}: {what['for']}; extra {what['extra']}" for name, what in found.missing.items()]
    return "\n".join(lines)


def _process_lines(process: dict[str, Any]) -> Sequence[str]:
    device = process["device"]
    lines = [f"process  {process['host']}, {process['pid']}: {process['problem'] or 'can compute on its GPU'}"]
    if device:
        gpu = f"{device['name']}, {device['free'] / 1e9:.1f} of {device['memory'] / 1e9:.1f} GB free"
        driver, runtime = (backend.format_cuda_version(device[name]) for name in ("driver", "runtime"))
        lines.append(f"  device {gpu}, driver CUDA {driver}, runtime CUDA {runtime}")
    lines.append("  " + ", ".join(f"{name} {version}" for name, version in process["versions"].items()))
    return lines
