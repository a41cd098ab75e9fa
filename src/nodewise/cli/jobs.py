"""``nodewise prepare``, ``train`` and ``score``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption
from nodewise.cli.output import console, emit
from nodewise.cli.place import placed
from nodewise.cli.progress import RichProgress
from nodewise.core.units import parse_bytes
from nodewise.specs.job import Compression, Optimizer, Precision, Recipe, ScaleRule, Schedule, Strategy

__all__ = ["prepare", "score", "train"]


class FitChoice(StrEnum):
    """How an image comes to be square."""

    COVER = "cover"
    CONTAIN = "contain"
    STRETCH = "stretch"


class ResampleChoice(StrEnum):
    """How pixels are computed when an image is scaled."""

    BILINEAR = "bilinear"
    ANTIALIAS = "antialias"


class FormatChoice(StrEnum):
    """What a shard is."""

    TFRECORD = "tfrecord"
    WEBDATASET = "webdataset"


class EncodingChoice(StrEnum):
    """What an image is stored as."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    RAW = "raw"


class SubsamplingChoice(StrEnum):
    """How much of the colour a JPEG keeps."""

    FULL = "444"
    HALF = "422"
    QUARTER = "420"


class SplitChoice(StrEnum):
    """Which records to score."""

    TEST = "test"
    TRAIN = "train"
    ALL = "all"


@placed
def prepare(
    source: Annotated[
        str,
        typer.Argument(help="Folder of class folders, CIFAR-10 batches, an archive of either, or a data set's name."),
    ],
    dest: Annotated[str, typer.Argument(help="Folder for the shards.")],
    size: Annotated[
        int | None,
        typer.Option(help="Side of the square images, in pixels; 192, but CIFAR-size images stay as they are."),
    ] = None,
    fit: Annotated[
        FitChoice, typer.Option(help="cover cuts off what sticks out, contain adds black bars, stretch distorts.")
    ] = FitChoice.COVER,
    resample: Annotated[
        ResampleChoice, typer.Option(help="bilinear as tf.data does; antialias is the better picture, and slower.")
    ] = ResampleChoice.BILINEAR,
    sample: Annotated[float, typer.Option(help="Share of the images to take, above 0 and at most 1.")] = 1.0,
    test_fraction: Annotated[
        float, typer.Option(help="Share to hold out when the source has no test set of its own.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Of sample, held-out part and order.")] = 0,
    shard_format: Annotated[
        FormatChoice, typer.Option("--format", help="TFRecord files, or tar files for webdataset.")
    ] = FormatChoice.TFRECORD,
    shard_records: Annotated[int, typer.Option(help="Records per shard.")] = 230,
    shard_bytes: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Most bytes per shard instead, such as 64MiB.")
    ] = None,
    encoding: Annotated[
        EncodingChoice | None,
        typer.Option(help="What images are stored as; jpeg, but images that keep their size stay as they are."),
    ] = None,
    quality: Annotated[int, typer.Option(help="Of jpeg and webp, 1 to 100.")] = 95,
    subsampling: Annotated[
        SubsamplingChoice, typer.Option(help="Colour of every pixel (444), every second or every fourth.")
    ] = SubsamplingChoice.FULL,
    optimize: Annotated[
        bool, typer.Option("--optimize", help="Huffman tables for each JPEG: 6 % fewer bytes, a third slower.")
    ] = False,
    max_pixels: Annotated[int, typer.Option(help="Refuse images of more pixels.")] = 100_000_000,
    max_bad: Annotated[
        float, typer.Option(help="Share of the images that may be undecodable; above it the run stops.")
    ] = 0.01,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail on an image that cannot be decoded, instead of listing it.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the shards that DEST holds.")] = False,
    *,
    place: dict[str, Any],
    workspace: WorkspaceOption = None,
    json: JsonOption = None,
    _debug: DebugOption = False,
) -> None:
    """Turn images into shards of TFRecord or tar.

    Each is decoded, turned upright, resized to fill a square, cropped at the centre and encoded again. A run that was
    cut off goes on where it stopped when the same command is given again.
    """
    import nodewise
    from nodewise.report.terminal import render_prepare

    with RichProgress() as progress:
        result = nodewise.prepare(
            source,
            dest,
            size=size,
            fit=fit.value,
            resample=resample.value,
            sample=sample,
            test_fraction=test_fraction,
            seed=seed,
            shard_format=shard_format.value,
            shard_records=shard_records,
            shard_bytes=_bytes(shard_bytes),
            encoding=encoding.value if encoding else None,
            quality=quality,
            subsampling=subsampling.value,
            optimize=optimize,
            max_pixels=max_pixels,
            max_bad=max_bad,
            strict=strict,
            overwrite=overwrite,
            workspace=workspace,
            progress=progress,
            **place,
        )
    emit("prepare", result, json)
    render_prepare(result, console(stderr=json == "-"))


