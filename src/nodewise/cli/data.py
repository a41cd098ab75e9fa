"""``nodewise data``: look at images and shards, check shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodewise.cli.jobs import SplitChoice
from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption, open_workspace
from nodewise.cli.output import console, emit, one_line, say
from nodewise.core.errors import CorruptFileError, NodewiseError
from nodewise.core.units import format_bytes, format_count, format_duration
from nodewise.report.text import percent, plural

if TYPE_CHECKING:
    from rich.table import Table

    from nodewise.report.grid import GridImage
    from nodewise.shards.samples import SampleImage
    from nodewise.shards.stats import DataStats, ImageFacts, Spread
    from nodewise.specs.results import CheckResult, FaultyRecord

__all__ = ["app"]

FAULTS_SHOWN = 20
CLASSES_SHOWN = 20

app = typer.Typer(help="Look at images and shards, check shards.")


PathArgument = Annotated[
    str, typer.Argument(metavar="PATH", help="Folder of images in class folders, folder of shards, or a shard.")
]


@app.command("show", epilog="Example: nodewise data show shards/ --split test --html images.html")
def show_images(
    path: PathArgument,
    count: Annotated[int, typer.Option(min=1, max=300, help="How many images.")] = 9,
    split: Annotated[SplitChoice, typer.Option(help="Which images to draw from.")] = SplitChoice.ALL,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a page with the images.", show_default=False)
    ] = None,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Show some images with their labels.

    They are drawn in the terminal if it has colours; else a page is written, in the workspace unless --html names a
    file.
    """
    from nodewise.report.grid import can_show_images, render_grid, write_grid
    from nodewise.shards.samples import draw_samples

    samples = draw_samples(Path(path), count=count, split=split.value, seed=seed)
    images = [_grid_image(image) for image in samples.images]
    output = console(stderr=json_path == "-")
    in_terminal = can_show_images(output)
    if in_terminal:
        render_grid(images, output)
    page = Path(html).absolute() if html else None
    if page is None and not in_terminal:
        home = open_workspace(workspace)
        home.create()
        page = home.reports_dir / f"{Path(path).absolute().name}-images.html"
    if page is not None:
        which = "" if split is SplitChoice.ALL else f"{split} "
        summary = f"{len(images)} of {format_count(samples.num_records)} {which}images, drawn at random (seed {seed})"
        try:
            write_grid(page, images, title=Path(path).absolute().name, summary=summary)
        except OSError as error:
            raise NodewiseError(f"{page} cannot be written: {error.strerror}") from None
        output.print(f"{len(images)} images: {one_line(str(page))}", soft_wrap=True)
    shown = [_facts_of(image) for image in samples.images]
    emit("data show", {"images": shown, "records": samples.num_records, "html_path": page}, json_path)


