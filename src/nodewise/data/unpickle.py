"""Read the pickled batches of CIFAR-10 without running anything that a pickle asks for.

A pickle is a program: it names functions and has them called. Here every name that is allowed stands for an inert
stand-in, so that not even NumPy's own reconstruction code runs on data that we do not trust; the array is built
afterwards from the checked shape and bytes. All other names, and instructions that a batch does not need, are refused.

The batches' layout: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nodewise.core.errors import CorruptFileError, NodewiseError, UnsafeFileError

__all__ = ["MAX_BATCH_BYTES", "load_cifar_batch", "load_class_names"]

MAX_BATCH_BYTES = 1 << 30
"""Larger files are refused; a batch of 10,000 images has 31 MB."""

_SIDE, _CHANNELS, _NUM_CLASSES = 32, 3, 10
_REFUSED_OPCODES = frozenset(
    ("BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "NEWOBJ", "NEWOBJ_EX", "NEXT_BUFFER", "OBJ", "PERSID")
)
"""Instructions that create objects of classes, or fetch them from outside of the file."""
_MEMO_OPCODES = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))


def load_cifar_batch(path: Path) -> tuple[NDArray[np.uint8], list[int]]:
    """Read a batch: images of shape (n, 32, 32, 3), RGB, and their labels, 0 to 9.

    Reads what Python 2 and 3 write (all pickle protocols, NumPy 1 and 2), with keys as bytes or as text.

    Raises:
        UnsafeFileError: The pickle names something that no batch holds, or is larger than :data:`MAX_BATCH_BYTES`.
        CorruptFileError: It cannot be read, or is no CIFAR-10 batch: wrong shape, type, labels or lengths.
    """
    content = _load(path)
    images = _to_images(path, content.get("data"))
    labels = content.get("labels")
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        raise _not_a_batch(path, "'labels' is not a list of whole numbers")
    if len(labels) != len(images):
        raise _not_a_batch(path, f"it holds {len(images)} images but {len(labels)} labels")
    row = next((row for row, label in enumerate(labels) if not 0 <= label < _NUM_CLASSES), None)
    if row is not None:
        raise _not_a_batch(path, f"the label of image {row} is not in 0 to {_NUM_CLASSES - 1}")
    return images, labels


def load_class_names(path: Path) -> tuple[str, ...]:
    """Read the ten class names from a ``batches.meta`` file, in order of their labels.

    Raises:
        UnsafeFileError, CorruptFileError: As :func:`load_cifar_batch` does.
    """
    names = _load(path).get("label_names")
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) and name for name in names):
        raise _not_a_batch(path, "'label_names' is not a list of names")
    try:
        texts = tuple(name.decode() if isinstance(name, bytes) else name for name in names)
    except UnicodeDecodeError as error:
        raise _not_a_batch(path, "a name in 'label_names' is not UTF-8") from error
    if len(set(texts)) != _NUM_CLASSES:
        raise _not_a_batch(path, f"'label_names' holds {len(set(texts))} different names instead of {_NUM_CLASSES}")
    return texts


def _load(path: Path) -> dict[str, Any]:
    """The pickled dict, its keys as text; arrays in it are still :class:`_PickledArray`."""
    try:
        if path.stat().st_size > MAX_BATCH_BYTES:
            raise UnsafeFileError(f"{path}: larger than the {MAX_BATCH_BYTES} bytes that are read as a CIFAR-10 batch")
        data = path.read_bytes()
    except OSError as error:
        raise CorruptFileError(str(path), f"cannot be read: {error.strerror}") from error
    try:
        _check_opcodes(path, data)
        content = _BatchUnpickler(path, data).load()
    except NodewiseError:
        raise
    except Exception as error:
        # Damaged pickles raise nearly anything: UnpicklingError, EOFError, KeyError, TypeError, MemoryError ...
        raise CorruptFileError(str(path), f"not a readable pickle: {error or type(error).__name__}") from error
    if not isinstance(content, dict):
        raise _not_a_batch(path, "it does not hold a dict")
    keys = {key: key.decode("latin-1") if isinstance(key, bytes) else key for key in content}
    return {name: content[key] for key, name in keys.items() if isinstance(name, str)}


def _check_opcodes(path: Path, data: bytes) -> None:
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data), start=1):
        if opcode.name in _REFUSED_OPCODES:
            detail = "" if argument is None else f" ({argument!r:.60})"
            raise _unsafe(path, f"uses the instruction {opcode.name}{detail}")
        # The memo is an array as long as its highest index: two bytes of a file could ask for 64 GiB.
        if opcode.name in _MEMO_OPCODES and argument is not None and int(argument) > count:
            raise _unsafe(path, f"asks for memory slot {argument}")


class _PickledArray:
    """What a pickle says of an array, unchecked."""

    __slots__ = ("state",)

    def __init__(self, state: Any = None) -> None:
        self.state = state

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _PickledDtype:
    """What a pickle says of a data type: its code. The state (byte order, fields) does not matter to single bytes."""

    __slots__ = ("code",)

    def __init__(self, code: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None: ...


class _StandIn:
    """A name that a pickle may mention. It can be called, but neither changed nor made instances of."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: Any) -> NoReturn:
        raise pickle.UnpicklingError("sets the state of a function")


