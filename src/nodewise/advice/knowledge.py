"""What is known of jobs in general before any run: how times depend on clusters, and how far jobs differ in that."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BROAD", "FITTED", "GENERAL", "Effect", "Knowledge"]


@dataclass(frozen=True, slots=True)
class Effect:
    """How the logarithm of the run time changes with one quantity: normal over jobs."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """A prior of :class:`~nodewise.advice.belief.Belief`, over natural logarithms of run times.

    Attributes:
        weight: Of this prior among those that are used together, relative to theirs.
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
        uses_less: Probability that a run that ended well used clearly less memory than the job needs, or than there is.
        is_like_similar: Probability that a job is like one of those of the same application, where there are any.
        unlike_similar: How far it then is from that one, as a share of how far jobs are from each other.
        family, instance_type: Deviation of the speed of node types of one family, and of one type.
        smooth: Deviation of what else varies smoothly with the cluster's and the node's size, over ``smooth_cluster``
            and ``smooth_node`` doublings.
        noise: Deviation of a run from what its configuration takes on average, and of what is a configuration's own.
    """

    weight: float = 0.5
    level: Effect = Effect(6.5, 1.5)
    cores: Effect
    curvature: Effect
    node_size: Effect
    memory: Effect
    price: Effect
    shortage: Effect = Effect(1.0, 0.6)
    deeper_shortage: Effect = Effect(0.05, 0.15)
    short_of_memory: float = 0.4
    fails_when_short: float = 0.5
    fails: float = 0.03
    uses_less: float = 0.1
    is_like_similar: float = 0.3
    unlike_similar: float = 0.5
    family: float
    instance_type: float
    smooth: float
    smooth_cluster: float
    smooth_node: float
    noise: float


BROAD = Knowledge(
    cores=Effect(-0.5, 0.3),
    curvature=Effect(0.0, 0.3),
    node_size=Effect(0.0, 0.2),
    memory=Effect(0.0, 0.2),
    price=Effect(-0.5, 0.3),
    family=0.2,
    instance_type=0.2,
    smooth=0.2,
    smooth_cluster=2.0,
    smooth_node=2.0,
    noise=0.1,
)
"""What one may think without having looked at the runs of any job."""

FITTED = Knowledge(
    cores=Effect(-0.33, 0.20),
    curvature=Effect(0.21, 0.21),
    node_size=Effect(0.08, 0.17),
    memory=Effect(0.06, 0.05),
    price=Effect(-0.38, 0.12),
    family=0.20,
    instance_type=0.14,
    smooth=0.16,
    smooth_cluster=0.86,
    smooth_node=3.6,
    noise=0.10,
)
"""What makes the first runs of the jobs of public traces most likely (``benchmarks/advise_fit.py``)."""

GENERAL = (FITTED, BROAD)
"""Few applications were measured, so a further one may be none of their kind: what was fitted to them has half the
weight, the other half is broad (an epsilon-contaminated prior: Berger and Berliner, "Robust Bayes and empirical Bayes
analysis with epsilon-contaminated priors", Annals of Statistics 14, 1986). The runs soon say which holds. What a
shortage of memory does is the same in both: only two of the applications have one, and it is what an error costs most.
"""
