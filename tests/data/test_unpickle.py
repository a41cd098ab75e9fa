"""CIFAR-10 batches, honest and hostile."""

import codecs
import functools
import io
import operator
import os
import pickle
import struct
import subprocess
from typing import ClassVar

import numpy as np
import pytest

from nodewise.core.errors import CorruptFileError, UnsafeFileError
from nodewise.data import unpickle
from nodewise.data.unpickle import load_cifar_batch, load_class_names

PROTOCOLS = range(6)
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def rows(count=3):
    """Row i: red plane all i, green plane counting up, blue plane all 255 - i."""
    data = np.zeros((count, 3072), np.uint8)
    for i in range(count):
        data[i, :1024] = i
        data[i, 1024:2048] = np.arange(1024) % 251
        data[i, 2048:] = 255 - i
    return data


def batch(**changes):
    content = {b"batch_label": b"one of 1", b"labels": [0, 9, 3], b"data": rows(), b"filenames": [b"a", b"b", b"c"]}
    return content | {key.encode(): value for key, value in changes.items()}


def dump(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def check(images, labels):
    assert images.shape == (3, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels == [0, 9, 3]
    assert images[2, 0, 5].tolist() == [2, 5, 253]
    assert images[2, 1, 0].tolist() == [2, 32, 253]
    assert images[0, 31, 31].tolist() == [0, 1023 % 251, 255]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_batches_of_every_protocol_are_read(tmp_path, protocol):
    check(*load_cifar_batch(dump(tmp_path / "a", batch(), protocol)))


def test_text_keys_are_read(tmp_path):
    content = {key.decode(): value for key, value in batch().items()}
    check(*load_cifar_batch(dump(tmp_path / "a", content)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_column_order_is_read(tmp_path, protocol):
    check(*load_cifar_batch(dump(tmp_path / "a", batch(data=np.asfortranarray(rows())), protocol)))


def python_2_pickle(data, labels):
    """What cPickle of Python 2 with NumPy 1 wrote: text is bytes, and the module is numpy.core."""

    def text(value):
        return b"T" + struct.pack("<I", len(value)) + value

    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"(K" + bytes([len(data)]) + b"M\x00\x0ct"
    state = b"(K\x01" + shape + dtype + b"\x89" + text(data.tobytes()) + b"tb"
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    return b"\x80\x02}(U\x06labels](" + numbers + b"eU\x04data" + array + state + b"u."


def test_batch_of_python_2_is_read(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(python_2_pickle(rows(), [0, 9, 3]))
    check(*load_cifar_batch(path))


class _ModuleRenamer(pickle._Pickler):
    """Writes names of NumPy's modules as another version would."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def __init__(self, stream, protocol, old, new):
        super().__init__(stream, protocol)
        self.old, self.new = old, new

    def save_text(self, text):
        self.save_str(text.replace(self.old, self.new))

    dispatch[str] = save_text

    def write_renamed(self, content):
        # Up to protocol 3 a name is written straight into the stream, from 4 on it is saved as text.
        write = self.write
        self.write = lambda data: write(
            data.replace(self.old.encode(), self.new.encode()) if data[:1] == b"c" else data
        )
        self.dump(content)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("old", "new"), [("numpy._core.", "numpy.core."), ("numpy.core.", "numpy._core.")])
def test_module_names_of_both_numpy_versions_are_read(tmp_path, protocol, old, new):
    stream = io.BytesIO()
    _ModuleRenamer(stream, protocol, old, new).write_renamed(batch())
    assert old.encode() not in stream.getvalue()
    assert new.encode() in stream.getvalue()
    path = tmp_path / "a"
    path.write_bytes(stream.getvalue())
    check(*load_cifar_batch(path))


class Calls:
    """Pickles as a call, as an attacker would write it."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def hostile(canary):
    """Attacks by the name of the function that they call."""
    return {
        "system": Calls(os.system, f"touch {canary}"),
        "eval": Calls(eval, f"open({str(canary)!r}, 'w')"),
        "exec": Calls(exec, f"open({str(canary)!r}, 'w')"),
        "open": Calls(open, str(canary), "w"),
        "Popen": Calls(subprocess.Popen, ["touch", str(canary)]),
        "getattr": Calls(getattr, "x", "upper"),
        "attrgetter": Calls(operator.attrgetter, "system"),
        "partial": Calls(functools.partial, print),
        "fromfile": Calls(np.fromfile, str(canary)),
        "lookup": Calls(codecs.lookup, "latin1"),
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", sorted(hostile("")))
@pytest.mark.parametrize("place", ["whole", "data", "labels"])
def test_hostile_pickle_is_refused_and_nothing_runs(tmp_path, protocol, name, place):
    canary = tmp_path / "canary"
    attack = hostile(canary)[name]
    path = dump(tmp_path / "data_batch_1", attack if place == "whole" else batch(**{place: attack}), protocol)
    with pytest.raises(UnsafeFileError, match=rf"data_batch_1: this pickle asks for '[\w.]+\.{name}', which"):
        load_cifar_batch(path)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("INST", b"(S'touch x'\niposix\nsystem\n."),
        ("OBJ", b"(cposix\nsystem\nS'touch x'\no."),
        ("NEWOBJ", b"\x80\x02cnumpy\nndarray\n)\x81."),
        ("PERSID", b"Psomething\n."),
        ("BINPERSID", b"S'something'\nQ."),
        ("EXT1", b"\x82\x01."),
    ],
)
def test_instructions_that_no_batch_uses_are_refused(tmp_path, name, code):
    path = tmp_path / "a"
    path.write_bytes(code)
    with pytest.raises(UnsafeFileError, match=f"instruction {name}"):
        load_cifar_batch(path)


@pytest.mark.parametrize(
    "name", ["numpy ndarray", "numpy dtype", "_codecs encode", "numpy.core.multiarray _reconstruct"]
)
def test_allowed_names_cannot_be_changed(tmp_path, name):
    path = tmp_path / "a"
    module, attribute = name.split()
    # The state ({}, {"_call": 1}) would be set as attributes of the function.
    path.write_bytes(f"c{module}\n{attribute}\n(}}}}S'_call'\nI1\nstb.".encode())
    with pytest.raises(CorruptFileError, match="sets the state of a function"):
        load_cifar_batch(path)
    check(*load_cifar_batch(dump(path, batch())))


def test_array_of_objects_and_array_of_another_type_are_refused(tmp_path):
    for data in (rows().astype(object), rows().astype(np.float32), rows().astype(np.int8)):
        with pytest.raises((CorruptFileError, UnsafeFileError)):
            load_cifar_batch(dump(tmp_path / "a", batch(data=data)))


def test_array_that_says_it_is_huge_is_not_made(tmp_path):
    written = python_2_pickle(rows(), [0, 9, 3])
    path = tmp_path / "a"
    for shape in (b"(J\xff\xff\xff\x7fM\x00\x0ct", b"(K\x03J\xff\xff\xff\x7ft"):
        path.write_bytes(written.replace(b"(K\x03M\x00\x0ct", shape))
        with pytest.raises(CorruptFileError, match="shape"):
            load_cifar_batch(path)


def test_buffer_that_is_a_number_allocates_nothing(tmp_path):
    # bytes(2**31 - 1) would be 2 GiB of zeros.
    path = tmp_path / "a"
    path.write_bytes(
        b"\x80\x02}(U\x04datacnumpy.core.numeric\n_frombuffer\n(J\xff\xff\xff\x7f"
        b"cnumpy\ndtype\n(U\x02u1tRK\x01M\x00\x0c\x86U\x01CtRU\x06labels]K\x00au."
    )
    with pytest.raises(CorruptFileError, match="as many bytes as its shape"):
        load_cifar_batch(path)


def test_memory_slot_far_away_is_refused(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")
    with pytest.raises(UnsafeFileError, match="memory slot 2147483647"):
        load_cifar_batch(path)


def test_text_encoded_again_and_again_is_refused(tmp_path):
    # 1,000 characters in memory slot 1, made bytes of 200 times.
    text = b"X" + struct.pack("<I", 1000) + b"x" * 1000 + b"q\x00X\x06\x00\x00\x00latin1q\x01"
    again = b"c_codecs\nencode\nh\x00h\x01\x86R"
    path = tmp_path / "a"
    path.write_bytes(b"\x80\x02" + text + again * 200 + b".")
    with pytest.raises(UnsafeFileError, match="far more data"):
        load_cifar_batch(path)


def test_larger_files_than_a_batch_can_be_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(unpickle, "MAX_BATCH_BYTES", 100)
    with pytest.raises(UnsafeFileError, match="larger than the 100 bytes"):
        load_cifar_batch(dump(tmp_path / "a", batch()))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (batch(data=rows(2)), "2 images but 3 labels"),
        (batch(data=np.zeros((3, 3000), np.uint8)), r"shape \(n, 3072\)"),
        (batch(data=np.zeros((3, 3, 32, 32), np.uint8)), r"shape \(n, 3072\)"),
        (batch(data=np.zeros((0, 3072), np.uint8), labels=[]), r"shape \(n, 3072\)"),
        (batch(data=np.zeros((3, 3072), np.uint16)), "not of type uint8"),
        (batch(data=[1, 2]), "'data' is not an array"),
        (batch(labels=[0, 1, 10]), "label of image 2 is not in 0 to 9"),
        (batch(labels=[0, -1, 1]), "label of image 1"),
        (batch(labels=[0, 1.0, 1]), "'labels' is not a list"),
        (batch(labels=[0, True, 1]), "'labels' is not a list"),
        (batch(labels=None), "'labels' is not a list"),
        ({}, "'data' is not an array"),
        ([1, 2, 3], "does not hold a dict"),
    ],
)
def test_pickles_that_are_no_batch_say_why(tmp_path, content, reason):
    path = dump(tmp_path / "data_batch_1", content)
    with pytest.raises(CorruptFileError, match=f"data_batch_1: not a CIFAR-10 batch: .*{reason}"):
        load_cifar_batch(path)


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_cut_batch_is_corrupt(tmp_path, share):
    path = dump(tmp_path / "a", batch())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CorruptFileError):
        load_cifar_batch(path)


def test_missing_file_is_an_error_of_its_path(tmp_path):
    with pytest.raises(CorruptFileError, match="none: cannot be read: No such file"):
        load_cifar_batch(tmp_path / "none")


@pytest.mark.parametrize("names", [NAMES, [name.encode() for name in NAMES]], ids=["text", "bytes"])
def test_class_names_are_read(tmp_path, names):
    path = dump(tmp_path / "batches.meta", {b"label_names": names, b"num_cases_per_batch": 10000, b"num_vis": 3072}, 2)
    assert load_class_names(path) == tuple(NAMES)


@pytest.mark.parametrize(
    "names", [NAMES[:9], [*NAMES[:9], NAMES[0]], [b"\xff", *NAMES[:9]], None, [1] * 10, ["", *NAMES[:9]]]
)
def test_class_names_that_are_no_ten_names_are_refused(tmp_path, names):
    with pytest.raises(CorruptFileError, match="label_names"):
        load_class_names(dump(tmp_path / "batches.meta", {b"label_names": names}))


def test_hostile_class_names_are_refused(tmp_path):
    path = dump(tmp_path / "batches.meta", {b"label_names": Calls(os.system, f"touch {tmp_path / 'canary'}")})
    with pytest.raises(UnsafeFileError, match=r"posix\.system"):
        load_class_names(path)
    assert not (tmp_path / "canary").exists()