class _BatchUnpickler(pickle.Unpickler):
    def __init__(self, path: Path, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._path = path
        self._encodable_chars = len(data)
        reconstruct = _StandIn(lambda _type, _shape, _code: _PickledArray())
        from_buffer = _StandIn(lambda raw, dtype, shape, order: _PickledArray((1, shape, dtype, order == "F", raw)))
        self._allowed = {
            "numpy.core.multiarray._reconstruct": reconstruct,  # NumPy 1
            "numpy._core.multiarray._reconstruct": reconstruct,  # NumPy 2
            "numpy.core.numeric._frombuffer": from_buffer,  # pickle protocol 5
            "numpy._core.numeric._frombuffer": from_buffer,
            "numpy.ndarray": _StandIn(_refuse_call),
            "numpy.dtype": _StandIn(lambda code, _align=False, _copy=True: _PickledDtype(code)),
            "_codecs.encode": _StandIn(self._encode),  # how Python 3 writes bytes in protocols 0 to 2
        }

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = f"{module_name}.{global_name}"
        if name not in self._allowed:
            raise _unsafe(self._path, f"asks for {name[:100]!r}")
        return self._allowed[name]

    def _encode(self, text: str, encoding: str) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise pickle.UnpicklingError("encodes something other than bytes")
        # An honest file encodes each text once, so that all of them together are no longer than the file.
        self._encodable_chars -= len(text)
        if self._encodable_chars < 0:
            raise _unsafe(self._path, "makes far more data than it holds")
        return text.encode("latin-1")


def _refuse_call(*_: Any) -> NoReturn:
    raise pickle.UnpicklingError("makes an array in an unusual way")


def _to_images(path: Path, array: Any) -> NDArray[np.uint8]:
    if not isinstance(array, _PickledArray) or not isinstance(array.state, tuple) or len(array.state) != 5:
        raise _not_a_batch(path, "'data' is not an array")
    _, shape, dtype, is_fortran, raw = array.state
    if not isinstance(dtype, _PickledDtype) or dtype.code not in ("u1", b"u1"):
        raise _not_a_batch(path, "'data' is not of type uint8")
    row = _CHANNELS * _SIDE * _SIDE
    if not _is_shape(shape) or shape[1] != row:
        raise _not_a_batch(path, f"'data' is not of shape (n, {row})")
    if not isinstance(raw, bytes | bytearray) or len(raw) != shape[0] * row:
        raise _not_a_batch(path, "'data' does not hold as many bytes as its shape says")
    flat = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if is_fortran else "C")
    planes = flat.reshape(-1, _CHANNELS, _SIDE, _SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and len(shape) == 2 and all(type(side) is int and side > 0 for side in shape)


def _not_a_batch(path: Path, reason: str) -> CorruptFileError:
    return CorruptFileError(str(path), f"not a CIFAR-10 batch: {reason}")


def _unsafe(path: Path, what: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"{path}: this pickle {what}, which no CIFAR-10 batch does; nothing of it was run",
        hint="do not use this file; fetch the original with `nodewise datasets fetch cifar10`",
    )
