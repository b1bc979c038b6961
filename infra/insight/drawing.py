"""The picture of a platform as SVG coordinates: machines as rooms, workloads in them, flows between them.

Laid out by hand rather than by a library: a platform has two tiers and a few machines, and a picture that keeps its
places from one day to the next can be learned by heart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra.insight.estate import OPEN, Estate, Machine

WIDTH = 960
_MARGIN, _GAP = 24, 36
_BOX_WIDTH, _BOX_HEIGHT, _BOX_GAP = 214, 88, 70
_CLIENTS = 34
_LABEL, _PAD = 48, 18
_LONGEST = 24
_ROOM = WIDTH - 2 * (_MARGIN + _PAD)


@dataclass(frozen=True)
class Box:
    """A rectangle with a title and notes below it; text_y is where the title stands."""

    name: str
    x: float
    y: float
    width: float
    height: float
    title: str
    notes: tuple[str, ...]
    style: str
    text_y: float

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True)
class Arrow:
    source: str
    target: str
    path: str
    label: str
    label_x: float
    label_y: float


@dataclass(frozen=True)
class Drawing:
    width: int
    height: float
    tiers: tuple[Box, ...]
    machines: tuple[Box, ...]
    workloads: tuple[Box, ...]
    clients: Box | None
    arrows: tuple[Arrow, ...]


def draw(estate: Estate, sizes: Mapping[str, int]) -> Drawing:
    """Clients above, then the elastic tier, then the VM tier: calls mostly go down.

    Args:
        sizes: how many other workloads fall with each.
    """
    clusters = [m for m in estate.machines if m.is_node]
    vms = [m for m in estate.machines if m not in clusters]
    public = [name for name in estate.workloads if _is_public(estate, name)]
    top: float = _MARGIN + (_CLIENTS + _GAP if public else 0)
    tiers: list[Box] = []
    machines: list[Box] = []
    workloads: list[Box] = []
    for title, row in (("Elastic tier", clusters), ("VM tier", vms)):
        if not row:
            continue
        # Flows leave the upper tier below and enter the lower one above: the machines' labels are on the other side.
        boxes, inner, height = _row(estate, row, sizes, top + 34, labels_above=row is clusters)
        tiers.append(Box(title, _MARGIN, top, WIDTH - 2 * _MARGIN, height + 34 + _PAD, title, (), "tier", top + 23))
        machines += boxes
        workloads += [box for box in inner if box.name not in {w.name for w in workloads}]
        top += height + 34 + _PAD + 2 * _GAP
    height = top - 2 * _GAP + _MARGIN
    clients, ways_in = _clients([box for box in workloads if box.name in public])
    arrows = (*ways_in, *_arrows(estate, workloads))
    return Drawing(WIDTH, height, tuple(tiers), tuple(machines), tuple(workloads), clients, arrows)


def _is_public(estate: Estate, workload: str) -> bool:
    return any(c.destination == workload and c.through == OPEN for c in estate.connections)


def _clients(public: list[Box]) -> tuple[Box | None, list[Arrow]]:
    """Who comes from outside, above whom they come to; the arrows enter on the right, beside the machines' names."""
    if not public:
        return None, []
    ends = [(box, box.x + box.width - 32) for box in public]
    middle = sum(x for _, x in ends) / len(ends)
    clients = Box("clients", middle - 60, _MARGIN / 2, 120, _CLIENTS, "Clients", (), "clients", _MARGIN / 2 + 22)
    bottom = clients.y + clients.height
    paths = [f"M{middle:.0f} {bottom:.0f} L{x:.0f} {box.y - 6:.0f}" for box, x in ends]
    return clients, [Arrow("", box.name, path, "", 0, 0) for (box, _), path in zip(ends, paths, strict=True)]


