"""What is believed of a job's run time on every configuration of a space, before any run and after some.

One Gaussian process over the logarithm of the run time for all node types and counts together, not one curve for each:
linear effects of what is known to matter (:mod:`~nodewise.advice.knowledge`) with a normal prior over jobs, plus what
families and types of nodes have of their own, plus a smooth rest (Rasmussen and Williams, "Gaussian Processes for
Machine Learning", chapters 2 and 2.7 on explicit basis functions). A job whose working set does not fit into the
cluster's memory is much slower, at a size that nobody knows before: so there is one process for each of several sizes,
and for each of several priors, weighed by how likely each makes the runs that were observed (Bayesian model averaging,
Hoeting et al. 1999). A job of the same application on other data, where there is one, is one more such hypothesis: that
this job is like that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nodewise.advice.features import Features
from nodewise.advice.knowledge import GENERAL, Knowledge
from nodewise.advice.priors import job_like, jobs_in_general
from nodewise.advice.space import Array, Observation, SearchSpace

__all__ = ["Belief", "Posterior"]


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Normal distributions of ln(run time in seconds): k processes of n configurations.

    Attributes:
        weights: Probability of each, shape (k,).
        means, deviations: Shape (k, n); of a run to come, its noise included.
        lacks_memory: Probability that the memory of a configuration is too small for the job, shape (n,).
    """

    weights: Array
    means: Array
    deviations: Array
    lacks_memory: Array


class Belief:
    """What is believed of one job.

    Args:
        knowledge: Of jobs in general: one prior, or several with weights.
        similar: Runs of jobs that are thought to be like this one, on the same space; those of each job.
    """

    def __init__(
        self,
        space: SearchSpace,
        knowledge: Sequence[Knowledge] = GENERAL,
        similar: Sequence[Sequence[Observation]] = (),
    ) -> None:
        features = Features(space)
        total = sum(one.weight for one in knowledge)
        general = [jobs_in_general(features, one, one.weight / total) for one in knowledge]
        is_like = knowledge[0].is_like_similar if similar else 0.0
        alike = [job_like(general, runs, is_like / len(similar)) for runs in similar]
        self._processes = [one for prior in general for one in prior.processes(1 - is_like)]
        self._processes += [one for prior in alike for one in prior.processes()]

    def after(self, observed: Sequence[Observation]) -> Posterior:
        """What is believed once these runs are known."""
        processes = [one.given(observed) for one in self._processes]
        weights = np.array([one.log_weight for one in processes])
        scaled = np.exp(weights - weights.max())
        variances = np.array([np.diag(one.covariance) for one in processes])
        noise = np.array([one.knowledge.noise for one in processes])
        shares = scaled / scaled.sum()
        return Posterior(
            weights=shares,
            means=np.array([one.mean for one in processes]),
            deviations=np.sqrt(np.maximum(variances, 0.0) + noise[:, None] ** 2),
            lacks_memory=shares @ [one.is_short for one in processes],
        )

    def log_evidence(self, observed: Sequence[Observation]) -> float:
        """Logarithm of the density of these runs, which must all have ended well."""
        return float(np.logaddexp.reduce([one.given(observed).log_weight for one in self._processes]))
