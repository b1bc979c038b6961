"""The hand-over to Ansible: the inventory, the bundle, and the jobs that run somewhere else."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.kubernetes.core.plugins.modules import k8s
from recording import CHECKOUT, stack_config
from shell import check_shell

from infra.placement import Runtime
from infra.targets.aws.artifacts import BUNDLED, bundle, digest_of


def test_the_inventory_has_the_shape_of_the_local_one(recording, plan):
    inventory = recording.outputs["inventory"]["all"]
    members = {f"{n}-{i}": n for n, w in plan.on(Runtime.VM).items() for i in range(w.replicas)}
    assert set(inventory["hosts"]) == set(inventory["children"]["vm_tier"]["hosts"]) == set(members)
    for host, workload in members.items():
        assert host in inventory["children"][workload.replace("-", "_")]["hosts"]
        variables = inventory["hosts"][host]
        assert variables["ansible_connection"] == "community.aws.aws_ssm"
        assert variables["workload_package"] == (plan.spec.workloads[workload].package or "")
        assert variables["ansible_host"] == recording.outputs["machines"][host]["address"]


def test_a_machines_own_firewall_admits_what_the_security_group_does(recording, plan, stack):
    zones = stack_config(stack)["hybrid-platform:aws"]["zones"]
    for host, variables in recording.outputs["inventory"]["all"]["hosts"].items():
        workload = plan.spec.workloads[variables["workload"]]
        assert [entry["port"] for entry in variables["firewall_allow"]] == list(workload.ports)
        in_cluster = [c for c in plan.callers_of(variables["workload"]) if plan.placement(c).runtime is not Runtime.VM]
        for entry in variables["firewall_allow"]:
            ranges = [source for source in entry["sources"] if "/" in source]
            assert len(ranges) == (len(zones) if in_cluster else 0), host


def test_the_inventory_holds_no_password(recording):
    text = json.dumps(recording.outputs["inventory"])
    assert '"password"' not in text and "postgresql_users" not in text


def test_a_new_bundle_runs_the_association_again_and_touches_no_template(deployed, plan):
    digest = deployed.one("ssm/parameter", "artifacts-bundle").props["value"]
    associations = deployed.of("ssm/association")
    assert len(associations) == len(plan.on(Runtime.VM))
    for association in associations:
        assert association.props["parameters"]["Bundle"] == digest
        assert (association.props["maxConcurrency"], association.props["maxErrors"]) == ("1", "0")
        # Its targets are the workload's machines, by tags that these have; and its document is the workload's.
        workload = association.props["name"].partition("-play-")[2]
        targets = {t["key"].removeprefix("tag:"): t["values"] for t in association.props["targets"]}
        of_group = deployed.one("autoscaling/group", f"vm-{workload}-0").tags
        assert targets["hybrid:workload"] == [workload]
        assert all([of_group[key]] == values for key, values in targets.items())
        assert association.props["scheduleExpression"] == "rate(1 day)"
        assert association.props["complianceSeverity"] == "HIGH"


def started_by(deployed, job: str) -> dict[str, list[str]]:
    """The parameters whose change starts a job, by rule."""
    rules = {r.name: json.loads(r.props.get("eventPattern") or "{}") for r in deployed.of("cloudwatch/eventRule")}
    return {
        name: [value if isinstance(value, str) else value["prefix"] for value in pattern["detail"]["name"]]
        for name, pattern in rules.items()
        if name.startswith(f"jobs-{job}") and pattern.get("source") == ["aws.ssm"]
    }


def test_what_starts_a_job_is_there_before_and_what_it_reads_was_put_up(deployed):
    """No event of a bucket: those begin minutes after they are switched on, and a first `up` would wait for ever."""
    sources = {
        s
        for r in deployed.of("cloudwatch/eventRule")
        if (p := r.props.get("eventPattern"))
        for s in json.loads(p)["source"]
    }
    assert "aws.s3" not in sources and not deployed.of("s3/bucketNotification")
    by_name = {p.props["name"].rsplit("/", 1)[-1]: p for p in deployed.of("ssm/parameter")}
    announced = {"bundle": ("artifacts-bundle", "packages", "images"), "plan": ("artifacts-cluster", "images")}
    for what, (document, *jobs) in announced.items():
        uploaded = deployed.one("s3/bucketObjectv2", document)
        assert uploaded.urn in by_name[what].depends_on
        for job in jobs:
            assert by_name[what].props["name"] in started_by(deployed, job)[f"jobs-{job}"]
            assert deployed.one("cloudwatch/eventTarget", f"jobs-{job}").urn in uploaded.depends_on
    assert by_name["plan"].props["value"] != by_name["bundle"].props["value"]


def test_the_operator_alone_stands_in_the_vpc(deployed):
    projects = {project.name: project.props for project in deployed.of("codebuild/project")}
    assert [name for name, props in projects.items() if "vpcConfig" in props] == ["jobs-operator"]
    assert all("-private-" in subnet for subnet in projects["jobs-operator"]["vpcConfig"]["subnets"])
    assert not any(props["environment"]["privilegedMode"] for props in projects.values())


def test_the_jobs_scripts_parse(deployed):
    for project in deployed.of("codebuild/project"):
        (command,) = json.loads(project.props["source"]["buildspec"])["phases"]["build"]["commands"]
        check_shell(command)


def test_the_snapshot_has_every_package_that_roles_of_the_tier_install():
    """By name, not only as another's dependency. The server of PostgreSQL's version comes with `postgresql`."""
    text = (CHECKOUT / "infra/targets/aws/jobs/packages.txt").read_text()
    snapshot = {line for line in text.splitlines() if not line.startswith("#")}
    of = {role: variables_of(role) for role in ("golden_image", "hardening", "postgresql")}
    controls = of["hardening"]["__hardening_packages_by_control"].values()
    wanted = {name for names in controls if isinstance(names, list) for name in names}
    # Those that a control leaves out where another service does the same.
    wanted |= {"rsyslog", "logrotate", "systemd-timesyncd"}
    wanted |= {*of["golden_image"]["__golden_image_base_packages"], *of["golden_image"]["golden_image_kernel_packages"]}
    wanted |= {name for name in of["postgresql"]["__postgresql_packages"] if "{{" not in name}
    for tasks in (CHECKOUT / "roles").glob("*/tasks/install.yml"):
        named = [task.get("ansible.builtin.apt", {}).get("name") for task in yaml.safe_load(tasks.read_text())]
        wanted |= {name for names in named if isinstance(names, list) for name in names}
    assert len(wanted) > 30
    assert wanted - snapshot == set()


def variables_of(role):
    files = [CHECKOUT / "roles" / role / folder / "main.yml" for folder in ("defaults", "vars")]
    return {k: v for file in files if file.exists() for k, v in (yaml.safe_load(file.read_text()) or {}).items()}


def test_packages_lie_where_apt_asks_for_them():
    """apt writes a plus as %2b, in what it lists and in what it asks for; S3 decodes the latter."""
    script = (CHECKOUT / "infra/targets/aws/jobs/packages.sh").read_text()
    place = re.search(r"^place\(\) {\n.*?^}\n", script, re.M | re.S)[0]
    for uri, path in {
        "http://mirror/debian/pool/main/a/a/a_1%2bb2_amd64.deb": "debian/pool/main/a/a/a_1+b2_amd64.deb",
        "http://mirror/debian-security/pool/b_1%7edeb_all.deb": "debian-security/pool/b_1~deb_all.deb",
    }.items():
        run = f"main=http://mirror/debian security=http://mirror/debian-security\n{place}\nplace {uri}"
        assert subprocess.run(["bash", "-c", run], check=True, capture_output=True, text=True).stdout == path


def test_the_operator_applies_manifests_that_are_whole():
    """Rendered with the variables that the job passes, and no others, as Ansible renders them."""
    folder = CHECKOUT / "infra" / "targets" / "aws" / "jobs"
    (play,) = yaml.safe_load((folder / "prepare.yml").read_text())
    passed = dict(re.findall(r"\b([a-z_]+)=(\$\w+)", (folder / "operator.sh").read_text()))
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    manifests = [
        manifest
        for name in play["tasks"][0]["loop"]
        for manifest in yaml.safe_load_all(environment.from_string((folder / name).read_text()).render(passed))
    ]
    found = {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in manifests}
    assert "kubeconfig" in passed and {"StorageClass", "RuntimeClass", "Deployment"} <= {kind for kind, _ in found}
    storage = found["StorageClass", "gp3"]["parameters"]
    annotations = found["StorageClass", "gp3"]["metadata"]["annotations"]
    assert annotations == {"storageclass.kubernetes.io/is-default-class": "true"}
    assert storage["encrypted"] == "true" and storage["type"] == "gp3" and storage["kmsKeyId"] == "$HYBRID_KEY"
    (container,) = found["Deployment", "cluster-autoscaler"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "$autoscaler" and container["command"][-1].endswith("/$HYBRID_CLUSTER")


@pytest.mark.parametrize("playbook", ["jobs/prepare.yml", "boot/unsealed.yml"])
def test_playbooks_that_only_aws_runs_are_playbooks(playbook):
    """They stand beside their scripts, where ansible-lint takes them for any YAML."""
    command = [Path(sys.executable).with_name("ansible-playbook"), "--syntax-check", "--inventory", "localhost,"]
    file = CHECKOUT / "infra/targets/aws" / playbook
    checked = subprocess.run([*command, file], cwd=CHECKOUT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_the_preparation_gives_the_module_what_it_takes():
    """A syntax check does not look at the arguments of modules."""
    (play,) = yaml.safe_load((CHECKOUT / "infra/targets/aws/jobs/prepare.yml").read_text())
    (task,) = play["tasks"]
    assert set(task) == {"name", "loop", "kubernetes.core.k8s"}
    judged = ArgumentSpecValidator(k8s.argspec()).validate(task["kubernetes.core.k8s"])
    assert judged.error_messages == [] and not judged.unsupported_parameters
    assert ArgumentSpecValidator(k8s.argspec()).validate({"kubeconfg": "x"}).error_messages


def job(deployed, name: str) -> str:
    project = deployed.one("codebuild/project", f"jobs-{name}")
    (command,) = json.loads(project.props["source"]["buildspec"])["phases"]["build"]["commands"]
    return command


OPERATORS_AWS = """
case "$1 $2" in
"ssm get-parameter") case "$4" in */cluster) %(cluster)s ;; *) echo "${4##*/}" ;; esac ;;
"ssm get-parameters-by-path")
    [[ $* == */images* ]] && cat %(here)s/images.json || echo '[["/x/authorities/ledger/ledger-0", "CERTIFICATE"]]' ;;
