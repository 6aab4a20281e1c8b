"""What machine this is, how busy it is, and how fast at best."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path

import numpy as np

from bench.measure import Roofline

SIMD = ("fma", "avx", "amx", "sse4_2", "f16c", "asimd", "sve", "i8mm")


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _cpu_info() -> dict[str, str]:
    lines = (_read("/proc/cpuinfo") or "").split("\n\n")[0].splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _caches() -> list[str]:
    folder = "/sys/devices/system/cpu/cpu0/cache/index"
    found = []
    for i in range(8):
        level, kind, size = (_read(f"{folder}{i}/{what}") for what in ("level", "type", "size"))
        if level and kind != "Instruction":
            found.append(f"L{level} {size}")
    return found


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def environment() -> dict[str, object]:
    """Facts that a reader needs to judge the figures."""
    info = _cpu_info()
    flags = info.get("flags", info.get("Features", "")).split()
    return {
        "cpu": info.get("model name", platform.processor() or platform.machine()),
        "cpu_family_model_stepping": [info.get(k) for k in ("cpu family", "model", "stepping")],
        "simd_flags": [flag for flag in flags if flag.startswith(SIMD)],
        "virtual_machine": "hypervisor" in flags,
        "caches": _caches(),
        "cpus": os.cpu_count(),
        "cpus_allowed": len(os.sched_getaffinity(0)),
        "cgroup_cpu_max": _read("/sys/fs/cgroup/cpu.max"),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load_average": list(os.getloadavg()),
        # Then no ordinary program takes its CPU, whatever else runs.
        "real_time": os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR),
        "kernel": platform.release(),
        "system": _system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def commit(root: Path) -> str | None:
    """The commit of the sources, with "+" when they are changed; None outside of a repository."""
    try:
        command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
        return subprocess.run(
            command, cwd=root, check=True, capture_output=True, text=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


class Others:
    """CPU time that other programs took since this was made, in CPUs: 0.5 is half of one."""

    def __init__(self) -> None:
        self.start = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        tick = os.sysconf("SC_CLK_TCK")
        fields = [int(word) / tick for word in Path("/proc/stat").read_text().split()[1:9]]
        user, nice, system, _, _, irq, softirq, steal = fields
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        return time.monotonic(), user + nice + system + irq + softirq + steal, own

    def cpus(self) -> float:
        wall, busy, own = (now - then for now, then in zip(self._now(), self.start))
        return max(0.0, (busy - own) / wall) if wall > 0 else 0.0


def figures(mtlrun: Path) -> tuple[Roofline, str]:
    """The machine's own limits for one thread, and where they come from."""
    command = [mtlrun, "machine", "--json"]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    facts = json.loads(found.stdout)
    read = [(facts["caches"].get(e["level"]), e["bytes_per_second"]) for e in facts["read"]]
    return Roofline(facts["flops"], tuple(read)), f"mtlrun machine ({facts['isa']})"
