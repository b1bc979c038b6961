"""platform.yaml: what is accepted, and how each fault is told."""

from pathlib import Path

import pytest

from infra.placement import Runtime, place
from infra.spec import SpecError, load_spec

REFERENCE = Path(__file__).parents[2] / "platform.yaml"


def faults_of(tmp_path: Path, *replacements: tuple[str, str]) -> str:
    text = REFERENCE.read_text()
    for old, new in replacements:
        assert old in text, f"the reference spec no longer contains {old!r}; fix this test"
        text = text.replace(old, new, 1)
    file = tmp_path / "platform.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as error:
        load_spec(file)
    return str(error.value).replace(str(file), "platform.yaml")


def test_the_reference_platform_uses_every_runtime():
    plan = place(load_spec(REFERENCE))
    assert {p.workload: p.runtime for p in plan.placements} == {
        "ledger": Runtime.VM,
        "tariffs": Runtime.VM,
        "web": Runtime.CONTAINER,
        "worker": Runtime.MICROVM,
    }


def test_a_misspelled_answer_names_its_line_and_what_is_allowed(tmp_path):
    text = REFERENCE.read_text()
    line = text[: text.index("isolation: hard")].count("\n") + 1
    message = faults_of(tmp_path, ("isolation: hard", "isolation: hrad"))
    assert (
        message == f"platform.yaml:{line}: workloads.ledger.checklist.isolation: 'hrad' is not one of low, medium, hard"
    )


def test_all_faults_are_told_at_once(tmp_path):
    message = faults_of(tmp_path, ("memory: 512MiB", "memory: 512MB"), ("stateful: true", "statefull: true"))
    assert len(message.splitlines()) == 2
    assert "is not a whole number followed by MiB, GiB or TiB" in message
    assert "workloads.ledger.statefull: is not a known field; allowed are description, image" in message


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("talks_to: [ledger,", "talks_to: [web,", "a workload cannot talk to itself"),
        ("talks_to: [ledger,", "talks_to: [leger,", "'leger' is not a workload"),
        ("    stateful: true", "    stateful: true\n    replicas: 0", "contradicts stateful"),
        ("disk: 2GiB", "cpu: 1", "is given twice"),
        ("package: postgresql", "image: x\n    package: postgresql", "exactly one of image and package"),
        ("version: 1", "version: &v 1\nname: *v", "aliases are not allowed"),
        ("version: 1", "version: [", "is not YAML"),
    ],
)
def test_contradictions_and_traps_are_refused(tmp_path, old, new, told):
    assert told in faults_of(tmp_path, (old, new))
