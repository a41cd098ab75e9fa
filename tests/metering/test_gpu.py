import sys
from types import ModuleType, SimpleNamespace

import pytest

from nodewise.metering.gpu import open_gpus


class NVMLError(Exception):
    """As in nvidia-ml-py, whose other errors derive from it."""


def nvml(*gpus: tuple[int, int] | None, starts: bool = True) -> ModuleType:
    """The part of the published interface that is used; a GPU is (percent in use, bytes in use), None tells nothing."""
    module = ModuleType("pynvml")
    calls: list[str] = []

    def init() -> None:
        calls.append("init")
        if not starts:
            raise NVMLError("Driver Not Loaded")

    def tell(handle: int) -> SimpleNamespace:
        gpu = gpus[handle]
        if gpu is None:
            raise NVMLError("Not Supported")
        return SimpleNamespace(gpu=gpu[0], used=gpu[1])

    module.NVMLError = NVMLError
    module.nvmlInit = init
    module.nvmlShutdown = lambda: calls.append("shutdown")
    module.nvmlDeviceGetCount = lambda: len(gpus)
    module.nvmlDeviceGetHandleByIndex = lambda index: index
    module.nvmlDeviceGetUtilizationRates = tell
    module.nvmlDeviceGetMemoryInfo = tell
    module.calls = calls
    return module


def test_shares_are_means_and_memory_is_the_sum_of_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    library = nvml((50, 2**30), (100, 2**20))
    monkeypatch.setitem(sys.modules, "pynvml", library)
    gpus = open_gpus()
    assert gpus is not None
    assert gpus.read() == (0.75, 2**30 + 2**20)
    gpus.close()
    assert library.calls == ["init", "shutdown"]


def test_what_a_gpu_does_not_tell_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml((50, 2**30), None))
    gpus = open_gpus()
    assert gpus is not None
    assert gpus.read() == (None, None)


def test_without_a_gpu_there_is_none_and_the_library_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    library = nvml()
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert open_gpus() is None
    assert library.calls == ["init", "shutdown"]


def test_without_a_driver_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml((50, 1), starts=False))
    assert open_gpus() is None


def test_without_the_package_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_gpus() is None


def test_the_real_library_has_what_is_used() -> None:
    pynvml = pytest.importorskip("pynvml")
    for name in vars(nvml()):
        if name.startswith(("nvml", "NVML")):
            assert hasattr(pynvml, name)
