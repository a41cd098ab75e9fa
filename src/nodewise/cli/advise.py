"""``nodewise advise``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption
from nodewise.cli.output import console, emit
from nodewise.cli.progress import RichProgress
from nodewise.core.errors import InputError
from nodewise.core.units import parse_bytes, parse_duration
from nodewise.report.advice_terminal import render_advice
from nodewise.specs.advice import Goal, MethodName
from nodewise.specs.advice_request import Candidates, SpotSpec, StreamSpec

__all__ = ["advise"]


def advise(
    job: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="A comparison file: its jobs, and its scenarios as candidates."),
    ] = None,
    minimise: Annotated[Goal, typer.Option(help="What is to be small.")] = "cost",
    deadline: Annotated[
        str | None, typer.Option(metavar="TIME", help="Longest time of a run: 20m.", show_default=False)
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="USD", help="Highest cost of a run, with --minimise time."),
    ] = None,
    node_type: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Candidate in place of the scenarios; repeatable. `nodewise nodes list`."),
    ] = None,
    cloud: Annotated[
        str | None, typer.Option(help="Candidates are node types of this cloud: aws, azure or gcp.", show_default=False)
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="And of this region; by default the table's own.", show_default=False)
    ] = None,
    family: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="And of this family, such as m5 or n2-standard; repeatable."),
    ] = None,
    nodes: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Numbers of nodes of each type, 1,2,4,8; by default up to --max-nodes."),
    ] = None,
    max_nodes: Annotated[int | None, typer.Option(help="The most nodes of a candidate.", show_default=False)] = None,
    max_price: Annotated[
        float | None,
        typer.Option(metavar="USD", help="Highest price per hour of all its nodes together.", show_default=False),
    ] = None,
    min_memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Least memory of all its nodes together: 64GiB.", show_default=False),
    ] = None,
    spot: Annotated[bool, typer.Option("--spot", help="Nodes at spot prices, which the cloud may take back.")] = False,
    interruptions_per_hour: Annotated[
        float | None,
        typer.Option(help="With --spot: how often to assume that of one node.", show_default=False),
    ] = None,
    checkpoint_every: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="With --spot: work from one checkpoint to the next; by default all is lost.",
            show_default=False,
        ),
    ] = None,
    restart_after: Annotated[
        str, typer.Option(metavar="TIME", help="With --spot: from an interruption until the work goes on.")
    ] = "2m",
    stream: Annotated[
        bool, typer.Option("--stream", help="Find what keeps up with a stream at the least price per hour.")
    ] = False,
    rate: Annotated[
        str | None, typer.Option(metavar="RATE", help="With --stream: records that arrive, 500/s.", show_default=False)
    ] = None,
    p95: Annotated[
        str | None,
        typer.Option(
            "--p95", metavar="TIME", help="With --stream: the most that 95 % of them may take, 2s.", show_default=False
        ),
    ] = None,
    records_per_run: Annotated[
        int | None,
        typer.Option(
            help="With --stream: records that a run of the job handles; of images nodewise knows.", show_default=False
        ),
    ] = None,
    told: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="A run that you made: '4 x m5.xlarge = 12m30s', '4 x m5.xlarge = 12m30s with 9GiB per node', "
            "'4 x m5.xlarge failed after 3m'.",
        ),
    ] = None,
    run: Annotated[bool, typer.Option("--run/--no-run", help="Make the proposed runs here, or only name the next.")] = (
        True
    ),
    max_runs: Annotated[
        int | None, typer.Option(help="The most runs of a search; by default as its rule has it.", show_default=False)
    ] = None,
    max_search_cost: Annotated[
        float | None, typer.Option(metavar="USD", help="The most that all runs may cost.", show_default=False)
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Leave out the earlier runs of this search.")] = False,
    known_library: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Run times of other jobs, a CSV as for --replay; those of the same name are counted on.",
            show_default=False,
        ),
    ] = None,
    replay: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Search on run times that others measured, a CSV: a run is a look-up."),
    ] = None,
    method: Annotated[MethodName, typer.Option(help="With --replay: how to search, to compare.")] = "nodewise",
    seeds: Annotated[int, typer.Option(help="With --replay: searches of each workload.")] = 1,
    report: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="For the HTML report; by default in the workspace.", show_default=False),
    ] = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = None,
    _debug: DebugOption = False,
) -> None:
    """Find the cluster on which a job costs least, is fastest or keeps up with a stream, with few runs.

    Each run is chosen by what the earlier ones tell, and kept: the search goes on where it stopped. It ends when no
    further run is likely to be worth it.
    """
    if (job is None) == (replay is None):
        raise InputError("give either a comparison file or --replay FILE", hint="`nodewise advise --help`")
    if replay is not None:
        from nodewise.cli.advise_replay import replay as replay_traces

        replay_traces(replay, method, seeds, max_runs, known_library, json)
        return
    from nodewise.advice_api import advise as search

    assert job is not None  # noqa: S101
    wanted = _candidates(node_type, cloud, region, family, nodes, max_nodes, max_price, min_memory)
    interrupted = _spot(spot, interruptions_per_hour, checkpoint_every, restart_after)
    arriving = _stream(stream, rate, p95, records_per_run)
    with RichProgress() as progress:
        advice = search(
            job,
            candidates=wanted,
            minimise=minimise,
            deadline=deadline,
            budget_usd=budget,
            spot=interrupted,
            stream=arriving,
            told=told or (),
            run=run,
            max_runs=max_runs,
            max_search_usd=max_search_cost,
            anew=anew,
            known_library=known_library,
            report=report,
            workspace=workspace,
            progress=progress,
        )
    render_advice(advice, console(stderr=json == "-"))
    emit("advise", advice, json)


def _candidates(
    node_types: list[str] | None,
    cloud: str | None,
    region: str | None,
    families: list[str] | None,
    nodes: str | None,
    max_nodes: int | None,
    max_price: float | None,
    min_memory: str | None,
) -> Candidates:
    try:
        counts = () if nodes is None else tuple(int(part) for part in nodes.split(","))
    except ValueError:
        raise InputError(f"--nodes {nodes} is not a list of whole numbers such as 1,2,4,8") from None
    return Candidates(
        node_types=tuple(node_types or ()),
        cloud=cloud,
        region=region,
        families=tuple(families or ()),
        nodes=counts,
        max_nodes=max_nodes,
        max_usd_per_hour=max_price,
        min_memory_gib=None if min_memory is None else _parsed("--min-memory", min_memory, parse_bytes) / 2**30,
    )


def _spot(
    is_spot: bool, interruptions_per_hour: float | None, checkpoint_every: str | None, restart_after: str
) -> SpotSpec | None:
    if not is_spot:
        if interruptions_per_hour is not None or checkpoint_every is not None:
            raise InputError("interruptions and checkpoints are for spot prices", hint="add --spot")
        return None
    if interruptions_per_hour is None:
        raise InputError(
            "how often a cloud takes spot nodes back is in no price list",
            hint="say what to assume: --interruptions-per-hour 0.05 is one node of twenty each hour",
        )
    return SpotSpec(
        interruptions_per_hour=interruptions_per_hour,
        checkpoint_s=None if checkpoint_every is None else _seconds("--checkpoint-every", checkpoint_every),
        restart_s=_seconds("--restart-after", restart_after),
    )


def _stream(is_stream: bool, rate: str | None, p95: str | None, records_per_run: int | None) -> StreamSpec | None:
    if not is_stream:
        if rate is not None or p95 is not None or records_per_run is not None:
            raise InputError("--rate, --p95 and --records-per-run are for a stream", hint="add --stream")
        return None
    if rate is None or p95 is None:
        raise InputError(
            "a stream needs its rate, and what 95 % of its records may take", hint="--stream --rate 500/s --p95 2s"
        )
    return StreamSpec(
        rate_per_s=_parsed("--rate", rate, _per_second), p95_s=_seconds("--p95", p95), records_per_run=records_per_run
    )


def _per_second(text: str) -> float:
    """``500/s``, ``30000/m`` or ``2.5/h``."""
    count, _, unit = text.partition("/")
    seconds = {"s": 1, "m": 60, "h": 3600}.get(unit.strip())
    try:
        if seconds is not None:
            return float(count) / seconds
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no rate of records; write 500/s, 30000/m or 90/h")


def _seconds(option: str, text: str) -> float:
    return _parsed(option, text, parse_duration)


def _parsed(option: str, text: str, parse: Callable[[str], float]) -> float:
    try:
        return parse(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from None
