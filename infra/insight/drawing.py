"""The picture of a platform: tiers, machines in them, workloads in these, and the flows between.

ELK lays it out (layout/, its library comes from npm by its hash), so that no arrow runs through a box. Only coordinates
reach the page, which needs neither the library nor a script to show them. The same platform gives the same picture.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from infra.insight.estate import OPEN, Estate, Machine

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = Path(__file__).with_name("layout")
WIDEST = 1132
"""What fits the page."""
MOST = 150
"""Workloads of which a picture still tells anything; of more there is the table."""

_CLIENTS = "clients"
_CORNER = 7.0
# Widths of text are estimated: a system's font is not known, and boxes may be a little too wide.
_NAME, _TITLE, _LABEL = 9.8, 7.8, 7.0
_OPTIONS = {
    "elk.algorithm": "layered",
    "elk.hierarchyHandling": "INCLUDE_CHILDREN",
    "elk.edgeRouting": "ORTHOGONAL",
    "elk.json.shapeCoords": "ROOT",
    "elk.json.edgeCoords": "ROOT",
    "elk.padding": "[top=8,left=8,bottom=8,right=8]",
    # Clients before the elastic tier before the VM tier, also where somebody below calls upwards.
    "elk.partitioning.activate": "true",
    # A file's order is kept where nothing speaks against it, so that a picture changes as little as its platform.
    "elk.layered.considerModelOrder.strategy": "NODES_AND_EDGES",
    "elk.layered.nodePlacement.strategy": "NETWORK_SIMPLEX",
    "elk.layered.edgeLabels.sideSelection": "ALWAYS_UP",
    "elk.spacing.nodeNode": "24",
    "elk.spacing.edgeNode": "16",
    "elk.spacing.edgeEdge": "12",
    "elk.spacing.edgeLabel": "4",
    "elk.layered.spacing.nodeNodeBetweenLayers": "38",
    "elk.layered.spacing.edgeNodeBetweenLayers": "18",
    "elk.layered.spacing.edgeEdgeBetweenLayers": "12",
}


class Direction(str, Enum):
    """Which way calls go."""

    RIGHT = "RIGHT"
    DOWN = "DOWN"


@dataclass(frozen=True)
class Box:
    """A rectangle with a title and notes below it.

    Attributes:
        machines: the machines that it stands for; none for a workload.
    """

    name: str
    title: str
    notes: tuple[str, ...]
    style: str
    x: float
    y: float
    width: float
    height: float
    title_y: float = 0
    machines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arrow:
    """A flow; source is empty where it comes from outside."""

    source: str
    target: str
    path: str
    label: str
    label_x: float
    label_y: float


@dataclass(frozen=True)
class Drawing:
    direction: Direction
    width: float
    height: float
    tiers: tuple[Box, ...]
    machines: tuple[Box, ...]
    workloads: tuple[Box, ...]
    clients: Box | None
    arrows: tuple[Arrow, ...]


@dataclass(frozen=True)
class _Group:
    """Machines that are drawn as one: the nodes of a pool, or the machines of the same workloads."""

    machines: tuple[Machine, ...]
    workloads: tuple[str, ...]

    @property
    def title(self) -> str:
        first, last = self.machines[0].name, self.machines[-1].name
        return first if first == last else f"{first} … {last} ({len(self.machines)})"

    @property
    def shares_kernel(self) -> bool:
        return any(machine.kernel != machine.name for machine in self.machines)


class LayoutError(Exception):
    """The layout program is not installed, or did not work."""


def drawings(estate: Estate, sizes: Mapping[str, int]) -> tuple[Drawing, ...]:
    """The platform from left to right for a wide page, and from above for a narrow one, or just the one that fits both;
    none of a platform that is too large to be drawn.

    Args:
        sizes: how many other workloads fall with each.
    """
    if len(estate.workloads) > MOST:
        return ()
    wide, tall = (draw(estate, sizes, direction) for direction in Direction)
    return (tall,) if wide.width > max(WIDEST, tall.width) else (wide, tall)


def draw(estate: Estate, sizes: Mapping[str, int], direction: Direction) -> Drawing:
    """Clients first, then the elastic tier, then the VM tier: calls mostly go that way."""
    groups = list(_groups(estate))
    public = [name for name in estate.workloads if _is_public(estate, name)]
    laid_out = _laid_out(_graph(estate, groups, public, sizes, direction))
    tiers, machines, workloads, clients = [], [], [], None
    for node in laid_out["children"]:
        if node["id"] == _CLIENTS:
            clients = _box(node, _CLIENTS)
            continue
        tiers.append(_box(node, "tier"))
        for machine in node["children"]:
            group = groups[int(machine["id"].partition(":")[2])]
            style = "shared" if group.shares_kernel else "own"
            machines.append(_box(machine, style, tuple(m.name for m in group.machines)))
            workloads += [_box(child, _runtime(estate, child["name"])) for child in machine["children"]]
    arrows = tuple(_arrow(edge) for edge in sorted(_edges(laid_out), key=lambda edge: int(edge["id"][1:])))
    size = laid_out["width"], laid_out["height"]
    return Drawing(direction, *size, tuple(tiers), tuple(machines), tuple(workloads), clients, arrows)


def _groups(estate: Estate) -> Iterator[_Group]:
    members: dict[tuple[Any, ...], list[Machine]] = {}
    carried: dict[str, list[str]] = {}
    for unit in estate.units:
        carried.setdefault(unit.machine, []).append(unit.workload)
    for machine in estate.machines:
        here = tuple(sorted(set(carried.get(machine.name, ()))))
        key = ("node", machine.pool, machine.is_control_plane) if machine.is_node else ("vm", here or machine.name)
        members.setdefault(key, []).append(machine)
    drawn: set[str] = set()
    for machines in members.values():
        names = [name for machine in machines for name in carried.get(machine.name, ()) if name not in drawn]
        drawn |= set(names)
        yield _Group(tuple(machines), tuple(dict.fromkeys(names)))


def _is_public(estate: Estate, workload: str) -> bool:
    return any(c.destination == workload and c.through == OPEN for c in estate.connections)


def _runtime(estate: Estate, workload: str) -> str:
    return estate.units_of(workload)[0].runtime.value


def _graph(
    estate: Estate, groups: list[_Group], public: list[str], sizes: Mapping[str, int], direction: Direction
) -> dict[str, Any]:
    """The platform as ELK reads it; what it does not know it hands back as it was."""
    children: list[dict[str, Any]] = []
    if public:
        children.append({**_node(_CLIENTS, _CLIENTS, "Clients", (), 112, 36), **_partition(0)})
    for number, (title, is_elastic) in enumerate((("Elastic tier", True), ("VM tier", False)), 1):
        machines = [
            _machine(
                estate, index, group, sizes, direction, titles_below=direction is Direction.DOWN and not is_elastic
            )
            for index, group in enumerate(groups)
            if group.machines[0].is_node is is_elastic
        ]
        if machines:
            tier = _node(f"t:{number}", title, title, (), 8.6 * len(title) + 32, 60)
            children.append(tier | {"children": machines} | _options(number, "[top=40,left=18,bottom=18,right=18]"))
    drawn = {name for group in groups for name in group.workloads}
    flows = [("", name, "") for name in public]
    flows += [(source, target, _ports(estate, source, target)) for source, target in estate.dependencies]
    edges = [
        {
            **{"id": f"e{index}", "source": source, "target": target, "text": ports},
            **{"sources": [f"w:{source}" if source else _CLIENTS], "targets": [f"w:{target}"]},
            "labels": [{"text": ports, "width": _LABEL * len(ports) + 4, "height": 14}] if ports else [],
        }
        for index, (source, target, ports) in enumerate(flows)
        if target in drawn and (source in drawn or not source)
    ]
    options = _OPTIONS | {"elk.direction": direction.value}
    return {"id": "platform", "children": children, "edges": edges, "layoutOptions": options}


def _machine(
    estate: Estate,
    index: int,
    group: _Group,
    sizes: Mapping[str, int],
    direction: Direction,
    *,
    titles_below: bool,
) -> dict[str, Any]:
    """Its title is where flows seldom cross it: they enter the VM tier from above where calls go down."""
    notes = ("shares the host's kernel" if group.shares_kernel else "its own kernel",)
    width = _TITLE * max(len(group.title), len(notes[0])) + 36
    node = _node(f"m:{index}", group.machines[0].name, group.title, notes, width, 62)
    node["children"] = [_workload(estate, name, sizes.get(name, 0)) for name in group.workloads]
    above, below = (18, 52) if titles_below else (52, 18)
    padding = {
        "elk.padding": f"[top={above},left=18,bottom={below},right=18]",
        "elk.nodeSize.constraints": "MINIMUM_SIZE",
        # ELK turns a graph that goes down on its side, but not this pair.
        "elk.nodeSize.minimum": f"({width},62)" if direction is Direction.RIGHT else f"(62,{width})",
    }
    return node | {"layoutOptions": padding, "titles_below": titles_below}


def _workload(estate: Estate, name: str, size: int) -> dict[str, Any]:
    units = estate.units_of(name)
    copies = f"{len(units)} copies" if len(units) > 1 else "1 copy"
    notes = (f"{units[0].runtime.value} · {copies}", f"takes {size} with it" if size else "falls alone")
    return _node(f"w:{name}", name, name, notes, max(168, _NAME * len(name) + 34), 84)


def _node(identity: str, name: str, title: str, notes: tuple[str, ...], width: float, height: float) -> dict[str, Any]:
    return {"id": identity, "name": name, "title": title, "notes": notes, "width": width, "height": height}


def _options(partition: int, padding: str) -> dict[str, Any]:
    return {"layoutOptions": _partition(partition)["layoutOptions"] | {"elk.padding": padding}}


def _partition(number: int) -> dict[str, Any]:
    return {"layoutOptions": {"elk.partitioning.partition": str(number)}}


def _ports(estate: Estate, source: str, target: str) -> str:
    ports = {c.port for c in estate.connections if (c.source, c.destination) == (source, target)}
    return ", ".join(map(str, sorted(ports)))


def _laid_out(graph: dict[str, Any]) -> dict[str, Any]:
    node = ROOT / ".venv/bin/node"
    if not node.exists() or not (LAYOUT / "node_modules/elkjs").is_dir():
        raise LayoutError("the picture's layout is not installed; run `make setup-fast`")
    command = [str(node), str(LAYOUT / "layout.js")]
    run = subprocess.run(command, input=json.dumps(graph), capture_output=True, text=True, timeout=120)
    if run.returncode:
        raise LayoutError(f"the picture could not be laid out: {run.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def _edges(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """ELK keeps an edge with the innermost box that holds both of its ends."""
    yield from node.get("edges", ())
    for child in node.get("children", ()):
        yield from _edges(child)


def _box(node: dict[str, Any], style: str, machines: tuple[str, ...] = ()) -> Box:
    x, y, width, height = (float(node[key]) for key in ("x", "y", "width", "height"))
    title_y = y + height - 30 if node.get("titles_below") else y + 23
    return Box(node["name"], node["title"], tuple(node["notes"]), style, x, y, width, height, title_y, machines)


def _arrow(edge: dict[str, Any]) -> Arrow:
    section = edge["sections"][0]
    corners = [section["startPoint"], *section.get("bendPoints", ()), section["endPoint"]]
    points = [(corner["x"], corner["y"]) for corner in corners]
    label = next(iter(edge["labels"]), {"x": 0, "y": 0})
    return Arrow(edge["source"], edge["target"], _rounded(points), edge["text"], label["x"], label["y"] + 11)


def _rounded(points: list[tuple[float, float]]) -> str:
    """An SVG path along the points, its corners rounded as far as their sides allow."""
    path = [f"M{points[0][0]:g} {points[0][1]:g}"]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        entry, leave = _towards(here, before), _towards(here, after)
        path.append(f"L{entry[0]:g} {entry[1]:g}Q{here[0]:g} {here[1]:g} {leave[0]:g} {leave[1]:g}")
    return "".join([*path, f"L{points[-1][0]:g} {points[-1][1]:g}"])


def _towards(here: tuple[float, float], there: tuple[float, float]) -> tuple[float, float]:
    length = abs(there[0] - here[0]) + abs(there[1] - here[1])
    part = min(_CORNER, length / 2) / length if length else 0
    return here[0] + (there[0] - here[0]) * part, here[1] + (there[1] - here[1]) * part
