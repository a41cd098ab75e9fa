"""Whether a stated quota or a budget stands against it."""

from __future__ import annotations

from collections.abc import Iterator

from nodewise.billing.budgets import check_budgets
from nodewise.core.findings import Finding
from nodewise.core.units import format_usd
from nodewise.metering.prices import find_node_type
from nodewise.preflight.plan import Plan

__all__ = ["check_money", "check_quota"]


def check_quota(plan: Plan) -> Iterator[Finding]:
    """The vCPUs and addresses of all nodes and the driver are no more than the account may have."""
    definition, nodes = plan.definition, plan.cluster.nodes
    quota = plan.quota if definition is None else definition.quota
    if quota.addresses is not None and nodes + 1 > quota.addresses:
        yield Finding(
            level="error",
            what=f"{nodes} nodes and a driver need {nodes + 1} addresses, and the quota is {quota.addresses}",
            remedy=f"take at most {max(0, quota.addresses - 1)} nodes, or have the quota raised",
        )
    if quota.vcpus is None:
        return
    if plan.cluster.node_type is None:
        yield Finding(
            level="warning",
            what=f"the quota of {quota.vcpus} vCPUs cannot be checked",
            detail="no node type says how many a node has",
            remedy="name one: node_type, see `nodewise nodes list`",
        )
        return
    per_node = find_node_type(plan.cluster.node_type).vcpus
    named = plan.driver_node_type if definition is None else definition.driver_node_type
    driver = per_node if named is None else find_node_type(named).vcpus
    needed = nodes * per_node + driver
    if needed > quota.vcpus:
        most = int((quota.vcpus - driver) // per_node)
        yield Finding(
            level="error",
            what=f"{nodes} x {per_node:g} vCPUs and {driver:g} of the driver are {needed:g}, "
            f"and the quota is {quota.vcpus}",
            remedy=(f"take at most {most} nodes, " if most > 0 else "take ")
            + "a smaller node type, or have the quota raised",
        )


def check_money(plan: Plan) -> Iterator[Finding]:
    """What is expected fits the definition's budget, and no budget of a tag is used up."""
    budget = None if plan.definition is None else plan.definition.budget_usd
    if budget is not None and plan.expected_usd is not None and plan.expected_usd > budget:
        yield Finding(
            level="error",
            what=f"it is expected to cost {format_usd(plan.expected_usd)}, and its budget is {format_usd(budget)}",
            remedy="raise budget_usd in the definition, take fewer or cheaper nodes",
        )
    if not plan.tags:
        return
    for finding in check_budgets(plan.workspace, plan.tags, plan.expected_usd):
        yield Finding(
            level="error" if finding.level == "stop" else "warning",
            what=finding.message,
            remedy=f"nodewise costs budget set tag:{finding.tag} --{finding.level} AMOUNT; or take another tag",
        )
