"""What the AWS program costs as the platform grows: time and memory of whole deployments under Pulumi's mocks.

    .venv/bin/python benchmarks/preview.py [WORKLOADS...]

Each size is deployed twice, in processes of their own: by the program itself (`__main__.py`, all of it), and by a flat
program that registers the very same resources one after the other, with the same properties and the same dependencies,
without components, look-ups or decisions. What the program adds is the ratio of the two. Seconds are of the processor,
so that what else the machine does counts little.
"""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests" / "aws")]

SIZES = (10, 100, 1000)
ROUNDS = 2  # the faster counts: what is slower than it is somebody else's work on this machine


def spec(workloads: int) -> dict[str, Any]:
    """A platform of the reference's mix: a third on machines, the rest in the cluster, each talking to two others."""
    checklist = {
        "isolation": "low",
        "team_maturity": "medium",
        "compliance": "none",
        "deploy_frequency": "daily",
        "multi_os": False,
        "orchestration_tolerance": "medium",
    }
    found: dict[str, Any] = {}
    for number in range(workloads):
        workload: dict[str, Any] = {"ports": [5000], "checklist": dict(checklist)}
        if number % 3 == 0:
            workload |= {"package": "postgresql", "stateful": True, "resources": {"disk": "10GiB"}}
            workload["checklist"] |= {"isolation": "hard", "compliance": "regulated", "orchestration_tolerance": "low"}
        else:
            workload |= {"image": "web", "replicas": 2, "public": number == 1}
        peers = {f"w{(number * 7 + step) % workloads}" for step in (1, 4)} - {f"w{number}"}
        workload["talks_to"] = sorted(peers)
        found[f"w{number}"] = workload
    maturity = {question: {"answer": True, "evidence": "bench"} for question in ("observability", "ci_cd")}
    maturity |= {question: {"answer": True, "evidence": "bench"} for question in ("image_governance",)}
    maturity |= {"scheduling_discipline": {"answer": False}}
    return {"version": 1, "name": "bench", "maturity": maturity, "workloads": found}


@dataclass(frozen=True)
class Registered:
    """One registration, as the flat program repeats it.

    Attributes:
        by_property: URNs on which each property depends.
        explicit: URNs on which it depends beside.
    """

    type: str
    name: str
    urn: str
    props: dict[str, Any]
    by_property: dict[str, list[str]]
    explicit: list[str]


def run_record(workloads: int, keep: Path) -> dict[str, float]:
    """Keep what the program registers. Apart from the run that is timed: recording costs, too."""
    from pulumi.runtime import mocks, rpc
    from recording import Answers, deploy_to, in_clear

    found: list[Registered] = []

    class Monitor(mocks.MockMonitor):
        def RegisterResource(self, request: Any) -> Any:
            response = super().RegisterResource(request)
            if request.type != "pulumi:pulumi:Stack":
                by_property = {key: sorted(on.urns) for key, on in request.propertyDependencies.items() if on.urns}
                explicit = set(request.dependencies).difference(*by_property.values())
                props = in_clear(rpc.deserialize_properties(request.object))
                found.append(Registered(request.type, request.name, response.urn, props, by_property, sorted(explicit)))
            return response

    deploy_to(Monitor(Answers()), "aws-dev", without_canaries, written(spec(workloads), keep))
    keep.write_bytes(pickle.dumps(found))
    return measured(0, len(found))


def run_program(workloads: int, keep: Path) -> dict[str, float]:
    """Deploy the program, and say what it took."""
    from pulumi.runtime import mocks
    from recording import Answers, deploy_to

    def deploy(file: Path) -> None:
        deploy_to(mocks.MockMonitor(Answers()), "aws-dev", without_canaries, file)

    deploy(written(spec(10), keep))  # warm: imports and schema are not what grows
    file = written(spec(workloads), keep)
    begun = time.process_time()
    deploy(file)
    return measured(time.process_time() - begun, len(pickle.loads(keep.read_bytes())))  # noqa: S301 (our own)


def written(found: dict[str, Any], keep: Path) -> Path:
    file = keep.with_suffix(".yaml")
    file.write_text(json.dumps(found))
    return file


def without_canaries(config: dict[str, Any]) -> None:
    config["patching"]["canaries"] = []