"s3 cp") [[ $4 == *bundle* ]] && cat %(here)s/bundle.tar.gz || cp "%(here)s/${4##*/}" "${5}" ;;
"secretsmanager get-secret-value") %(secret)s ;;
esac
"""


def operate(machine, deployed, recording, plan, here: Path, cluster: str = "echo new", secret: str = "") -> int:
    """Run the operator's job with what the account has in files; Ansible notes its playbooks and their variables."""
    from infra.targets.aws.workloads import described

    (here / "bundle.tar.gz").write_bytes(bundle(CHECKOUT))
    elastic = plan.on(Runtime.CONTAINER, Runtime.MICROVM)
    digests = [[f"/x/images/{name}", f"registry/{name}@sha256:0"] for name in elastic]
    (here / "images.json").write_text(json.dumps(digests))
    (here / "inventory.json").write_text(json.dumps(recording.outputs["inventory"]))
    (here / "cluster.json").write_text(json.dumps(described(plan)))
    known = {"here": here, "cluster": cluster, "secret": secret or """echo '{"web": "open sesame"}'"""}
    machine.command("aws", OPERATORS_AWS % known)
    machine.command("curl", "tar --create --files-from /dev/null")
    machine.command("mktemp", f"mkdir -p {here}/work; echo {here}/work")
    there = "for word; do [[ $word != *.yml || -f $word ]] || exit 4; done"
    note = machine.noting("play ${@: -1}")
    noting = f"{there}\ncp variables.json {here}/seen.json 2>/dev/null\n{note}"
    machine.program(here / "work/ansible/bin/pip", "")
    machine.program(here / "work/ansible/bin/ansible-playbook", noting)
    machine.command("python3", f'[[ $1 == -m ]] || exec {sys.executable} "$@"')
    return machine.run(job(deployed, "operator"))


