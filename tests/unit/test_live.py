"""What is asked of a running platform, or of files where it is out of reach: one line where that does not work."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from infra.insight.cluster import KINDS
from infra.insight.live import NotDeployedError, cluster_objects, exported_stack
from tests.unit.platform_data import objects, outputs, resources

ROOT = Path(__file__).parents[2]
KIND_OF = {
    "namespaces": "Namespace",
    "pods": "Pod",
    "services": "Service",
    "secrets": "Secret",
    "networkpolicies": "NetworkPolicy",
    "runtimeclasses": "RuntimeClass",
}


@pytest.fixture
def files(tmp_path):
    state, cluster = tmp_path / "state.json", tmp_path / "objects.json"
    urn = "urn:pulumi:local::hybrid-platform::pulumi:pulumi:Stack::hybrid-platform-local"
    stack = {"urn": urn, "type": "pulumi:pulumi:Stack", "outputs": outputs()}
    state.write_text(json.dumps({"deployment": {"resources": [stack, *resources()[1:]]}}))
    items = [{"kind": KIND_OF[kind], **item} for kind, found in objects().items() for item in found]
    cluster.write_text(json.dumps({"kind": "List", "items": [*items, {"kind": "Event"}]}))
    return state, cluster


def test_a_stack_in_files_is_the_same_picture(files):
    found = exported_stack(*files)
    assert found.name == "local"
    assert set(found.estate().workloads) == {"ledger", "tariffs", "web", "worker"}


def test_a_state_alone_has_no_pods(files):
    assert set(exported_stack(files[0], None).estate().workloads) == {"ledger", "tariffs"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "is not what `pulumi stack export` prints"),
        ('{"deployment": {}}', "is not what `pulumi stack export` prints"),
        ('{"deployment": {"resources": [{"type": "pulumi:pulumi:Stack"}]}}', "of a platform that is up"),
    ],
)
def test_a_file_that_is_no_state_is_told(tmp_path, text, told):
    file = tmp_path / "state.json"
    file.write_text(text)
    with pytest.raises(NotDeployedError, match=told):
        exported_stack(file, None)


def test_a_file_that_is_no_list_of_objects_is_told(files):
    files[1].write_text('{"kind": "Pod"}')
    with pytest.raises(NotDeployedError, match="is not a list of objects"):
        exported_stack(*files)


def test_a_cluster_that_does_not_answer_is_told():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = f"https://127.0.0.1:{unused.getsockname()[1]}"
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": server}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "users": [{"name": "x", "user": {"token": "none"}}],
    }
    with pytest.raises(NotDeployedError, match="cannot be looked at from here; --state and --objects"):
        cluster_objects(yaml.safe_dump(kubeconfig))


@pytest.mark.parametrize("plural", KINDS)
def test_a_kind_and_its_plural_are_the_same_thing(plural):
    kind, group = KINDS[plural]
    assert plural in {kind.lower() + ending for ending in ("s", "es")} | {kind.lower().removesuffix("y") + "ies"}
    assert group == "/api/v1" or group.startswith("/apis/")


@pytest.mark.parametrize("command", [["compromised", "--stack", "local"], ["lost", "--stack", "local"]])
def test_where_nothing_runs_looking_says_so_at_once_and_makes_nothing(tmp_path, command):
    result = looking(tmp_path, *command)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "stack local is not up; `make up` starts it\n"
    assert list(tmp_path.iterdir()) == [], "no pulumi was built, no stack made"


def test_where_nothing_runs_the_report_is_of_the_plan(tmp_path):
    result = looking(tmp_path, "report", "--output", str(tmp_path / "page"))
    assert result.returncode == 0
    assert "Plan only: stack local is not up" in result.stderr
    assert json.loads((tmp_path / "page/report.json").read_text())["origin"] == "planned"
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


def looking(directory: Path, *arguments: str) -> subprocess.CompletedProcess:
    """A command of infra.insight on a machine where nothing was built and nothing runs."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")}
    environment |= {
        "HYBRID_PLATFORM_CACHE": str(directory / "cache"),
        "HYBRID_PLATFORM_STATE": str(directory / "state"),
    }
    return subprocess.run(
        [sys.executable, "-m", "infra.insight", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