def _row(
    estate: Estate, row: list[Machine], sizes: Mapping[str, int], top: float, *, labels_above: bool
) -> tuple[list[Box], list[Box], float]:
    """The machines of one tier, wrapped into as many lines as they need."""
    boxes: list[Box] = []
    inner: list[Box] = []
    start = top
    for line in _lines(estate, row):
        left = (WIDTH - sum(width for _, _, width in line) - _GAP * (len(line) - 1)) / 2
        tallest = 0.0
        for machine, names, width in line:
            columns = _columns(names)
            rows = max(1, -(-len(names) // columns))
            height = _LABEL + rows * (_BOX_HEIGHT + _PAD)
            shared = machine.kernel != machine.name
            note = "shares the host's kernel" if shared else "its own kernel"
            label_y = top + 21 if labels_above else top + height - 27
            style = "shared" if shared else "own"
            title = machine.name if len(machine.name) <= _LONGEST else f"{machine.name[:_LONGEST]}…"
            boxes.append(Box(machine.name, left, top, width, height, title, (note,), style, label_y))
            for index, name in enumerate(names):
                x = left + _PAD + (index % columns) * (_BOX_WIDTH + _BOX_GAP)
                y = top + (_LABEL if labels_above else _PAD) + (index // columns) * (_BOX_HEIGHT + _PAD)
                inner.append(_workload(estate, name, sizes.get(name, 0), x, y))
            left += width + _GAP
            tallest = max(tallest, height)
        top += tallest + _GAP
    return boxes, inner, top - _GAP - start


def _lines(estate: Estate, row: list[Machine]) -> list[list[tuple[Machine, list[str], float]]]:
    """The machines with their workloads and widths, broken into lines that fit."""
    lines: list[list[tuple[Machine, list[str], float]]] = [[]]
    for machine in row:
        names = list(dict.fromkeys(unit.workload for unit in estate.units if unit.machine == machine.name))
        width = _columns(names) * (_BOX_WIDTH + _BOX_GAP) - _BOX_GAP + 2 * _PAD
        used = sum(other + _GAP for _, _, other in lines[-1])
        if lines[-1] and used + width > _ROOM:
            lines.append([])
        lines[-1].append((machine, names, width))
    return lines


def _columns(names: list[str]) -> int:
    return max(1, min(len(names), int((_ROOM - 2 * _PAD + _BOX_GAP) // (_BOX_WIDTH + _BOX_GAP))))


def _workload(estate: Estate, name: str, size: int, x: float, y: float) -> Box:
    units = estate.units_of(name)
    copies = f"{len(units)} copies" if len(units) > 1 else "1 copy"
    runtime = units[0].runtime.value
    takes = f"takes {size} with it" if size else "falls alone"
    return Box(name, x, y, _BOX_WIDTH, _BOX_HEIGHT, name, (f"{runtime} · {copies}", takes), runtime, y + 28)


def _arrows(estate: Estate, workloads: list[Box]) -> tuple[Arrow, ...]:
    boxes = {box.name: box for box in workloads}
    arrows = []
    for source, target in estate.dependencies:
        if source not in boxes or target not in boxes:
            continue
        ports = sorted({c.port for c in estate.connections if (c.source, c.destination) == (source, target)})
        arrows.append(_arrow(boxes[source], boxes[target], ", ".join(map(str, ports))))
    return tuple(arrows)


def _arrow(source: Box, target: Box, label: str) -> Arrow:
    (sx, sy), (tx, ty) = source.centre, target.centre
    if abs(sy - ty) < 1:
        direction = 1 if tx > sx else -1
        sx, tx = sx + direction * source.width / 2, tx - direction * (target.width / 2 + 6)
        return Arrow(source.name, target.name, f"M{sx:.0f} {sy:.0f} L{tx:.0f} {ty:.0f}", label, (sx + tx) / 2, sy - 8)
    down = 1 if ty > sy else -1
    sy, ty = sy + down * source.height / 2, ty - down * (target.height / 2 + 6)
    middle = (sy + ty) / 2
    path = f"M{sx:.0f} {sy:.0f} C{sx:.0f} {middle:.0f} {tx:.0f} {middle:.0f} {tx:.0f} {ty:.0f}"
    return Arrow(source.name, target.name, path, label, (sx + tx) / 2 + 8, middle)
