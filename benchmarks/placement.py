"""How long it takes to read and to place an estate, and to refuse a file that means harm.

    .venv/bin/python benchmarks/placement.py [WORKLOADS...]

Seconds are of the processor, the best of three, so that what else the machine does counts little.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

from infra.placement import place  # noqa: E402
from infra.spec import SpecError, load_spec  # noqa: E402
from infra.spec.answers import CHECKLIST  # noqa: E402
from infra.spec.loader import MAX_BYTES  # noqa: E402

SIZES = (1_250, 2_500, 5_000, 10_000)
ROUNDS = 3


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "platform.yaml"
        for size in map(int, sys.argv[1:] or SIZES):
            file.write_text(estate(size))
            spec = load_spec(file)
            distinct = len({str((w.checklist, w.stateful, w.untrusted, w.public)) for w in spec.workloads.values()})
            read, decide = best(lambda: load_spec(file)), best(lambda spec=spec: place(spec))
            print(f"{size:,} workloads, {distinct:,} different: read in {read:.2f} s, placed in {decide:.2f} s")
        for name, content in hostile().items():
            file.write_bytes(content)
            print(f"{name}: refused in {best(lambda: refuse(file)):.2f} s")


def best(work: Callable[[], object]) -> float:
    def seconds() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    return min(seconds() for _ in range(ROUNDS))


def refuse(file: Path) -> None:
    try:
        load_spec(file)
    except SpecError:
        return
    raise AssertionError(f"{file} was accepted")


def estate(size: int) -> str:
    """A platform in which as many workloads as possible answer differently, and each talks to two others."""
    maturity = "".join(
        f"  {question}: {{answer: true, evidence: seen}}\n"
        for question in ("observability", "ci_cd", "image_governance", "scheduling_discipline")
    )
    lines = [f"version: 1\nname: estate\ndecided_on: 2026-11-23\nmaturity:\n{maturity}workloads:\n"]
    for index, answers in zip(range(size), itertools.cycle(_answers()), strict=False):
        *checklist, stateful, untrusted, public = answers
        peers = ", ".join(f"w{(index + step) % size}" for step in (1, 7))
        lines.append(
            f"  w{index}:\n    image: web\n    ports: [8080]\n    talks_to: [{peers}]\n    stateful: {stateful}\n"
            f"    untrusted: {untrusted}\n    public: {public}\n    resources: {{cpu: 0.5, disk: 1GiB}}\n"
            "    checklist:\n"
            + "".join(f"      {question}: {answer}\n" for question, answer in zip(CHECKLIST, checklist, strict=True))
        )
    return "".join(lines)


def _answers() -> Iterator[tuple[str, ...]]:
    choices = [question.answers for question in CHECKLIST.values()]
    for answers in itertools.product(*choices, *[("no", "yes")] * 3):
        yield tuple({"yes": "true", "no": "false"}.get(answer, answer) for answer in answers)


def hostile() -> dict[str, bytes]:
    head = b"a: &a [x, x]\n"
    bomb = "".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abc", "bcd", strict=True)
    )
    return {
        "16 MiB and a byte": b"#" * (MAX_BYTES + 1),
        "an alias bomb": head + bomb.encode(),
        "8 million brackets": b"a: " + b"[" * 8_000_000,
        "a list of 7 million": b"a: [" + b"1," * 7_000_000 + b"]",
        "300,000 unknown fields": b"".join(b"k%d: 1\n" % number for number in range(300_000)),
        "a line of 15 MB": b"a: " + b"x" * 15_000_000,
        "a number of 15 MB": b"a: " + b"9" * 15_000_000,
        "300,000 workloads that are none": b"workloads:\n" + b"".join(b"  w%d: 1\n" % n for n in range(300_000)),
        "a million values in small lists": b"workloads:\n"
        + b"".join(b"  w%d: [%s]\n" % (n, b"1," * 999) for n in range(1_000)),
    }


if __name__ == "__main__":
    main()
