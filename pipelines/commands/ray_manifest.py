"""A RayJob manifest for Kubernetes: what `winnow submit --manifest` prints, for `kubectl apply -f -`.

Guarantees: the fields are those of KubeRay's ray.io/v1; the recipe travels in a ConfigMap and holds no secret, or there
is an error. The operator makes a Ray cluster for the job, its autoscaler the nodes, and both go when the job has ended.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import Any

import yaml

from cluster import storage
from cluster.errors import RecipeError
from pipelines.recipe.recipe import Recipe

RECIPE_AT = "/etc/winnow"
HEAD = {"cpu": "2", "memory": "8Gi"}
CORES, MEMORY = 8, "32Gi"  # of a worker node, where the recipe says nothing
KEPT_SECONDS = 3600  # that the finished job can still be looked at
SPOT = [  # taints of spot nodes on the usual clouds; a node without them is taken as well
    {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
    {"key": "kubernetes.azure.com/scalesetpriority", "operator": "Equal", "value": "spot", "effect": "NoSchedule"},
    {"key": "karpenter.sh/capacity-type", "operator": "Equal", "value": "spot", "effect": "NoSchedule"},
    {"key": "spot", "operator": "Exists", "effect": "NoSchedule"},
]


@dataclass(frozen=True, kw_only=True)
class Pods:
    """What the pods are made of. claim: volume claim with inputs and run folder, unless an object store holds them.

    nodes: worker pods at most; spot: they tolerate nodes that may be taken away.
    """

    image: str
    claim: str | None = None
    nodes: int = 4
    spot: bool = False


def ray_job(recipe: Recipe, run_dir: str, pods: Pods) -> str:
    """Return ConfigMap and RayJob as YAML.

    Raises RecipeError where the run folder lies on no storage of the cluster, or the recipe holds a secret.
    """
    if storage.is_local(run_dir) and (pods.claim is None or not os.path.isabs(run_dir)):
        raise RecipeError(
            f"--run-dir {run_dir} lies in a pod and goes with it. Name a bucket (s3://…), or give --claim NAME and an "
            "absolute path below /data, where the claim is mounted."
        )
    if recipe.to_yaml(secrets=True) != recipe.to_yaml():
        raise RecipeError(
            "the recipe holds a secret, which a manifest would show. Leave it out, or use `winnow submit`."
        )
    name = f"winnow-{_label(recipe.name)}"
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"recipe.yaml": recipe.to_yaml()},
    }
    command = ["python", "-P", "-m", "pipelines", "run", f"{RECIPE_AT}/recipe.yaml", "--run-dir", run_dir]
    job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name},
        "spec": {
            "entrypoint": shlex.join([*command, "--cluster", "ray"]),
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "backoffLimit": 2,
            "rayClusterSpec": _cluster(recipe, name, pods),
        },
    }
    return yaml.safe_dump_all([config, job], sort_keys=False)


def _cluster(recipe: Recipe, name: str, pods: Pods) -> dict[str, Any]:
    cores = recipe.cluster.threads_per_worker or CORES
    workers = {"cpu": str(cores), "memory": _memory(recipe.cluster.memory_limit)}
    least = 0 if recipe.cluster.cores is None else min(pods.nodes, -(-recipe.cluster.cores // cores))
    return {
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {"upscalingMode": "Default", "idleTimeoutSeconds": 120},
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
            "template": _pod(name, pods, "ray-head", HEAD, spot=False),
        },
        "workerGroupSpecs": [
            {
                "groupName": "workers",
                "replicas": max(1, least),
                "minReplicas": max(1, least),
                "maxReplicas": pods.nodes,
                "rayStartParams": {},
                "template": _pod(name, pods, "ray-worker", workers, spot=pods.spot),
            }
        ],
    }


def _pod(name: str, pods: Pods, container: str, resources: dict[str, str], *, spot: bool) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [{"name": "recipe", "mountPath": RECIPE_AT, "readOnly": True}]
    volumes: list[dict[str, Any]] = [{"name": "recipe", "configMap": {"name": name}}]
    if pods.claim is not None:
        mounts.append({"name": "data", "mountPath": "/data"})
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": pods.claim}})
    spec: dict[str, Any] = {
        "containers": [
            {
                "name": container,
                "image": pods.image,
                "resources": {"requests": resources, "limits": resources},
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    if spot:
        spec["tolerations"] = SPOT
    return {"spec": spec}


def _memory(limit: str | None) -> str:
    """Return a quantity of Kubernetes: its units are Ki, Mi, Gi and k, M, G, without a B."""
    return MEMORY if limit is None else re.sub(r"\s|[bB]$", "", limit)


def _label(name: str) -> str:
    """Return a name as Kubernetes allows it: small letters, digits, dashes, 40 characters at most."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "run"