@placed
def train(
    shards: Annotated[str, typer.Argument(help="Folder that nodewise prepare wrote.")],
    model: Annotated[
        str, typer.Option(help="cnn, resnet, or package.module:function that takes num_classes and image_shape.")
    ] = "cnn",
    recipe: Annotated[Recipe, typer.Option(help="fast brings a network and augmentation of its own.")] = "standard",
    strategy: Annotated[
        Strategy | None, typer.Option(help="single on one node, all-reduce on several, by default.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training records.")] = 5,
    batch_size: Annotated[int, typer.Option(help="Records per step, over all nodes together.")] = 128,
    learning_rate: Annotated[
        float | None, typer.Option(help="For batches of 128; 0.02 for muon, 0.003 for adam, 0.1 for sgd by default.")
    ] = None,
    scale_lr: Annotated[ScaleRule, typer.Option(help="How it follows the batch size.")] = "sqrt",
    optimizer: Annotated[Optimizer, typer.Option(help="Of the weights.")] = "muon",
    schedule: Annotated[Schedule, typer.Option(help="Of the learning rate.")] = "one-cycle",
    warmup: Annotated[float, typer.Option(help="Share of the steps in which it rises.")] = 0.2,
    precision: Annotated[Precision, typer.Option(help="auto: bf16 where the processor is faster with it.")] = "auto",
    compression: Annotated[Compression, typer.Option(help="Of what the workers exchange.")] = "none",
    servers: Annotated[int, typer.Option(help="Parameter servers.")] = 1,
    workers_per_node: Annotated[int, typer.Option(help="With parameter servers.")] = 1,
    is_async: Annotated[
        bool, typer.Option("--async/--sync", help="Servers apply each gradient when it comes, or all together.")
    ] = False,
    max_staleness: Annotated[int, typer.Option(help="Steps a worker may be ahead of the slowest, with --async.")] = 4,
    average_every: Annotated[
        int | None, typer.Option(help="Steps between averages, for strategy average; by default once, at the end.")
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps between checkpoints; each epoch by default; 0: never.")
    ] = None,
    checkpoint_dir: Annotated[
        str | None, typer.Option(help="Keep them here; by default beside the model until training has ended.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    max_restarts: Annotated[int, typer.Option(help="Of workers that all-reduce, when one is lost.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the first weights and the order of records.")] = 0,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="File for the model; by default in the run's folder.")
    ] = None,
    report: Annotated[
        str | None, typer.Option(metavar="FILE", help="For the HTML report, beside the one in the run's folder.")
    ] = None,
    *,
    place: dict[str, Any],
    workspace: WorkspaceOption = None,
    json: JsonOption = None,
    _debug: DebugOption = False,
) -> None:
    """Train a classifier, on one node or many.

    It is measured on the held-out records after every epoch. The report shows where each worker's time went.
    """
    import nodewise
    from nodewise.report.terminal import render_train

    with RichProgress() as progress:
        result = nodewise.train(
            shards,
            model=model,
            recipe=recipe,
            strategy=strategy,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            scale_lr=scale_lr,
            optimizer=optimizer,
            schedule=schedule,
            warmup=warmup,
            precision=precision,
            compression=compression,
            servers=servers,
            workers_per_node=workers_per_node,
            is_async=is_async,
            max_staleness=max_staleness,
            average_every=average_every,
            checkpoint_every=checkpoint_every,
            max_restarts=max_restarts,
            seed=seed,
            output=output,
            checkpoint_dir=checkpoint_dir,
            resume=resume,
            report=report,
            workspace=workspace,
            progress=progress,
            **place,
        )
    emit("train", result, json)
    render_train(result, console(stderr=json == "-"))


@placed
def score(
    shards: Annotated[str, typer.Argument(help="Folder that nodewise prepare wrote.")],
    model: Annotated[str, typer.Option(help="File that nodewise train wrote, or models:/NAME@ALIAS.")],
    split: Annotated[
        SplitChoice, typer.Option(help="Which records; if none were held out, test means all.")
    ] = SplitChoice.TEST,
    batch_size: Annotated[
        int | None, typer.Option(help="Records per forward pass; the fastest of a few, measured, by default.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Folder for the predictions; by default in the run's folder.")
    ] = None,
    report: Annotated[
        str | None, typer.Option(metavar="FILE", help="For the HTML report, beside the one in the run's folder.")
    ] = None,
    *,
    place: dict[str, Any],
    workspace: WorkspaceOption = None,
    json: JsonOption = None,
    _debug: DebugOption = False,
) -> None:
    """Predict the class of every record.

    The predictions are written as Parquet. The report has the confusion matrix and the images that went most wrong.
    """
    import nodewise
    from nodewise.report.terminal import render_score

    with RichProgress() as progress:
        result = nodewise.score(
            shards,
            model,
            split=split.value,
            batch_size=batch_size,
            output=output,
            report=report,
            workspace=workspace,
            progress=progress,
            **place,
        )
    emit("score", result, json)
    render_score(result, console(stderr=json == "-"))


def _bytes(text: str | None) -> int | None:
    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
