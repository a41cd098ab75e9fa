"""The workers of a gang as one PyTorch process group."""

from __future__ import annotations

import datetime
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch
import torch.distributed as dist

from nodewise.core.errors import WorkerLostError
from nodewise.specs.gang import GangContext

__all__ = ["process_group"]

COLLECTIVE_TIMEOUT_S = 600


@contextmanager
def process_group(gang: GangContext, device: torch.device) -> Iterator[None]:
    """Connect the workers, over the network that they know each other by and no other: NCCL between GPUs, else gloo.

    Raises:
        WorkerLostError: Another worker is gone.
    """
    if gang.world_size == 1:
        yield
        return
    # Left alone, they take the interface of whatever the machine's name resolves to, which may be another one.
    interface = _interface_of(gang.host)
    if interface is not None:
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = interface
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
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=gang.rank, world_size=gang.world_size, timeout=timeout)
    try:
        yield
    except RuntimeError as error:
        # gloo has no error of its own for a connection that broke; the message begins with the place in its source.
        if not isinstance(error, dist.DistBackendError) and "gloo" not in str(error):
            raise
        raise WorkerLostError(f"rank {gang.rank} lost the other workers: {str(error).splitlines()[0]}") from error
    finally:
        dist.destroy_process_group()


def _interface_of(host: str) -> str | None:
    """The network interface that has this address; None if it is a name, or none has."""
    # All of 127.0.0.0/8 is loopback's, whichever address of it the interface shows.
    wanted = "127.0.0.1" if host.startswith("127.") else host
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == wanted for address in addresses):
            return name
    return None