def test_the_operator_prepares_the_cluster_then_applies_all_of_it(machine, recording, plan, tmp_path):
    assert operate(machine, recording.deployment, recording, plan, tmp_path) == 0
    commands = [call for call in machine.called if call.startswith("play ")]
    # The first one's last argument is what it tells the manifests.
    assert commands[0].startswith("play region=") and "volume_key=" in commands[0]
    assert commands[1:] == [f"play playbooks/{n}.yml" for n in ("cluster_services", "cluster_policies", "workloads")]
    assert [call for call in machine.called if call.startswith("aws eks update-kubeconfig --name reference-")]
    seen = json.loads((tmp_path / "seen.json").read_text())
    web = next(w for w in seen["cluster_workloads"] if w["name"] == "web")
    assert web["image"].endswith("@sha256:0") and web["secrets"] == {"ledger-password": "open sesame"}
    work = tmp_path / "work"
    assert (work / "infra/targets/aws/jobs/prepare.yml").exists(), "the bundle has what the job plays"
    assert not (work / "variables.json").exists() and not (work / "found").exists(), "passwords stay nowhere"


@pytest.mark.parametrize(
    "early",
    [{"cluster": "exit 254"}, {"secret": "exit 254"}],
    ids=["before there is a cluster", "before the database has made its passwords"],
)
def test_an_operator_that_comes_early_leaves_it_to_the_next(early, machine, recording, plan, tmp_path):
    assert operate(machine, recording.deployment, recording, plan, tmp_path, **early) == 0
    assert not [call for call in machine.called if "playbooks/" in call]


