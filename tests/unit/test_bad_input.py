"""Hostile and broken specs: one clear line a fault, and nothing written. How soon: `benchmarks/placement.py`."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.placement import migration, place
from infra.spec import SpecError, load_spec
from infra.spec.loader import MAX_BYTES
from infra.spec.schema import SCHEMA, schema_text

ROOT = Path(__file__).parents[2]
BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + previous] * 9)}]\n"
    for previous, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def refused(tmp_path: Path, content: str | bytes) -> str:
    file = tmp_path / "platform.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SpecError) as error:
        load_spec(file)
    return str(error.value).replace(str(file), "platform.yaml")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(BOMB, "platform.yaml:2: b[0]: YAML aliases are not allowed", id="alias bomb"),
        pytest.param("a: &a [*a]\n", "platform.yaml:1: a[0]: YAML aliases are not allowed", id="endless alias"),
        pytest.param("a: " + "[" * 2_000_000, "is nested more than 20 levels deep", id="deep flow"),
        pytest.param("".join("  " * i + "a:\n" for i in range(500)), "nested more than 20", id="deep block"),
        pytest.param(b"a: 1\nname: \xff\xfe\n", "platform.yaml:2: is not UTF-8 text", id="not UTF-8"),
        pytest.param("a: 1\nb: \x00\n", "is not YAML", id="control character"),
        pytest.param("", "must be a mapping", id="empty"),
        pytest.param("- 1\n", "must be a mapping", id="list"),
        pytest.param(
            "a: !!python/object/apply:os.system ['true']\n", "1: a: YAML tags are not allowed", id="object tag"
        ),
        pytest.param("a: !!python/name:os.system x\n", "1: a: YAML tags are not allowed", id="name tag"),
        pytest.param(
            "a: !!bool x\n", "1: a: YAML tags are not allowed (tag:yaml.org,2002:bool)", id="bool that is none"
        ),
        pytest.param("a: !!timestamp x\n", "1: a: YAML tags are not allowed", id="time that is none"),
        pytest.param("a: !!set {b}\n", "1: a: YAML tags are not allowed", id="set"),
        pytest.param("<<: {version: 1}\n", "platform.yaml:1: <<: is not a known field", id="merge key"),
        pytest.param("a: " + "9" * 5000, "Exceeds the limit (4300 digits)", id="endless number"),
        pytest.param("a: 1\n" + "b: [" + "1," * 7_000_000 + "]", "2: b: has more than 1,000 items", id="endless list"),
        pytest.param("".join(f"k{i}: 1\n" for i in range(300_000)), "1001: has more than 1,000", id="endless mapping"),
        pytest.param(bytes(range(256)) * 100, "is not UTF-8 text", id="binary"),
        pytest.param("version: 1\n".encode("utf-16"), "platform.yaml:1: is not UTF-8 text", id="UTF-16"),
        pytest.param('"\\e[31ma\\nb": 1\n', r": \x1b[31ma\nb: is not a known field", id="key with control characters"),
        pytest.param("x" * 90 + ": 1\n", "x" * 80, id="long key"),
        pytest.param("a: 2026-13-45\n", "is not plain data", id="impossible date"),
        pytest.param("? [a]\n: 1\n", "a key must be plain text", id="key that is a list"),
        pytest.param("a: 1\n---\nb: 1\n", "platform.yaml:2: a second document starts here", id="two documents"),
        pytest.param("version: true\n", "platform.yaml:1: version: true is not 1", id="true is no version"),
        pytest.param("version: 1.0\n", "platform.yaml:1: version: 1.0 is not 1", id="1.0 is no version"),
        pytest.param(
            "workloads:\n" + "".join(f"  w{n}: [{'1,' * 999}]\n" for n in range(1_000)),
            "105: has more than 103,120 values",
            id="a thousand workloads of a thousand values",
        ),
        pytest.param("a: 1\nb: 2\na: 3\n", "platform.yaml:3: a: is given twice (first on line 1)", id="twice"),
    ],
)
def test_traps_are_refused_with_their_line(tmp_path, content, told):
    assert told in refused(tmp_path, content)


def test_a_file_over_16_mib_is_refused_unread(tmp_path):
    assert "is longer than the 16 MiB" in refused(tmp_path, b"#" * (MAX_BYTES + 1))


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        load_spec(tmp_path / "platform.yaml")


def test_a_directory_is_said(tmp_path):
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        load_spec(tmp_path)


def check_spec(file: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "infra.spec", str(file)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def with_worker(tmp_path: Path, *lines: str) -> tuple[Path, int]:
    """The reference platform with lines added to its worker, and the number of the first of them."""
    text = (ROOT / "platform.yaml").read_text()
    before, after = text.split("    untrusted: true\n")
    file = tmp_path / "platform.yaml"
    file.write_text(before + "".join(f"    {line}\n" for line in lines) + "    untrusted: true\n" + after)
    return file, before.count("\n") + 1


@pytest.mark.parametrize(
    ("lines", "offset", "told"),
    [
        (["force: {runtime: container, reason: cheap}"], 0, "only microvm or stronger will do (untrusted-code: "),
        (["force: {runtime: contaner, reason: cheap}"], 0, "'contaner' is not one of container, microvm, vm"),
        (["force: {runtime: vm}"], 0, "workloads.worker.force.reason: is missing"),
        (["stateful: true", "replicas: 0"], 1, "0 (scale to zero) contradicts stateful: true"),
        (["talks_to: [worker]"], 0, "a workload cannot talk to itself"),
        (["talks_to: [ledgr]"], 0, "'ledgr' is not a workload; did you mean ledger?"),
        (["runs_on: lambda"], 0, "'lambda' is not one of container, microvm, vm"),
        (["decided_on: yesterday"], 0, "workloads.worker.decided_on: 'yesterday' is not a date, e.g. 2026-11-23"),
        (["decided_on: 1700000000"], 0, "1700000000 is not a date"),
        (["decided_on: 9999-12-31"], 0, "9999-12-31 is not between 2000 and 2999"),
        (["replicas: true"], 0, "true is not a whole number"),
        (["replicas: 0x" + "f" * 6000], 0, "a number of more than 40 digits: "),
        (["replicas: {a: 1}"], 0, "a mapping is not a whole number"),
        (["stateful: 1"], 0, "1 is not true or false"),
        (["full_os: 'no'"], 0, "'no' is not true or false"),
        (["force: {runtime: vm, reason: ' '}"], 0, "' ' is not text that tells anything"),
        (["environment: {A: 1}"], 0, "1 is not text; put it in quotes"),
        (["environment: {a=b: x}"], 0, "'a=b' is not the name of an environment variable"),
        (["talks_to: [web, web]"], 0, "workloads.worker.talks_to[1]: is given twice"),
        (["talks_to: web"], 0, "'web' is not a list"),
    ],
)
def test_contradictions_name_line_and_field_and_write_nothing(tmp_path, lines, offset, told):
    file, line = with_worker(tmp_path, *lines)
    result = check_spec(file)
    assert result.returncode == 1
    assert f"{file}:{line + offset}: workloads.worker" in result.stderr
    assert told in result.stderr
    assert "Traceback" not in result.stderr and result.stdout == ""
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("    ports: [8080]", "    ports: [8080, 8080]", "workloads.web.ports[1]: is given twice"),
        (
            "    image: web",
            "    image: nginx:latest",
            "'nginx:latest' is not the name of a program under workloads/, nor",
        ),
        ("    image: web", "    image: --privileged", "'--privileged' is not the name of a program"),
        ("    package: tariffs", "    package: ../../etc", "'../../etc' is not the name of a role"),
        ("cpu: 0.25, memory: 64MiB", "cpu: 0.25, memory: 0MiB", "'0MiB' is not between 1MiB and 64TiB"),
        ("cpu: 0.25, memory: 64MiB", "cpu: 0.25, memory: 9999999TiB", "is not between 1MiB and 64TiB"),
        ("cpu: 0.25, memory: 64MiB", "cpu: 0.25, memory: ٥GiB", "is not a whole number followed by MiB"),
        ("cpu: 0.25, memory: 64MiB", "cpu: .nan, memory: 64MiB", "workloads.web.resources.cpu: nan"),
        ('answer: true, evidence: "make test on every change"', 'answer: true, evidence: " "', "needs evidence"),
        ("  web:", "  Web:", "'Web' is not a name"),
        ("  web:", "  " + "w" * 64 + ":", "is not a name"),
        ("  web:", "  worker:", "workloads.worker: is given twice"),
        ("  web:", "  kube-system:", "cannot be called kube-system: Kubernetes has a namespace of that name"),
        ("  web:", "  vm-tier:", "cannot be called vm-tier: the platform itself has one"),
    ],
)
def test_what_no_target_could_provision_is_refused(tmp_path, old, new, told):
    text = (ROOT / "platform.yaml").read_text()
    assert old in text
    message = refused(tmp_path, text.replace(old, new, 1))
    assert told in message
    assert re.match(r"platform\.yaml:[0-9]+: ", message)


def mutilated(text: str, data: st.DataObject) -> bytes:
    """The text with a few places cut, doubled, moved, or replaced by what parsers stumble over."""
    stumbling = [
        "",
        "~",
        "&a",
        "*a",
        "<<",
        "!!binary aa",
        "!x",
        "0x" + "f" * 5000,
        ".inf",
        "1e999",
        "[",
        "{",
        "? ",
        "---\n",
    ]
    stumbling += [
        "\t",
        "\x85",
        "\u2028",
        "\ufeff",
        "2026-13-01",
        "190:20:30",
        "'",
        '"\\e"',
        "| ",
        "[]",
        "{}",
        "\udc80",
        "0o9",
    ]
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 40))
        other = data.draw(st.integers(0, len(text)))
        middle = data.draw(st.sampled_from(stumbling) | st.just(text[other : other + 80]))
        text = text[:start] + middle + text[end:]
    return text.encode(errors="surrogateescape")


@given(st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_file_says_the_answer_is_a_plan_or_one_line_a_fault(tmp_path, data):
    file = tmp_path / "platform.yaml"
    file.write_bytes(mutilated((ROOT / "platform.yaml").read_text(), data))
    try:
        migration.render(place(load_spec(file)))
    except SpecError as error:
        for line in str(error).splitlines():
            assert re.match(rf"{re.escape(str(file))}:[0-9]+: .", line) and line.isprintable() and len(line) < 500


def test_hard_isolation_and_a_forced_container_contradict_each_other(tmp_path):
    text = (ROOT / "platform.yaml").read_text()
    assert "      isolation: low\n" in text
    text = text.replace("      isolation: low\n", "      isolation: hard\n").replace(
        "    public: true\n", "    public: true\n    force: {runtime: container, reason: cheap}\n"
    )
    file = tmp_path / "platform.yaml"
    file.write_text(text)
    result = check_spec(file)
    line = text[: text.index("force:")].count("\n") + 1
    assert f"{file}:{line}: workloads.web.force.runtime: container is forced, but only vm" in result.stderr
    assert "hard-isolation" in result.stderr


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("{name: x, when: {isolaton: hard}, at_least: vm, reason: ours}", "'isolaton' is not a question"),
        ("{name: x, when: {isolation: low}, at_least: vm, reason: ours}", "could weaken a placement"),
        ("{name: x, at_least: vm}", "rules.vetoes[0].reason: is missing"),
        ("{name: x, at_least: vm, reason: ours, becuase: x}", "is not a known field; allowed are name, when, reason"),
    ],
)
def test_an_operators_rule_that_is_wrong_is_told_by_line(tmp_path, rule, told):
    text = (ROOT / "platform.yaml").read_text() + f"\nrules:\n  vetoes:\n    - {rule}\n"
    message = refused(tmp_path, text)
    assert message.startswith(f"platform.yaml:{text.count(chr(10))}: rules.vetoes[0]")
    assert told in message


def test_no_more_than_a_hundred_faults_are_told(tmp_path):
    aliases = "a: &a 1\nb: [" + "*a, " * 500_000 + "]\n"
    assert len(refused(tmp_path, aliases).splitlines()) == 100


def test_the_schema_for_editors_is_current():
    assert (ROOT / SCHEMA).read_text() == schema_text(), "run `python -m infra.spec --write-schema`"


def as_json(file: Path):
    return json.loads(json.dumps(yaml.safe_load(file.read_text()), default=str))


@pytest.mark.parametrize("file", ["platform.yaml", "docs/migration/estate.yaml"])
def test_the_schema_accepts_what_the_loader_accepts(file):
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text()))
    jsonschema.validate(as_json(ROOT / file), json.loads(schema_text()))


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["workloads"]["web"]["checklist"].update(isolation="hrad"),
        lambda spec: spec["workloads"]["web"].update(package="postgresql"),
        lambda spec: spec["workloads"]["web"]["resources"].update(memory="64MB"),
        lambda spec: spec.update(rules={"vetoes": [{"name": "x", "when": {"colour": "red"}, "at_least": "vm"}]}),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(change):
    spec = as_json(ROOT / "platform.yaml")
    change(spec)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec, json.loads(schema_text()))
