"""Limits of control groups, version 1 and 2, in jobs and containers."""

from __future__ import annotations

from pathlib import Path

from cluster import cgroups

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1_MOUNTS = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
SLURM = "system.slice/slurmstepd.scope/job_7/step_0/user/task_0"
GB = 10**9


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write a file system with these files below `root`."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def v2(root: Path, group: str, limits: dict[str, str], mount: str = V2_MOUNT) -> Path:
    files = {f"sys/fs/cgroup/{name}": text for name, text in limits.items()}
    return tree(root, {"proc/self/cgroup": f"0::/{group}\n", "proc/self/mountinfo": mount, **files})


def test_a_job_inside_a_larger_group_has_the_smaller_limit(tmp_path: Path) -> None:
    job = "system.slice/slurmstepd.scope/job_7"
    limits = {
        f"{job}/cpu.max": "400000 100000\n",
        f"{job}/memory.max": f"{8 * GB}\n",
        f"{job}/memory.current": f"{3 * GB}\n",
        f"{job}/memory.stat": f"anon 1\ninactive_file {2 * GB}\n",
        f"{SLURM}/cpu.max": "max 100000\n",
        f"{SLURM}/memory.max": "max\n",
    }
    root = v2(tmp_path, SLURM, limits)
    assert cgroups.cores(root) == 4
    assert cgroups.free_memory(root) == 7 * GB  # 3 GB are used, 2 of them by file cache that can go


def test_a_container_sees_its_limits_at_the_mount(tmp_path: Path) -> None:
    limits = {"cpu.max": "150000 100000\n", "memory.max": f"{2 * GB}\n", "memory.current": "0\n"}
    assert cgroups.cores(v2(tmp_path / "own", "", limits)) == 1.5
    host = v2(tmp_path / "host", "kubepods/pod1/abc", limits)  # the host's name, which the container cannot see
    assert cgroups.free_memory(host) == 2 * GB
    bound = V2_MOUNT.replace("0:26 /", "0:26 /kubepods/pod1/abc")
    assert cgroups.free_memory(v2(tmp_path / "bound", "kubepods/pod1/abc", limits, bound)) == 2 * GB


def test_version_1_of_control_groups_counts_too(tmp_path: Path) -> None:
    cpu, memory = "sys/fs/cgroup/cpu,cpuacct/slurm/job_7", "sys/fs/cgroup/memory/slurm/job_7"
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/slurm/job_7\n3:cpu,cpuacct:/slurm/job_7\n0::/\n",
            "proc/self/mountinfo": V1_MOUNTS,
            f"{cpu}/cpu.cfs_quota_us": "300000\n",
            f"{cpu}/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            f"{memory}/memory.limit_in_bytes": f"{4 * GB}\n",
            f"{memory}/memory.usage_in_bytes": f"{1 * GB}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{9 * GB}\n",
        },
    )
    assert cgroups.cores(root) == 3
    assert cgroups.free_memory(root) == 3 * GB


def test_without_control_groups_nothing_is_limited(tmp_path: Path) -> None:
    assert cgroups.cores(tmp_path) is None
    assert cgroups.free_memory(tmp_path) is None
