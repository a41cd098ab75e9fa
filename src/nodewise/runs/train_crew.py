"""Training by workers that go on without one another: with what they need beside them, for as long as they need it."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from nodewise.core.errors import WorkerLostError
from nodewise.jobs.train import TrainJob
from nodewise.runs.session import Session, Stage
from nodewise.training.plan import TrainOutcome, TrainPlan

__all__ = ["run_crew"]


def run_crew(session: Session, metered: Stage, job: TrainJob, plan: TrainPlan) -> list[TrainOutcome]:
    """Train with strategy ``average`` or ``parameter-server``.

    Goes on from the newest checkpoint in the plan's folder. Whatever happens, no server is left.

    Returns:
        What the workers returned, in order of rank. All have the same epochs and the same losses of workers.
    """
    spec, nodes = job.spec, session.run.cluster.nodes
    steps, log = spec.epochs, plan.epoch_log
    if job.strategy == "average":
        from nodewise.training.averager import Averager

        with Averager(plan, _driver_host(session), nodes) as averager:
            try:
                outcomes = metered.crew(job.crew_function, averager.payload, steps=steps, log=log)
            except WorkerLostError:
                # Workers that were told that there will be no mean.
                if averager.error is not None:
                    raise averager.error from None
                raise
            return averager.complete(outcomes)

    from nodewise.training.parameter_servers import ParameterServers

    per_node = spec.workers_per_node
    servers = ParameterServers(plan, nodes * per_node)
    with servers as payload:
        outcomes = metered.crew(job.crew_function, payload, members_per_node=per_node, steps=steps, log=log)
        return servers.complete(outcomes)


def _driver_host(session: Session) -> str:
    """The address of this machine that the nodes reach."""
    link, cluster = session.hold.link, session.run.cluster
    if link is not None:
        return link.access.driver_host
    if cluster.address is None or cluster.address.startswith("local"):
        return "127.0.0.1"
    if cluster.engine == "ray":
        from nodewise.engines.ray_members import own_host

        return own_host()
    master = urlsplit(cluster.address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        # Nothing is sent.
        way.connect((master.hostname, master.port or 1))
        host: str = way.getsockname()[0]
    return host
