"""What is known of jobs in general before any run: how times depend on clusters, and how far jobs differ in that."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GENERAL", "Effect", "Knowledge"]


@dataclass(frozen=True, slots=True)
class Effect:
    """How the logarithm of the run time changes with one quantity: normal over jobs."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """The prior of :class:`~nodewise.advice.belief.Belief`, over natural logarithms of run times.

    Attributes:
        level: In the middle of the space; mean and deviation. Wide: minutes as well as hours.
        cores: Per doubling of the cluster's size: -0.69 would be a job that scales perfectly.
        curvature: Of that effect, per square of the doublings from the middle of the space, over 4: above 0, more
            nodes help less and less.
        node_size: Per doubling of the node's size with the cluster's size kept, so with half as many nodes.
        memory: Per doubling of a node's memory per unit of its size.
        price: Per doubling of the price per unit of size: what is dearer is mostly faster.
        shortage: Once the cluster's memory is less than the job needs: what does not fit is read or computed again.
        deeper_shortage: On top, per halving of the memory below the need.
        short_of_memory: Probability that there is such a need, within the space.
        fails_when_short, fails: Probability that a run fails where memory is short, and elsewhere.
        is_like_similar: Probability that a job is like one of those of the same application, where there are any.
        unlike_similar: How far it then is from that one, as a share of how far jobs are from each other.
        family, instance_type: Deviation of the speed of node types of one family, and of one type.
        smooth: Deviation of what else varies smoothly with the cluster's and the node's size, over ``smooth_cluster``
            and ``smooth_node`` doublings.
        noise: Deviation of a run from what its configuration takes on average, and of what is a configuration's own.
    """

    level: Effect
    cores: Effect
    curvature: Effect
    node_size: Effect
    memory: Effect
    price: Effect
    shortage: Effect
    deeper_shortage: Effect
    short_of_memory: float
    fails_when_short: float
    fails: float
    is_like_similar: float
    unlike_similar: float
    family: float
    instance_type: float
    smooth: float
    smooth_cluster: float
    smooth_node: float
    noise: float


GENERAL = Knowledge(
    level=Effect(6.5, 1.5),
    cores=Effect(-0.2999, 0.2201),
    curvature=Effect(0.2963, 0.0999),
    node_size=Effect(0.0744, 0.0548),
    memory=Effect(0.1110, 0.0380),
    price=Effect(-0.6734, 0.1117),
    shortage=Effect(1.1472, 0.4322),
    deeper_shortage=Effect(0.0417, 0.0898),
    short_of_memory=0.4671,
    fails_when_short=0.5,
    fails=0.03,
    is_like_similar=0.3,
    unlike_similar=0.5,
    family=0.1169,
    instance_type=0.1615,
    smooth=0.1504,
    smooth_cluster=2.5456,
    smooth_node=2.9215,
    noise=0.1320,
)
"""From public traces (``benchmarks/advise_fit.py``): what makes their run times most likely, then moved to where
searches on parts of these traces end nearest to the optimum."""
