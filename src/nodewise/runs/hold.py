"""A run's cluster: brought up or taken, metered, watched, paid for and let go."""

from __future__ import annotations

import os
import time
from _thread import interrupt_main
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from nodewise.billing.meter import bill_run
from nodewise.clusters.link import ClusterLink, needs_supervisor, start_job_cluster, take_cluster
from nodewise.clusters.plan import ClusterPlan, current_user
from nodewise.core.errors import ClusterLostError, WorkerLostError
from nodewise.core.units import format_bytes
from nodewise.isolation.places import memory_kills
from nodewise.metering.pricing import Pricing
from nodewise.metering.sampler import Sampler
from nodewise.runs.follow import NodeFollower
from nodewise.specs.access import ClusterAccess
from nodewise.specs.place import EmulationTier, NodePlace
from nodewise.specs.run import RunRecord
from nodewise.specs.usage import DRIVER, MACHINE, UsageSample
from nodewise.workspace.store import Workspace

__all__ = ["ClusterHold"]

SETTLE_S = 5.0


class ClusterHold:
    """The cluster of one run, from :meth:`open` to :meth:`close`; used from the thread that runs the job.

    Args:
        job_server: Whether a program will be handed to the cluster to run.
    """

    def __init__(
        self, workspace: Workspace, run: RunRecord, pricing: Pricing | None, *, job_server: bool = False
    ) -> None:
        self._workspace = workspace
        self._run = run
        self._pricing = pricing or Pricing()
        self._job_server = job_server
        self._began_at = datetime.now(UTC)
        self._began: float | None = None
        self._closed_s: float | None = None
        self._sampler: Sampler | None = None
        self._follower: NodeFollower | None = None
        self._is_lost = False
        self.link: ClusterLink | None = None

    def open(self) -> ClusterAccess | None:
        """Bring the cluster up, or take the one that the run names; from here on time is billed.

        Returns:
            How to reach it; None where the engine itself is the cluster, or its address is all there is to know.
        """
        self._began_at, self._began = datetime.now(UTC), time.perf_counter()
        run = self._run
        plan = ClusterPlan(
            cluster=run.cluster,
            tags=run.tags,
            pricing=self._pricing,
            job=run.command,
            job_server=self._job_server,
            user=current_user(),
        )
        if run.cluster_name is not None and run.cluster.address is None:
            _, self.link = take_cluster(self._workspace, run.cluster_name, run.run_id, run.command, run.tags)
        elif needs_supervisor(plan):
            self.link = start_job_cluster(self._workspace, run.run_id, plan)
        # What is there now; the engine's processes of a node without control group are found as its descendants.
        self._sampler = Sampler(self._places)
        self._sampler.start()
        if self.link is not None and self.link.access.is_autoscaled:
            name = run.cluster_name or run.run_id
            self._follower = NodeFollower(self._workspace.clusters, name, self._sampler, self.link.access.places)
            self._follower.start()
        return None if self.link is None else self.link.access

    def begin_work(self) -> None:
        """The engine is up: hold every node to its share, and notice should the cluster end."""
        if self.link is not None:
            # The start of JVMs and interpreters is not what is compared, so it was not held back.
            self.link.limit()
            self.link.watch(self._interrupt)

    @property
    def cluster_s(self) -> float:
        """Billed seconds: so far, or in all."""
        if self._closed_s is not None:
            return self._closed_s
        return 0.0 if self._began is None else time.perf_counter() - self._began

    def node_s(self, samples: Iterable[UsageSample]) -> float:
        """Billed seconds of all nodes together.

        Args:
            samples: What :meth:`close` returned. Of a cluster that its engine lets grow and shrink they tell how long
                each node was there, to the length of a sample; the ledger has it exactly.
        """
        if self.link is None or not self.link.access.is_autoscaled:
            # Each node to the millisecond, so that what is billed is the price times the time that is shown.
            return self._run.cluster.nodes * round(self.cluster_s, 3)
        return sum(sample.interval_s for sample in samples if sample.node not in (DRIVER, MACHINE))

    @property
    def tier(self) -> EmulationTier | None:
        """How far the emulated nodes are kept apart; None where there are none."""
        return None if self.link is None else self.link.tier

    def memory_kills(self) -> int:
        """How many processes the kernel has ended so far because their node was at its memory limit."""
        return 0 if self.link is None else sum(map(memory_kills, self.link.access.places))

    def explain(self, raised: BaseException, memory_kills: int) -> BaseException:
        """The error with the reason that only the cluster knows, where there is one.

        Args:
            memory_kills: That happened meanwhile.
        """
        limit = self._run.cluster.limits.memory_bytes
        if self._is_lost or (self.link is not None and isinstance(raised, ClusterLostError)):
            return ClusterLostError(f"the cluster ended during the run: {self._end_reason()}", hint="run it again")
        if isinstance(raised, WorkerLostError) and memory_kills and limit is not None:
            return WorkerLostError(
                f"{raised.message}: {memory_kills} processes were ended at the node's memory limit of "
                f"{format_bytes(limit)}",
                hint="give nodes more memory (--memory-per-node), or tasks less to do at a time",
            )
        return raised

    def close(self) -> list[UsageSample]:
        """Let the cluster go, or end it, and return what its nodes used; once, whatever has happened."""
        if self._follower is not None:
            self._follower.stop()
            self._follower = None
        samples = self._sampler.stop() if self._sampler is not None else []
        self._sampler = None
        if self.link is not None:
            self.link.close()
        self._closed_s = self.cluster_s
        if self.link is None and self._began is not None:
            self._bill()
        return samples

    def _bill(self) -> None:
        run = self._run
        bill_run(
            self._workspace.ledger,
            run_id=run.run_id,
            cluster=run.cluster,
            job=run.command,
            user=current_user(),
            started_at=self._began_at,
            ended_at=self._began_at + timedelta(seconds=self.cluster_s),
            tags=run.tags,
            pricing=self._pricing,
        )

    def _end_reason(self) -> str:
        name = self._run.cluster_name or self._run.run_id
        deadline = time.monotonic() + SETTLE_S
        # Of a supervisor that was killed its guard has to say so first.
        while (record := self._workspace.clusters.get(name)).state.is_up and time.monotonic() < deadline:
            time.sleep(0.1)
        return record.state_message or "its supervisor is gone"

    @property
    def _places(self) -> list[NodePlace]:
        here = (os.getpid(),)
        if self.link is not None:
            driver = NodePlace(name="driver", host=self.link.access.driver_host, pids=here)
            return [*self.link.access.places, driver]
        # A single node that is this process and its workers; or somebody else's, of which only the driver is here.
        name = "node-0" if self._run.cluster.emulated else "driver"
        return [NodePlace(name=name, host="127.0.0.1", pids=here)]

    def _interrupt(self) -> None:
        """Wake the main thread, which may wait for a cluster that will never answer."""
        self._is_lost = True
        interrupt_main()
