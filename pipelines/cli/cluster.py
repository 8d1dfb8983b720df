"""Commands for clusters: submit to Ray, print a Slurm script."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.app import AsJson, BadUsage, Overrides, RecipeArgument, app, given_recipe, say, say_json

if TYPE_CHECKING:
    from pipelines.recipe.recipe import Recipe

JOB_RUN_DIR = typer.Option("--run-dir", "-r", metavar="RUN", help="run folder, where the whole cluster sees it")
GivenRecipe = Annotated[str | None, typer.Argument(metavar="RECIPE", help="recipe file or built-in recipe")]
Address = Annotated[
    str | None, typer.Option(metavar="URL", help="Ray's dashboard, http://HEAD:8265 (default: RAY_ADDRESS)")
]
WorkingDir = Annotated[str | None, typer.Option(metavar="DIR", help="folder to upload; .rayignore says what not")]
Python = Annotated[
    str | None, typer.Option(metavar="PATH", help="Python on the cluster (default: one that has what winnow needs)")
]
Manifest = Annotated[
    bool, typer.Option("--manifest", help="print a RayJob for Kubernetes (KubeRay) instead of submitting")
]
Image = Annotated[str | None, typer.Option(metavar="NAME", help="--manifest: container image with winnow and Ray")]
Claim = Annotated[
    str | None, typer.Option(metavar="NAME", help="--manifest: volume claim that holds RUN's folder and inputs")
]
Nodes = Annotated[int, typer.Option(min=1, help="--manifest: worker nodes at most")]
Spot = Annotated[bool, typer.Option("--spot", help="--manifest: workers may run on spot nodes")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="do not follow the job's log")]
JobId = Annotated[str | None, typer.Option(metavar="ID", help="id of a job that was submitted")]


@app.command()
def submit(
    recipe: GivenRecipe = None,
    address: Address = None,
    run_dir: Annotated[str | None, JOB_RUN_DIR] = None,
    overrides: Overrides = None,
    working_dir: WorkingDir = None,
    python: Python = None,
    manifest: Manifest = False,
    image: Image = None,
    claim: Claim = None,
    nodes: Nodes = 4,
    spot: Spot = False,
    no_wait: NoWait = False,
    status: JobId = None,
    follow: JobId = None,
    stop: JobId = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe on a Ray cluster as a job and follow it; or --status, --follow, --stop a job."""
    from pipelines.commands import submit as ray_jobs

    if sum(x is not None for x in (recipe, status, follow, stop)) != 1:
        raise BadUsage("give one of RECIPE, --status, --follow and --stop.")
    if recipe is None:
        if manifest:
            raise BadUsage("--manifest needs a RECIPE.")
        _ask(ray_jobs.client(address), status, follow, stop, as_json=as_json)
        return
    if run_dir is None:
        raise BadUsage("give --run-dir RUN, a folder that every node of the cluster sees.")
    parsed = given_recipe(recipe, overrides)  # what is wrong with it is bad usage
    if manifest:
        _print_manifest(parsed, run_dir, image, claim=claim, nodes=nodes, spot=spot)
        return
    jobs = ray_jobs.client(address)
    job = ray_jobs.submit(jobs, recipe, run_dir, overrides=overrides or (), working_dir=working_dir, python=python)
    print(f"job {job}: `winnow submit --stop {job}` stops it, --status {job} asks for it", file=sys.stderr)
    if not no_wait:
        _follow(jobs, job)
    elif as_json:
        say_json({"job": job})
    else:
        say(job)


def _print_manifest(recipe: Recipe, run_dir: str, image: str | None, **pods: Any) -> None:
    """Print the RayJob of a recipe. pods : what `Pods` takes beside the image."""
    from pipelines.commands.ray_manifest import Pods, ray_job

    if image is None:
        raise BadUsage("give --image NAME, a container image that has winnow-mix[ray].")
    print(ray_job(recipe, run_dir, Pods(image=image, **pods)), end="")


def _ask(jobs: Any, status: str | None, follow: str | None, stop: str | None, *, as_json: bool) -> None:
    """Follow or stop a job that was submitted, or tell how it is; one id is given."""
    from pipelines.commands import submit as ray_jobs

    if follow is not None:
        _follow(jobs, follow)
    elif stop is not None:
        say(f"{stop}: {ray_jobs.stop(jobs, stop)}")
    else:
        found = ray_jobs.status(jobs, str(status))
        if as_json:
            say_json(found)
        else:
            say(f"{found['job']}: {found['status']}. {found['message']}")


def _follow(jobs: Any, job: str) -> None:
    """Show a job's log to its end; exit code 1 unless it succeeded. Ctrl-C leaves the job running."""
    from pipelines.commands import submit as ray_jobs

    try:
        state = ray_jobs.follow(jobs, job, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        print(f"\njob {job} goes on; `winnow submit --stop {job}` stops it.", file=sys.stderr)
        raise typer.Exit(130) from None
    if state != "SUCCEEDED":
        print(f"job {job}: {state}", file=sys.stderr)
        raise typer.Exit(1)


@app.command("slurm-script")
def slurm_script(
    recipe: RecipeArgument,
    run_dir: Annotated[str, JOB_RUN_DIR],
    overrides: Overrides = None,
) -> None:
    """Print a batch script (sbatch) that runs a recipe on the nodes of the recipe's cluster.slurm section."""
    import os

    from cluster import storage
    from cluster.kinds import slurm
    from pipelines.recipe.to_run import cluster_of_recipe

    parsed = given_recipe(recipe, overrides)
    sets = [part for override in overrides or [] for part in ("--set", override)]
    path = os.path.abspath(recipe) if storage.is_local(recipe) and os.path.exists(recipe) else recipe
    root = os.path.abspath(run_dir)
    command = [sys.executable, "-P", "-m", "pipelines", "run", path, "--run-dir", root, *sets]
    print(slurm.batch_script(cluster_of_recipe(parsed), command, root, f"winnow-{parsed.name}"), end="")
