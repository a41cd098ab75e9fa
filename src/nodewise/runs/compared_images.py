"""The jobs on images, as a comparison runs them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from nodewise.core.errors import SourceError
from nodewise.core.progress import Progress
from nodewise.data.datasets import resolve_source
from nodewise.data.sources import open_source
from nodewise.jobs.prepare import PrepareJob
from nodewise.jobs.prepare_folder import claim_folder
from nodewise.jobs.score import ScoreJob
from nodewise.jobs.train import TrainJob
from nodewise.report.html import PredictedImage
from nodewise.runs.samples import predicted_images
from nodewise.runs.session import Session
from nodewise.runs.steps import run_prepare, run_score, run_train
from nodewise.shards.manifest import fingerprint_of, read_manifest
from nodewise.specs.scenario import DatasetSpec, JobsSpec
from nodewise.training.models import build_model
from nodewise.workspace import Workspace

__all__ = ["ComparedImages"]

SHARDS, MODEL, PREDICTIONS = "shards", "model.safetensors", "predictions"


class ComparedImages:
    """Prepare, train and score.

    Args:
        base: Folder that relative sources are taken from.

    Raises:
        InputError: It would fail after the first stage.
    """

    connect = True
    modules: Sequence[str] = PrepareJob.modules
    source_name = "Images"

    def __init__(
        self, dataset: DatasetSpec | None, jobs: JobsSpec, workspace: Workspace, base: Path, progress: Progress
    ) -> None:
        self._jobs = jobs
        found = open_source(_find_source(dataset, workspace, base, progress))
        self._prepare = PrepareJob(found, jobs.prepare)
        if self._prepare.size is not None:
            shape = (3, self._prepare.size, self._prepare.size)
            build_model(jobs.train.model, num_classes=len(found.classes), image_shape=shape, search_path=os.getcwd())
        images = sum(map(len, found.splits.values()))
        self.source = f"{found.root.name}: {images:,} images, {len(found.classes)} classes"
        self.fingerprint = ""
        self.images: list[PredictedImage] = []

    def carry_out(self, session: Session) -> None:
        jobs = self._jobs
        shards, model, predictions = (session.folder / name for name in (SHARDS, MODEL, PREDICTIONS))
        with claim_folder(shards, self._prepare.fingerprint()) as claimed:
            run_prepare(session, self._prepare, claimed)
        manifest = read_manifest(shards)
        run_train(session, TrainJob(shards, manifest, jobs.train, session.run.cluster), model)
        run_score(session, ScoreJob(shards, manifest, model, jobs.score), predictions)

    def look_at(self, folder: Path) -> None:
        manifest = read_manifest(folder / SHARDS)
        self.images = self.images or predicted_images(folder / SHARDS, manifest, folder / PREDICTIONS)
        self.fingerprint = fingerprint_of(manifest)

    def clean(self, folder: Path) -> None:
        shutil.rmtree(folder / SHARDS, ignore_errors=True)


def _find_source(dataset: DatasetSpec | None, workspace: Workspace, base: Path, progress: Progress) -> Path:
    """The first of the sources that is there."""
    first: SourceError | None = None
    sources = () if dataset is None else dataset.sources
    for source in sources:
        try:
            return resolve_source(source, workspace.datasets_dir, base, progress)
        except SourceError as error:
            first = first or error
    if first is None:
        raise SourceError("the comparison names no images")
    others = len(sources) - 1
    also = f" (nor any of the {others} other sources)" if others else ""
    raise SourceError(f"{first.message}{also}", hint=first.hint)
