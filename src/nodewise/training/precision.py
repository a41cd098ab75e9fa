"""What a process does once so that PyTorch uses what the processor has."""

from __future__ import annotations

import ctypes
from contextlib import AbstractContextManager, suppress
from functools import cache
from pathlib import Path
from typing import Literal

import torch

__all__ = ["autocast", "bf16_is_faster", "prepare_process", "resolve_precision", "training_device"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
"""Settings of glibc's ``mallopt(3)``."""


def prepare_process(threads: int) -> None:
    """Set this process up for training or scoring with so many threads."""
    torch.set_num_threads(threads)
    _keep_memory()


@cache
def _keep_memory() -> None:
    """Have the C library keep what is freed: a step needs the same large buffers as the one before.

    By default each of them is a new mapping, which the kernel fills with zeros, page by page. Of a training step of the
    ``cnn`` that was a third.
    """
    with suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        # Backward passes run in a thread of their own, whose arena would be given back whatever the threshold.
        libc.mallopt(_M_ARENA_MAX, 1)


@cache
def bf16_is_faster() -> bool:
    """Whether this machine multiplies bfloat16 faster than float32.

    By what the processor says of itself, not by a measurement, so that the same machine always answers the same.
    """
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    with suppress(OSError):
        flags = set(Path("/proc/cpuinfo").read_text().split())
        return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})  # the last one is Arm's name for it
    return False


def resolve_precision(name: str) -> Literal["float32", "bf16"]:
    """``float32`` or ``bf16`` for a setting that may be ``auto``."""
    if name == "auto":
        return "bf16" if bf16_is_faster() else "float32"
    return "bf16" if name == "bf16" else "float32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Products of matrices in bfloat16, all else in float32; nothing where ``precision`` is ``float32``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def training_device(rank: int) -> torch.device:
    """A GPU of this machine where there is one, shared out by rank; else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", rank % torch.cuda.device_count())
    return torch.device("cpu")
