"""What is uploaded to a Ray cluster: recipe and code, never a folder that hides winnow's packages."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.codebase import PACKAGES
from cluster.errors import RecipeError
from pipelines.cli.main import main
from pipelines.commands.ray_manifest import Pods, ray_job
from pipelines.commands.ray_python import MISSING, finding
from pipelines.commands.submit import submit
from pipelines.recipe.recipe import load_data
from tests.support.dask_processes import ROOT


class Jobs:
    """Stands in for Ray's job client; keeps what it is given."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}

    def submit_job(self, **given: Any) -> str:
        self.given = given
        return "job"


def recipe(folder: Path) -> str:
    (folder / "in").mkdir()
    path = folder / "recipe.yaml"
    path.write_text("{name: x, datasets: {a: {paths: in}}, stages: [{use: exact_dedup}]}\n")
    return str(path)


def test_a_working_folder_without_code_is_uploaded_with_winnows(tmp_path: Path) -> None:
    jobs = Jobs()
    assert submit(jobs, recipe(tmp_path), "/shared/run", working_dir=str(tmp_path)) == "job"
    assert [Path(p).name for p in jobs.given["runtime_env"]["py_modules"]] == list(PACKAGES)
    assert " -P -m pipelines run recipe.yaml " in jobs.given["entrypoint"]


@pytest.mark.parametrize("name", ["stages", "cluster.py"])
def test_a_working_folder_that_hides_winnows_packages_is_refused(tmp_path: Path, name: str) -> None:
    path = recipe(tmp_path)
    (tmp_path / name).mkdir() if "." not in name else (tmp_path / name).write_text("")
    with pytest.raises(RecipeError, match=f"holds {name.partition('.')[0]}, which would hide"):
        submit(Jobs(), path, "/shared/run", working_dir=str(tmp_path))


def test_a_checkout_is_uploaded_as_it_is() -> None:
    jobs = Jobs()
    submit(jobs, "minimal", "/shared/run", overrides=["datasets.web.paths=x"], working_dir=str(ROOT))
    assert jobs.given["runtime_env"]["py_modules"] == []


# --- the interpreter -------------------------------------------------------------------------------------


def in_a_shell(command: str, folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-c", command], cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False
    )


def python_that(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{body}\n")
    (folder / name).chmod(0o755)


def test_the_first_python_that_has_what_winnow_needs_runs_the_job(tmp_path: Path) -> None:
    python_that(tmp_path / "bin", "python", "exit 1")  # it lacks a package
    python_that(tmp_path / "bin", "python3", 'case "$*" in *find_spec*) exit 0;; esac; echo "run $*"')
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    done = in_a_shell(finding(None) + 'exec "$PYTHON" -m pipelines', tmp_path, path)
    assert (done.returncode, done.stdout) == (0, "run -m pipelines\n")
    assert f"winnow runs with {tmp_path}/bin/python3" in done.stderr


def test_a_job_without_such_a_python_says_so_and_names_the_remedy(tmp_path: Path) -> None:
    python_that(tmp_path / "bin", "mine", "exit 1")
    done = in_a_shell(finding(str(tmp_path / "bin" / "mine")) + "echo ran", tmp_path, "/usr/bin:/bin")
    assert done.returncode == MISSING
    assert done.stdout == ""
    assert "no Python on" in done.stderr
    assert str(tmp_path / "bin" / "mine") in done.stderr
    assert "--python" in done.stderr


# --- the manifest ----------------------------------------------------------------------------------------

RAY_JOB = {  # fields of KubeRay's ray.io/v1, as its Go types name them
    "spec": {
        "entrypoint",
        "runtimeEnvYAML",
        "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished",
        "activeDeadlineSeconds",
        "backoffLimit",
        "submissionMode",
        "suspend",
        "rayClusterSpec",
        "clusterSelector",
        "metadata",
        "jobId",
        "entrypointNumCpus",
        "submitterPodTemplate",
    },
    "rayClusterSpec": {
        "enableInTreeAutoscaling",
        "autoscalerOptions",
        "headGroupSpec",
        "workerGroupSpecs",
        "rayVersion",
        "suspend",
    },
    "autoscalerOptions": {"upscalingMode", "idleTimeoutSeconds", "resources", "image", "env", "volumeMounts"},
    "headGroupSpec": {"rayStartParams", "template", "serviceType", "enableIngress"},
    "workerGroupSpecs": {
        "groupName",
        "replicas",
        "minReplicas",
        "maxReplicas",
        "numOfHosts",
        "rayStartParams",
        "template",
        "scaleStrategy",
    },
}


def parsed(folder: Path, **more: Any) -> Any:
    return load_data({"name": "My-Mix_1", "datasets": {"a": {"paths": "s3://b/in"}}, "stages": [], **more}, "test")


def check_fields(node: Any) -> None:
    for name, inner in node.items():
        for one in inner if isinstance(inner, list) else [inner]:
            if name in RAY_JOB:
                assert set(one) <= RAY_JOB[name], name
            if isinstance(one, dict) and name != "template":
                check_fields(one)


def test_the_manifest_is_a_ray_job_of_kuberay(tmp_path: Path) -> None:
    recipe = parsed(tmp_path, cluster={"threads_per_worker": 16, "memory_limit": "60GiB", "cores": 40})
    text = ray_job(recipe, "s3://b/RUN", Pods(image="me/winnow:1", nodes=9, spot=True))
    config, job = yaml.safe_load_all(text)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    check_fields({"spec": job["spec"]})
    assert config["metadata"]["name"] == job["metadata"]["name"] == "winnow-my-mix-1"
    assert load_data(yaml.safe_load(config["data"]["recipe.yaml"]), "x").digest() == recipe.digest()
    cluster = job["spec"]["rayClusterSpec"]
    [workers] = cluster["workerGroupSpecs"]
    assert (workers["minReplicas"], workers["maxReplicas"]) == (3, 9)
    [container] = workers["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "16", "memory": "60Gi"}
    assert {t["key"] for t in workers["template"]["spec"]["tolerations"]} >= {"cloud.google.com/gke-spot"}
    assert "tolerations" not in cluster["headGroupSpec"]["template"]["spec"]
    assert job["spec"]["entrypoint"].endswith("--run-dir s3://b/RUN --cluster ray")


def test_a_manifest_without_storage_for_the_run_is_refused(tmp_path: Path) -> None:
    for run_dir, claim in (("/data/RUN", None), ("RUN", "mine")):
        with pytest.raises(RecipeError, match="goes with it"):
            ray_job(parsed(tmp_path), run_dir, Pods(image="x", claim=claim))
    assert "claimName: mine" in ray_job(parsed(tmp_path), "/data/RUN", Pods(image="x", claim="mine"))


def test_the_command_prints_a_manifest_and_asks_for_an_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["submit", recipe(tmp_path), "--run-dir", "s3://b/R", "--manifest"]
    assert main(command) == 2
    assert "--image" in capsys.readouterr().err
    assert main([*command, "--image", "me/winnow"]) == 0
    assert "kind: RayJob" in capsys.readouterr().out
