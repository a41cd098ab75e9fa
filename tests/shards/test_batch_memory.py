"""Memory of batches."""

import numpy as np
import pytest

from nodewise.shards.batch_memory import BatchMemory


def address_of(array):
    return array.__array_interface__["data"][0]


def test_memory_comes_back_when_nothing_looks_at_it():
    memory = BatchMemory((4, 2), np.float32, num_kept=2)
    first = memory.take()
    assert (first.shape, first.dtype) == ((4, 2), np.float32)
    place = address_of(first)
    first[:] = 7
    view = first[1:3].T
    del first
    second = memory.take()
    assert address_of(second) != place
    second[:] = 1
    assert (view == 7).all()
    del view
    assert address_of(memory.take()) == place


def test_tensors_keep_their_memory():
    torch = pytest.importorskip("torch")
    memory = BatchMemory((8,), np.uint8, num_kept=2)
    array = memory.take()
    place = address_of(array)
    tensor = torch.from_numpy(array)[::2]
    del array
    other = memory.take()
    assert address_of(other) != place
    del tensor
    assert address_of(memory.take()) == place


def test_no_more_than_asked_for_is_kept():
    memory = BatchMemory((1000,), np.uint8, num_kept=2)
    arrays = [memory.take() for _ in range(5)]
    places = {address_of(array) for array in arrays}
    assert len(places) == 5
    arrays.clear()
    assert len(memory._free) == 2


def test_arrays_outlive_the_memory_they_are_of():
    memory = BatchMemory((3,), np.int64, num_kept=1)
    array = memory.take()
    array[:] = 5
    del memory
    assert array.tolist() == [5, 5, 5]
