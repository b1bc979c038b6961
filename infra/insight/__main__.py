"""python -m infra.insight: what falls with what, what it costs, and the page that shows it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

from rich.table import Column, Table
from rich.text import Text

from infra.cli import add_spec_argument, err, fail, out, plan_of, runtime_text, told_in_one_line
from infra.insight import report
from infra.insight.blast import Change, Loss, Radius, difference, loss, over_budget, radii
from infra.insight.cost import MOST_COPIES, cost, price_table, staleness
from infra.insight.deployed import deployed
from infra.insight.drawing import LayoutError
from infra.insight.estate import Estate, relocated
from infra.insight.evidence import read_evidence
from infra.insight.live import NotDeployedError, Stack, cluster_objects, exported_stack, stack
from infra.insight.measure import groups_of, load, sample
from infra.insight.planned import planned
from infra.insight.schema import SCHEMA, schema_text
from infra.insight.usage import UsageError, proposals, read_export
from infra.machines.state import state
from infra.placement import Plan, Runtime

MOST_REQUESTS = 200
USAGE = Path("build/usage.json")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m infra.insight", description=__doc__.partition(": ")[2].capitalize()
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    compromised = commands.add_parser("compromised", help="what fails when a workload is compromised?")
    compromised.add_argument("workload", nargs="?", help="only this one")
    what_if = compromised.add_mutually_exclusive_group()
    what_if.add_argument(
        "--place",
        action="append",
        default=[],
        type=_move,
        metavar="WORKLOAD=RUNTIME",
        help="what if it ran there? Shows the difference",
    )
    what_if.add_argument("--against", type=Path, metavar="FILE", help="show the difference to another platform.yaml")
    compromised.set_defaults(run=_compromised)

    lost = commands.add_parser("lost", help="what fails when a machine is lost or noisy?")
    lost.add_argument("machine", nargs="?", help="only this one")
    lost.set_defaults(run=_lost)

    budget = commands.add_parser("budget", help="fail where a radius exceeds the spec's budget")
    budget.set_defaults(run=_budget)

    priced = commands.add_parser("cost", help="what the plan costs in a month, and what it should ask for")
    priced.add_argument("--usage", type=Path, metavar="FILE", help="a metrics export, for proposals")
    priced.set_defaults(run=_cost)

    measured = commands.add_parser("measure", help="measure the local platform; writes a metrics export")
    measured.add_argument("--stack", default="local", help="the stack that runs on this host (%(default)s)")
    measured.add_argument("--samples", type=int, default=30, help="how many (%(default)s)")
    measured.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="how far apart (%(default)s)")
    measured.add_argument(
        "--load", type=_rate, metavar="RATE", help="ask the platform's URL so many times a second meanwhile"
    )
    measured.add_argument("--output", type=Path, default=USAGE, help="where (%(default)s)")
    measured.set_defaults(run=_measure)

    page = commands.add_parser("report", help="write the page for the wall, and the same as JSON")
    page.add_argument("--output", type=Path, default=Path("build"), metavar="DIRECTORY", help="where (%(default)s)")
    page.add_argument("--stack", default="local", help="the stack to look at, if it is up (%(default)s)")
    page.add_argument("--plan-only", action="store_true", help="look at no stack")
    page.add_argument(
        "--usage", type=Path, metavar="FILE", help=f"a metrics export, for right-sizing ({USAGE}, if it is there)"
    )
    page.add_argument(
        "--evidence",
        type=Path,
        default=Path("build/evidence"),
        metavar="DIRECTORY",
        help="what tests and runs have left behind (%(default)s)",
    )
    page.add_argument("--write-schema", action="store_true", help=f"write {SCHEMA}, which describes the JSON, instead")
    page.set_defaults(run=_report)

    for command in (compromised, lost):
        command.add_argument("--stack", help="look at what this stack deployed, not at the plan")
    for command in (compromised, lost, priced):
        command.add_argument("--json", action="store_true", help="print JSON")
    for command in (compromised, lost, page):
        command.add_argument("--state", type=Path, metavar="FILE", help="look at what `pulumi stack export` printed")
        command.add_argument("--objects", type=Path, metavar="FILE", help="with --state: the cluster, by kubectl")
    for command in (compromised, lost, budget, priced, measured, page):
        add_spec_argument(command)
    arguments = parser.parse_args()
    with told_in_one_line(NotDeployedError, UsageError, LayoutError, ValueError):
        arguments.run(plan_of(arguments.spec), arguments)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0
    if not 0 < rate <= MOST_REQUESTS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of requests a second, up to {MOST_REQUESTS}")
    return rate


def _move(text: str) -> tuple[str, Runtime]:
    workload, _, runtime = text.partition("=")
    try:
        return workload, Runtime(runtime)
    except ValueError:
        allowed = ", ".join(r.value for r in Runtime)
        raise argparse.ArgumentTypeError(f"{text!r} is not WORKLOAD=RUNTIME with one of {allowed}") from None


def _looked_at(arguments: argparse.Namespace) -> Stack | None:
    """The stack to look at; None for the plan alone."""
    if arguments.objects and not arguments.state:
        raise ValueError("--objects says what runs in a cluster, but not on which machines: it needs --state")
    if arguments.state:
        return exported_stack(arguments.state, arguments.objects)
    return stack(arguments.stack) if arguments.stack else None


def _estate(plan: Plan, arguments: argparse.Namespace) -> Estate:
    looked_at = _looked_at(arguments)
    return looked_at.estate() if looked_at else planned(plan)


def _compromised(plan: Plan, arguments: argparse.Namespace) -> None:
    estate = _estate(plan, arguments)
    if arguments.workload and arguments.workload not in estate.workloads:
        raise ValueError(f"{arguments.workload} is not {estate.origin}; there are {', '.join(estate.workloads)}")
    if arguments.place or arguments.against:
        after = planned(plan_of(arguments.against)) if arguments.against else relocated(estate, arguments.place)
        changes = [c for c in difference(estate, after) if arguments.workload in (None, c.workload)]
        _print_changes(changes, as_json=arguments.json)
        return
    found = [radius for radius in radii(estate) if arguments.workload in (None, radius.workload)]
    if arguments.json:
        print(json.dumps([radius.to_json() for radius in found], indent=2))
        return
    _print_radii(found, estate)


def _print_radii(found: Iterable[Radius], estate: Estate) -> None:
    table = Table("if compromised", "on", "falls with it", "exposed to it", "machines held", "secrets held")
    for radius in found:
        table.add_row(
            radius.workload,
            runtime_text(radius.runtime),
            "\n".join(f"{name} (through {way})" if way else name for name, way in radius.falls.items()) or "–",
            ", ".join(radius.exposed) or "–",
            ", ".join(radius.machines) or "–",
            str(len(radius.secrets)) if radius.secrets else "–",
        )
    out.print(table, Text(f"As {estate.origin}. Falls: no further flaw is needed. Exposed: can be talked to."))
    _print_unseen(estate)
    for stand_in in estate.stand_ins():
        out.print(f"Stand-in: {stand_in}")


def _print_changes(changes: Sequence[Change], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(change) for change in changes], indent=2))
        return
    if not changes:
        out.print("No radius changes.")
        return
    table = Table("if compromised", "falls too", "falls no more", "exposed too", "exposed no more")
    for c in changes:
        lists = (c.falls_too, c.falls_no_more, c.exposed_too, c.exposed_no_more)
        table.add_row(c.workload, *(", ".join(names) or "–" for names in lists))
    out.print(table)


def _lost(plan: Plan, arguments: argparse.Namespace) -> None:
    estate = _estate(plan, arguments)
    names = [machine.name for machine in estate.machines]
    if arguments.machine and arguments.machine not in names:
        raise ValueError(f"{arguments.machine} is not a machine; there are {', '.join(names)}")
    losses: list[Loss] = [loss(estate, name) for name in names if arguments.machine in (None, name)]
    if arguments.json:
        print(json.dumps([asdict(one) for one in losses], indent=2))
        return
    table = Table(
        "machine", "if lost: down", "fewer copies", "cut off from what they need", "if noisy: slowed", "takes from"
    )
    for one in losses:
        slowed = [f"{name} (no CPU limit)" if name in one.unlimited else name for name in one.slowed]
        share = f"up to {one.takes:g} CPU from " if one.takes is not None and one.neighbours else ""
        lists = (one.down, one.thinned, one.cut_off, slowed, one.neighbours)
        *cells, neighbours = (", ".join(names) or "–" for names in lists)
        table.add_row(one.machine, *cells, share + neighbours)
    out.print(table, f"As {estate.origin}.")
    _print_unseen(estate)


def _print_unseen(estate: Estate) -> None:
    if estate.unseen:
        err.print(Text(f"Not looked at: {estate.unseen}.", style="yellow"))


def _budget(plan: Plan, arguments: argparse.Namespace) -> None:
    exceeded = over_budget(plan, planned(plan))
    for line in exceeded:
        err.print(Text(line, style="red"))
    if exceeded:
        fail("The blast radius exceeds the budget of the spec.")
    out.print("Every blast radius is within its budget.")


def _cost(plan: Plan, arguments: argparse.Namespace) -> None:
    proposed = proposals(plan, read_export(arguments.usage)) if arguments.usage else ()
    if arguments.json:
        costs = report.costs(plan, date.today())
        print(json.dumps({"cost": costs, "right_sizing": [asdict(one) for one in proposed]}, indent=2))
        return
    prices = price_table()
    found = cost(plan, prices)
    table = Table("what", "on", Column(f"{prices.currency} a month", justify="right"))
    for workload, machine, copies, month in found.vms:
        table.add_row(workload, f"{copies} × {machine}", f"{month:,.2f}")
    if found.nodes:
        on = f"{found.nodes.count} × {found.nodes.machine}, {found.nodes.density:.1f} pods a node, and control plane"
        table.add_row("cluster", on, f"{found.nodes.month:,.2f}")
    table.add_row("disks", "", f"{found.disks_month:,.2f}", end_section=True)
    table.add_row("as decided", "", f"{found.month:,.2f}")
    table.add_row("with a VM for each copy", "", f"{found.all_vms_month:,.2f}")
    out.print(table)
    never = f"not below {MOST_COPIES} copies"
    out.print(
        f"A cluster is cheaper than a VM each from {found.break_even or never} copies of the elastic workloads on."
    )
    stale = prices.stale(date.today())
    if stale:
        words = staleness({name: str(source.day) for name, source in stale.items()})
        err.print(Text(f"{words}.", style="yellow"))
    for name in found.too_large:
        err.print(Text(f"{name} fits no machine of the price table.", style="red"))
    for proposal in proposed:
        certain = "" if proposal.is_certain else " (too few samples to act on)"
        out.print(
            f"{proposal.workload}: ask for {proposal.proposed_cpu} CPU and {proposal.proposed_memory // 2**20} MiB"
            f" instead of {proposal.cpu} and {proposal.memory // 2**20}; all copies"
            f" {_difference(proposal.wasted_cpu, proposal.wasted_memory // 2**20)}{certain}"
        )


def _difference(cpu: float, mib: int) -> str:
    parts = ((f"{abs(cpu):.2f} CPU", cpu), (f"{abs(mib)} MiB", mib))
    wasted = [words for words, value in parts if value > 0]
    lacking = [words for words, value in parts if value < 0]
    found = [f"{verb} {' and '.join(words)}" for verb, words in (("waste", wasted), ("lack", lacking)) if words]
    return ", ".join(found) or "ask for what they use"


def _measure(plan: Plan, arguments: argparse.Namespace) -> None:
    running = stack(arguments.stack)
    objects = cluster_objects(running.kubeconfig)
    estate = deployed(running.outputs, running.resources, objects)
    groups = groups_of(estate, objects["pods"], state().bridge)
    with load(running.outputs["app_url"], arguments.load) if arguments.load else nullcontext() as answers:
        samples = sample(groups, arguments.samples, arguments.every)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({name: asdict(s) for name, s in samples.items()}, indent=2) + "\n")
    out.print(f"{arguments.output}: {arguments.samples} samples of {', '.join(samples)}")
    if answers:
        out.print(f"Meanwhile {answers.good} requests were answered and {answers.bad} failed.")
        if not answers.good:
            fail("Nothing was answered: these figures are of an idle platform.")
    else:
        out.print("Measured as they are now: proposals are worth as much as the load that they carried meanwhile.")
    for missing in set(plan.spec.workloads) - set(samples):
        err.print(f"{missing}: its control group is not on this host")


def _report(plan: Plan, arguments: argparse.Namespace) -> None:
    if arguments.write_schema:
        SCHEMA.write_text(schema_text(), encoding="utf-8")
        out.print(f"{SCHEMA}: written")
        return
    looked_at = None
    if not arguments.plan_only:
        try:
            looked_at = _looked_at(arguments)
        except NotDeployedError as error:
            if arguments.state:
                raise
            err.print(f"Plan only: {error}")
    exported = arguments.usage or (USAGE if USAGE.is_file() else None)
    usage = read_export(exported) if exported else None
    evidence = read_evidence(arguments.evidence)
    estate = looked_at.estate() if looked_at else planned(plan)
    now = datetime.now(UTC).replace(microsecond=0)
    data = report.gather(plan, estate, looked_at, now=now, evidence=evidence, usage=usage)
    for file in report.write(arguments.output, data, report.render(data, estate)):
        out.print(f"{file}: written")


if __name__ == "__main__":
    main()
