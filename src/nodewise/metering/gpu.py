"""The GPUs of this machine, through NVIDIA's own library, where it and a GPU are there."""

from __future__ import annotations

from typing import Any

__all__ = ["GpuCounters", "open_gpus"]


class GpuCounters:
    """All GPUs together; made by :func:`open_gpus`."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._gpus = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]

    def read(self) -> tuple[float | None, int | None]:
        """The share of the last moment in which they computed (0 to 1, mean), and the bytes of their memory in use.

        None for what a GPU does not tell, as the share of one that is partitioned.
        """
        try:
            shares = [self._nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100 for gpu in self._gpus]
            fraction = sum(shares) / len(shares)
        except self._nvml.NVMLError:
            fraction = None
        try:
            memory_bytes = sum(self._nvml.nvmlDeviceGetMemoryInfo(gpu).used for gpu in self._gpus)
        except self._nvml.NVMLError:
            memory_bytes = None
        return fraction, memory_bytes

    def __len__(self) -> int:
        return len(self._gpus)

    def close(self) -> None:
        self._nvml.nvmlShutdown()


def open_gpus() -> GpuCounters | None:
    """The GPUs; None where there is none, or no driver, or the package ``nvidia-ml-py`` is not installed."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        gpus = GpuCounters(pynvml)
    except pynvml.NVMLError:
        pynvml.nvmlShutdown()
        return None
    if len(gpus):
        return gpus
    gpus.close()
    return None