@pytest.mark.parametrize("is_there", [True, False])
def test_an_image_is_pushed_once_and_published_by_its_digest(is_there, machine, deployed):
    script = job(deployed, "images")
    assignments, push = (
        script.partition("export DEBIAN_FRONTEND")[0],
        re.search(r"^push\(\) {\n.*?^}\n", script, re.M | re.S),
    )
    for command, text in (
        ("aws", ""),
        ("skopeo", f"[[ $* != *docker://*@* ]] || exit {0 if is_there else 1}\n[[ $1 != inspect ]] || echo manifest"),
    ):
        machine.command(command, text)
    assert machine.run(f"{assignments}\n{push[0]}\npush web oci-archive:web.tar") == 0
    digest = hashlib.sha256(b"manifest\n").hexdigest()
    copies = [call for call in machine.called if call.startswith("skopeo copy")]
    assert len(copies) == (0 if is_there else 1) and all(f"/web:{digest}" in call for call in copies)
    (put,) = [call for call in machine.called if call.startswith("aws ssm put-parameter")]
    assert re.search(rf"/images/web --value \S+/web@sha256:{digest}$", put)


@pytest.fixture
def completed(tmp_path, recording, plan):
    """What the operator's job makes of plan, inventory, digests and passwords: the script itself, run as there."""
    sys.path.insert(0, str(CHECKOUT))
    from infra.targets.aws.workloads import described

    (tmp_path / "images.json").write_text(
        json.dumps([[f"/hybrid/x/images/{n}", f"r/{n}@sha256:0"] for n in plan.on(Runtime.CONTAINER, Runtime.MICROVM)])
    )
    (tmp_path / "authorities.json").write_text(json.dumps([["/hybrid/x/authorities/ledger/ledger-0", "-----BEGIN"]]))
    (tmp_path / "ledger.passwords.json").write_text(json.dumps({"web": "open sesame"}))
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps(recording.outputs["inventory"]))
    script = CHECKOUT / "infra" / "targets" / "aws" / "jobs" / "variables.py"
    run = subprocess.run(
        [sys.executable, script, tmp_path, inventory, "/kube"],
        input=json.dumps(described(plan)),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_the_operator_hands_each_workload_its_flows_digest_and_passwords(completed, recording, plan):
    workloads = {workload["name"]: workload for workload in completed["cluster_workloads"]}
    assert set(workloads) == set(plan.on(Runtime.CONTAINER, Runtime.MICROVM))
    for flow in plan.flows():
        if flow.source not in workloads:
            continue
        where = "talks_to_pods" if flow.destination in workloads else "talks_to_addresses"
        assert any(p["name"] == flow.destination and p["port"] == flow.port for p in workloads[flow.source][where])
    assert all("@sha256:" in workload["image"] for workload in workloads.values())
    assert workloads["web"]["secrets"] == {"ledger-password": "open sesame"}
    assert Path(workloads["web"]["secret_files"]["ledger-ca"]).read_text() == "-----BEGIN"
    assert workloads["worker"]["secrets"] == {} and workloads["worker"]["runtime"] == "microvm"


def test_the_operator_speaks_the_roles_language(completed):
    """Every variable that the job sets is an option that the role's own specification knows, and none is missing."""
    for role in ("cluster_workloads", "cluster_services", "cluster_policies"):
        specification = CHECKOUT / "roles" / role / "meta" / "argument_specs.yml"
        options = yaml.safe_load(specification.read_text())["argument_specs"]["main"]["options"]
        own = {key for key in completed if key.startswith(f"{role}_") or key == role}
        assert own <= set(options)
        assert {name for name, option in options.items() if option.get("required")} <= own
    one = yaml.safe_load((CHECKOUT / "roles/cluster_workloads/meta/argument_specs.yml").read_text())
    fields = one["argument_specs"]["main"]["options"]["cluster_workloads"]["options"]
    for workload in completed["cluster_workloads"]:
        assert set(workload) <= set(fields)


def test_hosts_speak_the_roles_language(recording):
    """The same for the machines: the firewall's and the database's variables are the roles' own."""
    for role in ("firewall", "postgresql", "patching"):
        specification = CHECKOUT / "roles" / role / "meta" / "argument_specs.yml"
        options = yaml.safe_load(specification.read_text())["argument_specs"]["main"]["options"]
        for variables in recording.outputs["inventory"]["all"]["hosts"].values():
            assert {key for key in variables if key.startswith(f"{role}_")} <= set(options)


def test_every_playbook_that_aws_runs_is_in_the_collection(deployed):
    named = set(re.findall(r"playbooks/[a-z_]+\.yml", str([r.props for r in deployed.aws()])))
    folder = CHECKOUT / "infra" / "targets" / "aws"
    named |= {
        f"playbooks/{name}.yml"
        for name in re.search(r"^for playbook in (.*); do$", (folder / "jobs/operator.sh").read_text(), re.M)[1].split()
    }
    named |= set(re.findall(r"play (playbooks/\S+)", (folder / "boot/member.sh").read_text()))
    assert {"playbooks/patch.yml", "playbooks/vm_tier.yml", "playbooks/workloads.yml"} <= named
    assert [playbook for playbook in sorted(named) if not (CHECKOUT / playbook).exists()] == []


def test_what_an_event_did_not_start_a_schedule_starts(deployed):
    """A job that runs refuses a second start, and EventBridge does not say that it would try again."""
    schedules = {
        r.name: r.props["scheduleExpression"]
        for r in deployed.of("cloudwatch/eventRule")
        if r.props.get("scheduleExpression")
    }
    assert schedules["jobs-images-daily"] == "rate(1 day)" and "cron" in schedules["jobs-packages-weekly"]
    after_images = json.loads(deployed.one("cloudwatch/eventRule", "jobs-operator-images").props["eventPattern"])
    assert after_images["detail"]["project-name"][0].endswith("-images")


# The bundle


def test_the_bundle_is_the_same_for_the_same_files():
    assert digest_of(bundle(CHECKOUT)) == digest_of(bundle(CHECKOUT))


def test_the_bundle_changes_with_a_role_and_with_nothing_beside(tmp_path):
    for part in ("roles/x/tasks", "docs", "roles/x/__pycache__"):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / "roles/x/tasks/main.yml").write_text("- one\n")
    first = bundle(tmp_path)
    (tmp_path / "docs/new.md").write_text("text")
    (tmp_path / "roles/x/__pycache__/x.pyc").write_text("noise")
    assert bundle(tmp_path) == first
    (tmp_path / "roles/x/tasks/main.yml").write_text("- two\n")
    assert bundle(tmp_path) != first


def test_everything_that_is_bundled_exists():
    assert [part for part in BUNDLED if not (CHECKOUT / part).exists()] == []


def test_images_run_by_digest_from_immutable_repositories(deployed, plan):
    names = {r.props["name"].rsplit("/", 1)[-1] for r in deployed.of("ecr/repository")}
    assert names >= {n for n, w in plan.on(Runtime.CONTAINER, Runtime.MICROVM).items() if w.image}
    assert {policy.name for policy in deployed.of("ecr/lifecyclePolicy")} == {
        r.name for r in deployed.of("ecr/repository")
    }