def run_flat(workloads: int, keep: Path) -> dict[str, float]:
    """Register the same resources with the same properties and dependencies, flat."""
    import pulumi
    import pulumi_aws as aws
    from pulumi.runtime import mocks, settings
    from pulumi.runtime.stack import run_pulumi_func
    from recording import Answers, invented, physical_id

    everything: list[Registered] = pickle.loads(keep.read_bytes())  # noqa: S301 (written by this very script)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    def program(registered: list[Registered]) -> None:
        references: dict[str, Any] = {}
        by_urn: dict[str, Any] = {}

        def given(value: Any, dependencies: list[str]) -> Any:
            """A property as a program would write it: with references where it is one, from outputs where it holds some
            inside of a document."""
            referring, hits = refer(value, references)
            if hits or not dependencies:
                return referring
            return pulumi.Output.all(*(by_urn[urn].id for urn in dependencies)).apply(lambda _: value)

        for one in registered:
            if not one.type.startswith("aws:"):
                by_urn[one.urn] = pulumi.ComponentResource(one.type, one.name, None)
                continue
            module, class_ = re.fullmatch(r"aws:(\w+)/\w+:(\w+)", one.type).groups()
            properties = {
                snake(key): given(value, [urn for urn in one.by_property.get(key, ()) if urn in by_urn])
                for key, value in one.props.items()
            }
            after = pulumi.ResourceOptions(depends_on=[by_urn[urn] for urn in one.explicit if urn in by_urn])
            made = getattr(getattr(aws, module), class_)(one.name, **properties, opts=after)
            by_urn[one.urn] = made
            references[physical_id(one.type, one.name)] = made.id
            if hasattr(made, "arn"):
                references[invented(one.type, one.name, one.props)["arn"]] = made.arn

    def run(registered: list[Registered]) -> None:
        settings.set_root_resource(None)
        mocks.set_mocks(Answers(), preview=False)
        loop.run_until_complete(run_pulumi_func(lambda: program(registered)))

    run(everything[:400])  # warm: imports are not what grows
    gc.disable()  # as the program does: the ratio is of what its own code adds
    begun = time.process_time()
    run(everything)
    return measured(time.process_time() - begun, len(everything))


def refer(value: Any, references: dict[str, Any]) -> tuple[Any, int]:
    """The value with the ids and ARNs in it as outputs of what they are of, and how many there are."""
    if isinstance(value, dict):
        items = {key: refer(item, references) for key, item in value.items()}
        return {key: item for key, (item, _) in items.items()}, sum(hits for _, hits in items.values())
    if isinstance(value, list):
        found = [refer(item, references) for item in value]
        return [item for item, _ in found], sum(hits for _, hits in found)
    hit = isinstance(value, str) and value in references
    return (references[value] if hit else value), int(hit)


def snake(camel: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", camel).lower()


def measured(seconds: float, resources: int) -> dict[str, float]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "resources": resources, "mib": peak}


def side_by_side(workloads: int, keep: Path, *kinds: str) -> list[dict[str, float]]:
    """Each in a process of its own, all at once: what slows one of them down slows the others, too."""
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, kind, str(workloads), str(keep)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
        )
        for kind in kinds
    ]
    answers = [child.communicate()[0] for child in running]
    if any(child.returncode for child in running):
        raise SystemExit(f"measuring {workloads} workloads failed")
    return [json.loads(answer.splitlines()[-1]) for answer in answers]


def fastest(runs: Iterable[dict[str, float]]) -> dict[str, float]:
    return min(runs, key=lambda run: run["seconds"])


def main(sizes: list[int]) -> None:
    print("workloads resources   program      flat  ratio  ms/resource    MiB  flat MiB", flush=True)
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in sizes:
            keep = Path(scratch, str(size))
            side_by_side(size, keep, "record")
            rounds = [side_by_side(size, keep, "program", "flat") for _ in range(ROUNDS)]
            program, flat = (fastest(runs) for runs in zip(*rounds, strict=True))
            results.append((program, flat))
            each = 1000 * program["seconds"] / program["resources"]
            print(
                f"{size:>9} {program['resources']:>9.0f} {program['seconds']:>8.2f}s {flat['seconds']:>8.2f}s"
                f" {program['seconds'] / flat['seconds']:>6.2f} {each:>12.2f} {program['mib']:>6.0f}"
                f" {flat['mib']:>9.0f}",
                flush=True,
            )
    for (small, small_flat), (large, large_flat) in pairwise(results):
        ratio = slope(small, large) / slope(small_flat, large_flat)
        print(f"to {large['resources']:.0f} resources: one more costs {ratio:.2f} times one more in the flat program")


def slope(small: dict[str, float], large: dict[str, float]) -> float:
    return (large["seconds"] - small["seconds"]) / (large["resources"] - small["resources"])


if __name__ == "__main__":
    kinds = {"record": run_record, "program": run_program, "flat": run_flat}
    if sys.argv[1:2] and sys.argv[1] in kinds:
        print(json.dumps(kinds[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main([int(argument) for argument in sys.argv[1:]] or list(SIZES))
