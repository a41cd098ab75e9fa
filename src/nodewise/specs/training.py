"""What training reports of its workers: where each one's time went, and which were lost."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LostWorker", "WorkerEpoch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEpoch:
    """One worker in one epoch.

    The seconds of the kinds are disjoint; what they leave of ``seconds`` is the loop itself.

    Attributes:
        rank: Of the worker, from 0.
        node: That it ran on, as in the task records.
        epoch: From 1.
        steps: Optimiser steps that it took part in.
        records: That it computed gradients of.
        seconds: From the epoch's start to the end of its evaluation.
        data_s: Waiting for images: reading, decoding, putting batches together.
        compute_s: Forward and backward passes and the optimiser.
        communicate_s: Moving gradients or weights, without ``wait_s``.
        wait_s: Waiting for workers (or servers) that were not as far yet.
        checkpoint_s: Writing checkpoints.
        evaluate_s: Held-out records, after the epoch.
        sent_bytes: Of gradients or weights, as they were handed to the exchange.
    """

    rank: int
    node: str
    epoch: int
    steps: int
    records: int
    seconds: float
    data_s: float
    compute_s: float
    communicate_s: float
    wait_s: float
    checkpoint_s: float
    evaluate_s: float
    sent_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LostWorker:
    """A worker whose process died while the others went on.

    Attributes:
        step: Of the others, when it was missed.
        came_back: Another process took its place before the end.
    """

    rank: int
    epoch: int
    step: int
    came_back: bool
