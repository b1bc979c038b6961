"""What the AWS program costs as the platform grows: time and memory of whole deployments under Pulumi's mocks.

    .venv/bin/python benchmarks/preview.py [WORKLOADS...]

Each size is deployed twice, in processes of their own: by the program itself (`__main__.py`, all of it), and by a flat
program that registers the very same resources one after the other, without components, look-ups or decisions. What the
program adds is the ratio of the two. Seconds are of the processor, so that what else the machine does counts little.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import re
import resource
import subprocess
import sys
import tempfile
import time
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


def run_program(workloads: int, keep: Path) -> dict[str, float]:
    """Deploy the program, keep what it registered, and say what it took."""
    from recording import deploy

    file = keep.with_suffix(".spec.yaml")
    file.write_text(json.dumps(spec(workloads)))
    deploy("aws-dev", spec=file_of_ten(keep), edit=without_canaries)  # warm: imports and schema are not what grows
    begun = time.process_time()
    recording = deploy("aws-dev", spec=file, edit=without_canaries)
    took = time.process_time() - begun
    keep.write_bytes(pickle.dumps([(r.type, r.name, r.props) for r in recording.resources]))
    return measured(took, len(recording.resources))


def file_of_ten(keep: Path) -> Path:
    file = keep.with_suffix(".warm.yaml")
    file.write_text(json.dumps(spec(10)))
    return file


def without_canaries(config: dict[str, Any]) -> None:
    config["patching"]["canaries"] = []


def run_flat(workloads: int, keep: Path) -> dict[str, float]:
    """Register the same resources with the same properties and the same references to each other, flat."""
    import pulumi
    import pulumi_aws as aws
    from pulumi.runtime import mocks, settings
    from pulumi.runtime.stack import run_pulumi_func
    from recording import Answers, invented, physical_id

    registered = pickle.loads(keep.read_bytes())  # noqa: S301 (written by this very script)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    settings.set_root_resource(None)
    mocks.set_mocks(Answers(), preview=False)

    def program() -> None:
        references: dict[str, Any] = {}
        for type_, name, props in registered:
            if type_.startswith("aws:"):
                module, class_ = re.fullmatch(r"aws:(\w+)/\w+:(\w+)", type_).groups()
                given = {snake(key): refer(value, references) for key, value in props.items()}
                made = getattr(getattr(aws, module), class_)(name, **given)
                references[physical_id(type_, name)] = made.id
                if hasattr(made, "arn"):
                    references[invented(type_, name, props)["arn"]] = made.arn
            else:
                pulumi.ComponentResource(type_, name, None)

    everything = registered
    registered = everything[:400]
    loop.run_until_complete(run_pulumi_func(program))  # warm: imports are not what grows
    registered = everything
    settings.set_root_resource(None)
    mocks.set_mocks(Answers(), preview=False)
    begun = time.process_time()
    loop.run_until_complete(run_pulumi_func(program))
    return measured(time.process_time() - begun, len(registered))


def refer(value: Any, references: dict[str, Any]) -> Any:
    """The value, with the ids and ARNs in it as outputs of what they are of, as a program would write it."""
    if isinstance(value, dict):
        return {key: refer(item, references) for key, item in value.items()}
    if isinstance(value, list):
        return [refer(item, references) for item in value]
    return references.get(value, value) if isinstance(value, str) else value


def snake(camel: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", camel).lower()


def measured(seconds: float, resources: int) -> dict[str, float]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "resources": resources, "mib": peak}


def child(kind: str, workloads: int, keep: Path) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", __file__, kind, str(workloads), str(keep)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
    if run.returncode:
        raise SystemExit(run.stderr)
    return json.loads(run.stdout.splitlines()[-1])


def best(kind: str, workloads: int, keep: Path) -> dict[str, float]:
    return min((child(kind, workloads, keep) for _ in range(ROUNDS)), key=lambda found: found["seconds"])


def main(sizes: list[int]) -> None:
    print("workloads resources   program      flat  ratio  ms/resource    MiB  flat MiB", flush=True)
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in sizes:
            keep = Path(scratch, str(size))
            program, flat = best("program", size, keep), best("flat", size, keep)
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
    kinds = {"program": run_program, "flat": run_flat}
    if sys.argv[1:2] and sys.argv[1] in kinds:
        print(json.dumps(kinds[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main([int(argument) for argument in sys.argv[1:]] or list(SIZES))
