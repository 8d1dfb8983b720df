"""Dask-CUDA's own cluster, of the pinned release, as winnow starts it: two workers for two GPUs that NVML claims.

Only NVML, the CUDA context and cuDF's options are stand-ins; the wheel is imported as it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.device.test_rapids import ROOT, wheels

STAND_INS = {
    "pynvml.py": """
from types import SimpleNamespace
class NVMLError(Exception): pass
class NVMLError_NotSupported(NVMLError): pass
nvmlInit = lambda: None
nvmlDeviceGetCount = lambda: 2
nvmlDeviceGetHandleByIndex = int
nvmlDeviceGetUUID = lambda handle: f"GPU-{handle}"
nvmlDeviceGetMemoryInfo = lambda handle: SimpleNamespace(total=80 << 30)
nvmlDeviceGetCpuAffinity = lambda handle, words: [1] + [0] * (words - 1)
""",
    "cuda/__init__.py": "",
    "cuda/core.py": """
class Device:
    def __init__(self, *_): pass
    def set_current(self): pass
""",
    "cudf.py": """
told = {}
set_option = told.__setitem__
""",
}
SCRIPT = """
import json, os, sys
from cluster import options
from cluster.device import backend
from cluster.kinds import local_cuda
from cluster.options import ClusterOptions

def look():
    return os.environ["CUDA_VISIBLE_DEVICES"], sys.modules["cudf"].told["spill"]

if __name__ == "__main__":
    from distributed import Client
    options.available_cores, options.available_memory = lambda: 14, lambda: 1 << 40
    backend.why_no_gpu, backend.visible_gpus = lambda: "", lambda: 2
    cluster = local_cuda.cuda_cluster(ClusterOptions(kind="local-cuda"))
    with Client(cluster) as client:
        seen = sorted(client.run(look).values())
    specs = [worker["options"] for worker in cluster.worker_spec.values()]
    print(json.dumps([seen, [spec["nthreads"] for spec in specs], cluster.scheduler_address.split(":")[0]]))
    cluster.close()
"""


def test_dask_cuda_gives_every_gpu_a_worker_of_its_own(tmp_path: Path) -> None:
    found, problem = wheels()
    if problem:
        pytest.skip(f"RAPIDS wheels: {problem}")
    for name, text in STAND_INS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "run.py").write_text(SCRIPT)
    places = os.pathsep.join([str(tmp_path), str(found["dask-cuda"]), str(ROOT)])
    surroundings = {**os.environ, "PYTHONPATH": places, "DASK_DISTRIBUTED__DIAGNOSTICS__NVML": "False"}
    surroundings.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "run.py")], env=surroundings, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    seen, threads, protocol = json.loads(done.stdout.splitlines()[-1])
    assert seen == [["0,1", True], ["1,0", True]]  # the first one is the worker's
    assert (threads, protocol) == ([7, 7], "tls")  # a worker has its share of the cores
