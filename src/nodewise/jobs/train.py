"""Job ``train``: shards -> a model, by synchronous data-parallel training.

Every worker computes the gradient of its part of each global batch; the parts are averaged over the workers (PyTorch's
DistributedDataParallel over gloo) so that the step is that of the whole batch. Torch is imported inside the tasks.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodewise.core.errors import JobFailedError, SourceError, WorkerLostError
from nodewise.metering.meter import TaskMeter
from nodewise.shards.manifest import Manifest, split_shards
from nodewise.shards.order import NUM_LANES, epoch_order, is_owned
from nodewise.specs.gang import GangContext
from nodewise.specs.job import TrainSpec
from nodewise.specs.results import EpochResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


__all__ = ["TrainJob", "TrainOutcome"]

COLLECTIVE_TIMEOUT_S = 600
EVALUATION_BATCH = 512


@dataclass(frozen=True, slots=True)
class TrainPayload:
    """What every worker is given."""

    folder: Path
    manifest: Manifest
    spec: TrainSpec
    model_path: Path
    epoch_log: Path
    search_path: str


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """What a worker returns; all have the same epochs."""

    epochs: tuple[EpochResult, ...]
    world_size: int


class TrainJob:
    """One worker per node.

    Raises:
        SourceError: There is nothing to train on.
        SpecError: The images are of no common size, or too small for the model.
        MissingDependencyError, InputError, JobFailedError: The user's model cannot be built.
    """

    name = "train"

    def __init__(self, folder: Path, manifest: Manifest, spec: TrainSpec) -> None:
        from nodewise.training.models import build_model
        from nodewise.training.records import image_shape_of

        if not split_shards(manifest, "train"):
            raise SourceError(f"{folder} has no records to train on", hint="prepare it with a smaller test fraction")
        # Built here once, only to find out before a cluster is started whether it can be.
        build_model(
            spec.model,
            num_classes=len(manifest.classes),
            image_shape=image_shape_of(manifest, folder),
            search_path=os.getcwd(),
        )
        self._folder, self._manifest, self.spec = folder, manifest, spec

    @property
    def function(self) -> Callable[[TrainPayload, TaskMeter, GangContext], TrainOutcome]:
        return train_worker

    @property
    def records(self) -> int:
        """Records that all epochs together go through."""
        return sum(shard.records for shard in split_shards(self._manifest, "train")) * self.spec.epochs

    def payload(self, model_path: Path, epoch_log: Path) -> TrainPayload:
        """What to give to the workers. Rank 0 writes the model, and a line per epoch to the log for whoever watches."""
        return TrainPayload(self._folder, self._manifest, self.spec, model_path, epoch_log, os.getcwd())


def train_worker(payload: TrainPayload, meter: TaskMeter, gang: GangContext) -> TrainOutcome:
    """The member of the gang: load the share, join the others, train, evaluate.

    Raises:
        NodewiseError: What is wrong with the model or the records, or that the loss diverged.
    """
    if gang.world_size > NUM_LANES:
        raise JobFailedError(f"{gang.world_size} workers are more than training supports ({NUM_LANES})")
    try:
        trainer = _Trainer(payload, meter, gang)
    except Exception:
        # The others wait for this message, and must not wait for a worker that will not come.
        gang.all_gather("failed")
        raise
    if "failed" in gang.all_gather("ready"):
        # As with a worker that is lost later, its own error tells why.
        raise WorkerLostError("another worker failed while it was getting ready")
    with _process_group(gang):
        return trainer.run()


class _Trainer:
    def __init__(self, payload: TrainPayload, meter: TaskMeter, gang: GangContext) -> None:
        # It would warn, on the user's terminal, that nobody knows a name for an emulated node's address.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        import torch

        from nodewise.training.models import build_model
        from nodewise.training.records import image_shape_of, load_records

        torch.set_num_threads(gang.threads)
        torch.manual_seed(payload.spec.seed)
        self._payload, self._meter, self._gang = payload, meter, gang
        self._exchange = _Exchange(meter)
        self._spec = payload.spec
        self._shape = image_shape_of(payload.manifest, payload.folder)
        self._model = build_model(
            payload.spec.model,
            num_classes=len(payload.manifest.classes),
            image_shape=self._shape,
            search_path=payload.search_path,
        )
        train_shards, test_shards = (split_shards(payload.manifest, split) for split in ("train", "test"))
        share = {"rank": gang.rank, "world_size": gang.world_size}
        self._train = load_records(payload.folder, train_shards, self._shape, meter, **share)
        self._test = load_records(payload.folder, test_shards, self._shape, meter, **share)
        self._num_train = sum(shard.records for shard in train_shards)
        self._num_test = sum(shard.records for shard in test_shards)

    def run(self) -> TrainOutcome:
        import torch

        model = self._model
        if self._gang.world_size > 1:
            model = torch.nn.parallel.DistributedDataParallel(model)
            # By a function without annotations: torch refuses those of modules that postpone them, as this one does.
            model.register_comm_hook(self._exchange, lambda exchange, bucket: _average_gradients(exchange, bucket))  # noqa: PLW0108
        optimizer = torch.optim.Adam(model.parameters(), lr=self._spec.learning_rate or 1e-3)
        self._payload.epoch_log.unlink(missing_ok=True)
        epochs = []
        for epoch in range(1, self._spec.epochs + 1):
            epochs.append(self._run_epoch(model, optimizer, epoch))
            if self._gang.rank == 0:
                with self._payload.epoch_log.open("a") as log:
                    log.write(json.dumps(asdict(epochs[-1])) + "\n")
        if self._gang.rank == 0:
            self._save()
        return TrainOutcome(epochs=tuple(epochs), world_size=self._gang.world_size)

    def _run_epoch(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> EpochResult:
        import torch

        started = time.perf_counter()
        model.train()
        order = epoch_order(self._num_train, seed=self._spec.seed, epoch=epoch)
        totals = torch.zeros(2, dtype=torch.float64)  # sum of losses, number of right answers
        for start in range(0, self._num_train, self._spec.batch_size):
            batch = order[start : start + self._spec.batch_size]
            mine = batch[is_owned(batch, self._gang.rank, self._gang.world_size)]
            images, labels = self._batch(mine)
            logits = model(images)
            losses = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
            # The gradients are averaged over the workers, whose parts of the batch differ in length: sum over all
            # records / batch = mean over workers of (own sum * workers / batch). A worker without a part adds nothing.
            share = self._gang.world_size / len(batch) if len(mine) else 0.0
            optimizer.zero_grad()
            (losses * share).backward()  # type: ignore[no-untyped-call]
            self._exchange.end()
            optimizer.step()
            if len(mine):
                right = (logits.detach().argmax(1) == labels).sum()
                totals += torch.stack([losses.detach().double(), right.double()])
            self._meter.count(records=len(mine))
        loss, right_answers = self._sum_over_workers(totals)
        if not math.isfinite(loss):
            raise JobFailedError(
                f"the loss is {loss} in epoch {epoch}: training diverged", hint="try a smaller --learning-rate"
            )
        test_accuracy = self._evaluate(model)
        return EpochResult(
            epoch=epoch,
            loss=loss / self._num_train,
            train_accuracy=right_answers / self._num_train,
            test_accuracy=test_accuracy,
            seconds=time.perf_counter() - started,
        )

    def _batch(self, numbers: Any) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        if len(numbers):
            return self._train.batch(numbers)
        return torch.zeros(1, *self._shape), torch.zeros(1, dtype=torch.int64)

    def _evaluate(self, model: torch.nn.Module) -> float | None:
        """Accuracy on the held-out records of all workers together; None if there are none."""
        import torch

        if not self._num_test:
            return None
        model.eval()
        right = torch.zeros(1, dtype=torch.float64)
        with torch.inference_mode():
            for start in range(0, len(self._test.numbers), EVALUATION_BATCH):
                images, labels = self._test.batch(self._test.numbers[start : start + EVALUATION_BATCH])
                right += (self._network(model)(images).argmax(1) == labels).sum()
        (total,) = self._sum_over_workers(right)
        return total / self._num_test

    @staticmethod
    def _network(model: torch.nn.Module) -> torch.nn.Module:
        # The wrapper would synchronise buffers on every call, and workers call it a different number of times.
        import torch

        return model.module if isinstance(model, torch.nn.parallel.DistributedDataParallel) else model

    def _sum_over_workers(self, values: torch.Tensor) -> list[float]:
        import torch.distributed as dist

        if self._gang.world_size > 1:
            with self._meter.communicating():
                dist.all_reduce(values)
        numbers: list[float] = values.tolist()
        return numbers

    def _save(self) -> None:
        from nodewise.training.model_file import ModelInfo, save_model

        manifest = self._payload.manifest
        info = ModelInfo(
            model=self._spec.model, classes=manifest.classes, image_shape=self._shape, transform=manifest.transform
        )
        with self._meter.writing():
            save_model(self._payload.model_path, self._model, info)
        self._meter.count(written_bytes=self._payload.model_path.stat().st_size)


class _Exchange:
    """Times the exchange of gradients: from when the last of them is ready until all workers' have come.

    What is exchanged before that costs no time, since the network computes meanwhile.
    """

    def __init__(self, meter: TaskMeter) -> None:
        self._meter = meter
        self._running = ExitStack()

    def begin(self) -> None:
        """Some gradients are ready."""
        self._running.close()
        self._running.enter_context(self._meter.communicating())

    def end(self) -> None:
        """All have come."""
        self._running.close()


def _average_gradients(exchange: _Exchange, bucket: Any) -> Any:
    """What DistributedDataParallel does by itself with a bucket of gradients, timed."""
    import torch.distributed as dist

    exchange.begin()
    gradients = bucket.buffer().div_(dist.get_world_size())
    return dist.all_reduce(gradients, async_op=True).get_future().then(lambda done: done.value()[0])


@contextmanager
def _process_group(gang: GangContext) -> Iterator[None]:
    """Connect the workers with gloo, over the network that they know each other by and no other."""
    if gang.world_size == 1:
        yield
        return
    import datetime
    import socket

    import torch.distributed as dist

    # Left alone, gloo takes the interface of whatever the machine's name resolves to, which may be another one.
    interface = _interface_of(gang.host)
    if interface is not None:
        os.environ["GLOO_SOCKET_IFNAME"] = interface
    timeout = datetime.timedelta(seconds=COLLECTIVE_TIMEOUT_S)
    if gang.rank == 0:
        # torch would listen on every address of the machine; this one is only for the workers.
        listener = socket.create_server((gang.host, 0))
        port = listener.getsockname()[1]
        store = dist.TCPStore(  # type: ignore[attr-defined]
            gang.host, port, gang.world_size, True, timeout, wait_for_workers=False, master_listen_fd=listener.detach()
        )
        gang.all_gather(f"{gang.host}:{port}")
    else:
        host, _, port_text = gang.all_gather("")[0].rpartition(":")
        store = dist.TCPStore(  # type: ignore[attr-defined]
            host, int(port_text), gang.world_size, False, timeout
        )
    dist.init_process_group("gloo", store=store, rank=gang.rank, world_size=gang.world_size, timeout=timeout)
    try:
        yield
    except RuntimeError as error:
        # gloo has no error of its own for a connection that broke; the message begins with the place in its source.
        if "gloo" not in str(error):
            raise
        raise WorkerLostError(f"rank {gang.rank} lost the other workers: {str(error).splitlines()[0]}") from error
    finally:
        dist.destroy_process_group()


def _interface_of(host: str) -> str | None:
    """The network interface that has this address; None if it is a name, or none has."""
    import psutil

    # All of 127.0.0.0/8 is loopback's, whichever address of it the interface shows.
    wanted = "127.0.0.1" if host.startswith("127.") else host
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == wanted for address in addresses):
            return name
    return None
