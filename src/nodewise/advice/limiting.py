"""What limits a job on the clusters there are, as far as its run times and the memory it used tell. A sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nodewise.advice.belief import Posterior
from nodewise.advice.space import Observation, SearchSpace
from nodewise.advice.words import named, share
from nodewise.specs.advice import RankedConfiguration

__all__ = ["limits_of"]

LIKELY, HARDLY = 0.5, 0.1
"""Probabilities of a lack of memory above which it is said, and below which there is no sign of one."""


def limits_of(
    space: SearchSpace,
    posterior: Posterior,
    observed: Sequence[Observation],
    choice: RankedConfiguration | None,
    ranked: Sequence[RankedConfiguration],
) -> list[str]:
    """Memory, and how much more nodes would help; nothing before there is a choice."""
    if choice is None:
        return []
    return [*_memory(space, posterior, choice), *_used(space, observed), *_nodes(choice, ranked)]


def _memory(space: SearchSpace, posterior: Posterior, choice: RankedConfiguration) -> Iterator[str]:
    if space.memory_gib is None:
        return
    total_gib = space.memory_gib * space.nodes
    short = posterior.lacks_memory
    own = space.configurations.index(choice.configuration)
    count = int((short > LIKELY).sum())
    if short[own] > LIKELY:
        yield f"Memory: the job likely needs more than the {total_gib[own]:.0f} GiB of {named(choice.configuration)}"
    elif count:
        enough = total_gib[short <= LIKELY].min()
        yield f"Memory: below {enough:.0f} GiB in all it is likely too small, on {count} of {len(space)} candidates"
    elif short.max() < HARDLY:
        yield "Memory: no sign that it is too small on any candidate"
    else:
        yield f"Memory: whether it is too small on some candidates is not known ({share(float(short.max()))} likely)"


def _used(space: SearchSpace, observed: Sequence[Observation]) -> Iterator[str]:
    """What the run that had most memory used of it."""
    known = [one for one in observed if one.is_ok and one.used_gib is not None]
    if known and space.memory_gib is not None:
        total_gib = space.memory_gib * space.nodes
        one = max(known, key=lambda one: (total_gib[one.index], one.used_gib))
        configuration = space.configurations[one.index]
        yield f"Memory used: at most {one.used_gib:.3g} of {total_gib[one.index]:.0f} GiB on {named(configuration)}"


def _nodes(choice: RankedConfiguration, ranked: Sequence[RankedConfiguration]) -> Iterator[str]:
    """What about twice the nodes of the same type would do."""
    own = choice.configuration
    more = [
        one
        for one in ranked
        if one.configuration.instance_type == own.instance_type and one.configuration.nodes > own.nodes
    ]
    if not more:
        return
    other = min(more, key=lambda one: abs(one.configuration.nodes - 2 * own.nodes))
    faster = 1 - other.seconds / choice.seconds
    does = f"take {share(faster)} less time" if faster > 0 else f"take {share(-faster)} longer"
    text = f"Nodes: {named(other.configuration)} would {does}"
    if choice.cost_usd and other.cost_usd:
        dearer = other.cost_usd / choice.cost_usd - 1
        text += f" and cost {share(abs(dearer))} {'more' if dearer >= 0 else 'less'}"
    yield f"{text} ({other.basis})"