@app.command("check", epilog="Example: nodewise data check shards/ --json check.json")
def check_data(
    path: Annotated[str, typer.Argument(metavar="SHARDS", help="Folder of shards, or a shard.")],
    json_path: JsonOption = None,
    _workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Check shards: every checksum, image, class and count.

    Each fault is named with file, record and byte. The exit status is 1 if there is any.
    """
    import nodewise
    from nodewise.cli.progress import RichProgress

    with RichProgress() as progress:
        result = nodewise.check_data(path, progress=progress)
    output = console(stderr=json_path == "-")
    for fault in result.bad[:FAULTS_SHOWN]:
        output.print(one_line(f"{_place(fault)}: {fault.reason}"), soft_wrap=True)
    if len(result.bad) > FAULTS_SHOWN:
        output.print(f"and {format_count(len(result.bad) - FAULTS_SHOWN)} more")
    output.print(_verdict(result), soft_wrap=True)
    if not result.bad:
        emit("data check", result, json_path)
        return
    error = CorruptFileError(path, _faults(result), hint="prepare the images again")
    emit("data check", result, json_path, error)
    say(f"hint: {error.hint}")
    raise typer.Exit(error.exit_code)


@app.command("stats", epilog="Example: nodewise data stats photos/")
def show_stats(
    path: PathArgument,
    json_path: JsonOption = None,
    _workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Count images by class, size, format and colour.

    Only their headers are read, nothing is decoded.
    """
    import nodewise
    from nodewise.cli.progress import RichProgress

    with RichProgress() as progress:
        stats = nodewise.data_stats(path, progress=progress)
    output = console(stderr=json_path == "-")
    output.print(_class_table(stats))
    output.print()
    output.print(_facts_table(stats))
    emit("data stats", stats, json_path)


def _grid_image(image: SampleImage) -> GridImage:
    from nodewise.report.grid import GridImage

    size = image.reason or f"{image.width} x {image.height}, {format_bytes(image.bytes)}"
    parts = Path(image.path).parts
    # Of a file the class folder too: names of photos need not be unique.
    place = "/".join(parts[-2:]) if image.record is None else f"{parts[-1]}, record {image.record}"
    return GridImage(pixels=image.pixels, label=image.label, place=place, facts=size)


def _facts_of(image: SampleImage) -> dict[str, Any]:
    names = ("path", "record", "label", "height", "width", "bytes", "reason")
    return {name: getattr(image, name) for name in names}


def _place(fault: FaultyRecord) -> str:
    record = "" if fault.record is None else f", record {fault.record}"
    return fault.path + record + ("" if fault.offset is None else f", byte {fault.offset}")


def _verdict(result: CheckResult) -> str:
    shards = plural(result.shards, "shard")
    took = f"({format_duration(result.seconds)})"
    if not result.bad:
        return f"{shards}, {plural(result.records, 'record')}: all whole {took}"
    return f"{shards}, {plural(result.records, 'whole record')}; {_faults(result)} {took}"


def _faults(result: CheckResult) -> str:
    files = len({fault.path for fault in result.bad})
    return f"{plural(len(result.bad), 'fault')} in {plural(files, 'file')}"


def _class_table(stats: DataStats) -> Table:
    totals = {name: 0 for counts in stats.classes.values() for name in counts}
    for counts in stats.classes.values():
        for name, count in counts.items():
            totals[name] += count
    splits = list(stats.classes)
    headers = [*(split.upper() for split in splits), "ALL"] if len(splits) > 1 else ["IMAGES"]
    table = _table("CLASS", right=headers)

    def add(name: str, counts: list[int]) -> None:
        columns = [*counts, sum(counts)] if len(splits) > 1 else counts
        table.add_row(one_line(name), *map(format_count, columns))

    names = list(totals)
    for name in names[:CLASSES_SHOWN]:
        add(name, [stats.classes[split].get(name, 0) for split in splits])
    if rest := names[CLASSES_SHOWN:]:
        add(f"{len(rest)} more", [sum(stats.classes[split].get(name, 0) for name in rest) for split in splits])
    if len(names) > 1:
        add(f"{format_count(len(names))} classes", [sum(stats.classes[split].values()) for split in splits])
    return table


def _facts_table(stats: DataStats) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(stats).items():
        table.add_row(name, one_line(value))
    return table


def _facts(stats: DataStats) -> dict[str, str]:
    each = f"{format_bytes(stats.min_bytes)} to {format_bytes(stats.max_bytes)}"
    mean = format_bytes(round(stats.mean_bytes))
    facts = {"bytes": f"{format_bytes(stats.bytes)}; an image {each}, mean {mean}"}
    if stats.file_bytes is not None:
        facts["shards"] = f"{format_count(stats.shards)}, {format_bytes(stats.file_bytes)}"
    if stats.height and stats.width and stats.common_size:
        height, width, count = stats.common_size
        facts["width"] = _spread(stats.width)
        facts["height"] = _spread(stats.height)
        facts["sizes"] = f"all {width} x {height}"
        if stats.sizes > 1:
            share = percent(count / (stats.records - stats.unreadable))
            facts["sizes"] = f"{format_count(stats.sizes)} different, most often {width} x {height} ({share})"
            facts["largest"], facts["smallest"] = _extreme(stats.largest), _extreme(stats.smallest)
    for name, counts in (("format", stats.formats), ("suffix", stats.suffixes), ("colours", stats.modes)):
        if counts:
            facts[name] = ", ".join(f"{kind} {format_count(count)}" for kind, count in counts.items())
    if stats.rotated:
        facts["turned"] = f"{format_count(stats.rotated)} by their EXIF orientation"
    if stats.unreadable:
        facts["unreadable"] = f"{format_count(stats.unreadable)} have no header that can be read"
    return facts


def _spread(spread: Spread) -> str:
    return f"{spread.min} to {spread.max}, median {spread.median}" if spread.min < spread.max else f"{spread.min}"


def _extreme(image: ImageFacts | None) -> str:
    return f"{image.width} x {image.height}, {format_bytes(image.bytes)}, {image.name}" if image else ""


def _table(left: str, *, right: list[str]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(left, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table
