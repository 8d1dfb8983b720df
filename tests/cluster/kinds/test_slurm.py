"""The Slurm script runs as it is printed (with a stand-in for srun), and the jobs ask for what the recipe says."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.codebase import PACKAGES
from cluster.errors import BackendError, RecipeError
from cluster.kinds import slurm
from cluster.options import ClusterOptions, SlurmOptions
from tests.support import corpora
from tests.support.cluster_runs import outcome, recipe, run
from tests.support.dask_processes import ROOT
from tests.support.run_folders import STAGES

SRUN = '#!/bin/bash\nwhile [[ "$1" == --* ]]; do shift; done\nexec "$@"\n'


def script(**more: Any) -> str:
    given = {"jobs": 3, "cores": 16, "memory": "64GB", "walltime": "12:00:00", **more}
    options = ClusterOptions(kind="slurm", slurm=SlurmOptions(**given))
    return slurm.batch_script(options, ["winnow", "run", "a recipe.yaml"], "/shared/my run", "winnow-x")


def test_the_script_is_valid_bash_with_slurms_options_first(tmp_path: Path) -> None:
    text = script(partition="cpu", account="lab", gpus=2, interface="ib0", directives=("--qos=long",))
    path = tmp_path / "job.sh"
    path.write_text(text)
    subprocess.run(["bash", "-n", str(path)], check=True)
    options = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
    wanted = {"--nodes=3", "--cpus-per-task=16", "--mem=61035M", "--time=12:00:00", "--partition=cpu", "--account=lab"}
    assert wanted | {"--gres=gpu:2", "--qos=long", "--requeue"} <= set(options)
    assert text.splitlines()[1 : 1 + len(options)] == [f"#SBATCH {option}" for option in options]
    assert " -m dask_cuda.cli --scheduler-file " in text
    assert "'/shared/my run'" in text
    assert "winnow run 'a recipe.yaml' --scheduler-file" in text


def test_an_option_that_slurm_would_misread_is_refused() -> None:
    for bad in ({"partition": "a\n#SBATCH --uid=0"}, {"account": "two words"}, {"directives": ("--x=1\nrm -rf /",)}):
        with pytest.raises(RecipeError, match="cannot stand in a batch script"):
            script(**bad)


def test_cores_are_split_into_processes_of_eight_threads() -> None:
    for cores, more, wanted in ((64, {}, (8, 8)), (4, {}, (1, 4)), (64, {"workers": 2}, (2, 32))):
        assert slurm.job_processes_and_threads(ClusterOptions(slurm=SlurmOptions(cores=cores), **more)) == wanted  # type: ignore[arg-type]


def test_the_printed_script_runs_a_recipe_to_its_end(tmp_path: Path) -> None:
    inputs = corpora.write(tmp_path / "in", corpora.corpus(11, 200), 3)
    data = {**recipe(inputs).to_data(), "stages": STAGES}
    data["cluster"] = {"kind": "slurm", "wait": 60, "slurm": {"jobs": 1, "cores": 1}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(data))
    command = [sys.executable, "-P", "-m", "pipelines", "slurm-script", "recipe.yaml", "--run-dir", "run"]
    for name in PACKAGES:  # the user's own folders of these names do no harm
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not the package of winnow')\n")
    path = tmp_path / "bin"
    path.mkdir()
    (path / "srun").write_text(SRUN)
    (path / "srun").chmod(0o755)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SLURM_JOB_ID": "42", "PATH": f"{path}:{os.environ['PATH']}"}
    made = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    bare = {name: value for name, value in env.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        ["bash", "-c", made.stdout], cwd=tmp_path, env=bare, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert outcome(tmp_path / "run") == outcome(run(tmp_path / "expected", inputs, kind="inline"))
    assert not (tmp_path / "run" / "scheduler-42.json").exists()


def test_jobs_ask_slurm_for_what_the_recipe_says() -> None:
    pytest.importorskip("dask_jobqueue")
    asked = SlurmOptions(cores=16, memory="64GB", partition="cpu", account="lab", directives=("--qos=long",))
    with slurm.job_cluster(ClusterOptions(kind="slurm", slurm=asked)) as cluster:
        text = cluster.job_script()
    for line in ("#SBATCH -p cpu", "#SBATCH -A lab", "#SBATCH --cpus-per-task=16", "#SBATCH --qos=long"):
        assert line in text
    assert "--nthreads 8" in text
    assert "--nworkers 2" in text


def test_jobs_with_gpus_start_one_worker_for_each_with_its_share_of_the_cores() -> None:
    """Plain workers would all take a job's first GPU; with one thread each most cores of a job would be idle."""
    pytest.importorskip("dask_jobqueue")
    asked = SlurmOptions(cores=16, memory="64GB", gpus=2)
    with slurm.job_cluster(ClusterOptions(kind="slurm", slurm=asked)) as cluster:
        [line] = [line for line in cluster.job_script().splitlines() if " -m " in line]
    words = line.split()
    assert "dask_cuda.cli" in words
    assert not {"--nworkers", "--nanny", "--no-nanny"} & set(words)
    assert [after for word, after in itertools.pairwise(words) if word == "--nthreads"][-1] == "8"


def test_the_kind_slurm_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(BackendError, match=r"winnow-mix\[slurm\].*slurm-script"):
        slurm.job_cluster(ClusterOptions(kind="slurm"))


REFUSED = """\
import sys
from cluster.errors import BackendError
from cluster.kinds import slurm
from cluster.options import ClusterOptions, SlurmOptions

try:
    slurm.start(ClusterOptions(kind="slurm", slurm=SlurmOptions(jobs=2, cores=1, memory="1GB")), sys.argv[1])
except BackendError as error:
    print(error)
"""


@pytest.mark.parametrize("there", [True, False])
def test_a_queue_that_takes_no_job_is_an_error_with_what_it_said(tmp_path: Path, there: bool) -> None:
    pytest.importorskip("dask_jobqueue")
    if there:
        (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition: nowhere' >&2\nexit 1\n")
        (tmp_path / "sbatch").chmod(0o755)
    command = [sys.executable, "-c", REFUSED, str(tmp_path)]
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert ("invalid partition: nowhere" if there else "not on the PATH") in ended.stdout, ended.stderr
