"""Memory of batches, used again once nothing refers to it.

The first write to fresh memory costs a page fault per 4 KiB, which for float32 images is as much as decoding them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["BatchMemory"]


class BatchMemory:
    """Hands out arrays of one shape and type; safe to be used by several threads.

    An array's memory comes back by itself when the array, all of its slices and whatever else shares its memory (such
    as a tensor of ``torch.from_numpy``) are gone. At most ``num_kept`` free ones are kept.
    """

    def __init__(self, shape: Sequence[int], dtype: DTypeLike, *, num_kept: int) -> None:
        self._shape, self._dtype = tuple(shape), np.dtype(dtype)
        self._free: deque[NDArray[Any]] = deque(maxlen=num_kept)

    def take(self) -> NDArray[Any]:
        """An array whose content is undefined."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self._shape, self._dtype)
        return np.asarray(_Lent(memory, self._free))


class _Lent:
    """What NumPy keeps alive as long as anything looks at the memory: the array's base."""

    __slots__ = ("__array_interface__", "_free", "_memory")

    def __init__(self, memory: NDArray[Any], free: deque[NDArray[Any]]) -> None:
        self.__array_interface__ = memory.__array_interface__
        self._memory, self._free = memory, free

    def __del__(self) -> None:
        # May run in any thread, also in the middle of take(): a deque's methods are atomic, and no lock is held.
        self._free.append(self._memory)
