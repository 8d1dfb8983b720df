"""CPU and memory limits of this process by Linux control groups: of containers, Slurm jobs, systemd slices.

Guarantees: the tightest limit between the process's own group and the root counts, in cgroup version 1 and 2; where
no file can be read there is no limit. File cache that can be dropped does not count as used memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")


def cores(root: Path = ROOT) -> float | None:
    """Return the CPU quota of this process in cores; None without a limit."""
    found = [_quota(folder) for folder in folders("cpu", root)]
    return min((f for f in found if f is not None), default=None)


def free_memory(root: Path = ROOT) -> int | None:
    """Return the bytes left under this process's memory limits; None without a limit."""
    found = [_free(folder) for folder in folders("memory", root)]
    return min((f for f in found if f is not None), default=None)


def folders(controller: str, root: Path = ROOT) -> Iterator[Path]:
    """Yield the folder of the process's group of a controller, and those of its visible ancestors."""
    for kind, group in _groups(controller, root):
        for top, mount in _mounts(kind, controller, root):
            inside = PurePosixPath("/", group)
            if inside.is_relative_to(top):
                inside = inside.relative_to(top)
            folder = mount / str(inside).lstrip("/")
            while folder != mount and folder.is_relative_to(mount):
                if folder.is_dir():  # not so where a container sees the host's names
                    yield folder
                folder = folder.parent
            yield mount


def _groups(controller: str, root: Path) -> Iterator[tuple[str, str]]:
    """Yield (file system type, path of the group) from /proc/self/cgroup."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield "cgroup2", path
        elif controller in controllers.split(","):
            yield "cgroup", path


def _mounts(kind: str, controller: str, root: Path) -> Iterator[tuple[str, Path]]:
    """Yield (mounted group, mount point) from /proc/self/mountinfo."""
    for line in _lines(root / "proc/self/mountinfo"):
        left, _, right = line.partition(" - ")
        fields, about = left.split(), right.split()
        if about[0] == kind and (kind == "cgroup2" or controller in about[2].split(",")):
            yield fields[3], root / fields[4].lstrip("/")


def _quota(folder: Path) -> float | None:
    """Return one group's CPU quota in cores; None without a limit."""
    words = _text(folder / "cpu.max").split()
    if not words:
        words = [_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    numbers = [_number(word) for word in words]
    if len(numbers) == 2 and numbers[0] is not None and numbers[1]:
        return numbers[0] / numbers[1]
    return None


def _free(folder: Path) -> int | None:
    """Return the bytes left under one group's memory limit; None without a limit."""
    limit = _number(_text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes"))
    used = _number(_text(folder / "memory.current") or _text(folder / "memory.usage_in_bytes"))
    if limit is None or used is None:
        return None
    return max(0, limit - max(0, used - _reclaimable(folder)))


def _reclaimable(folder: Path) -> int:
    """Return the bytes of inactive file cache, which the kernel drops under pressure."""
    sizes = dict(line.split(" ", 1) for line in _lines(folder / "memory.stat") if " " in line)
    return int(sizes.get("total_inactive_file") or sizes.get("inactive_file") or 0)


def _number(text: str) -> int | None:
    """Return a non-negative integer; None for max, -1 and an empty text."""
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    return "".join(_lines(path)[:1])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
