"""What changes, breaks, and comes back."""

import contextlib
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from infra.machines import supervisor
from infra.machines.config import MachineConfig
from infra.machines.state import PROJECT, State
from infra.targets.local.golden_image import image_digest, image_directory
from tests.platform.reach import serves


def eventually(platform, what, check, seconds=90):
    assert platform.comes_true(check, seconds), f"not within {platform.limit(seconds)} s: {what}"


def booted(host):
    """When the machine's first process started; empty while it cannot be asked."""
    try:
        return host.check_output("stat --format=%Y /proc/1")
    except (RuntimeError, AssertionError):
        return ""


@pytest.fixture(scope="module")
def entry(platform):
    assert serves(platform)
    made = platform.request("/entries", {"account": "life", "amount": 41.5, "currency": "EUR"})
    assert made.status in (200, 201), made
    return made.body


def entries(platform):
    return platform.request("/entries?account=life").body


def test_a_write_through_the_web_service_is_in_the_database(platform, entry):
    row = platform.host("ledger-0").check_output(
        "runuser -u postgres -- psql -XAtd ledger -c %s",
        f"select account, amount from entries where id = {entry['id']}",
    )
    assert row == "life|41.50"


def test_a_second_up_changes_nothing(platform):
    assert platform.preview() == {}
    assert "unchanged" in platform.up()


def test_the_policy_pack_accepts_what_is_deployed(platform):
    assert "Policies:" in platform.pulumi("preview", "--policy-pack", str(PROJECT / "policy"))


def test_changing_one_workloads_memory_updates_that_workloads_resources_only(platform, tmp_path):
    spec = tmp_path / "platform.yaml"
    text = (PROJECT / "platform.yaml").read_text()
    assert "memory: 512MiB" in text
    spec.write_text(text.replace("memory: 512MiB", "memory: 640MiB"))
    changed = platform.preview("--config", f"hybrid-platform:spec={spec}")
    assert set(changed) == {"ledger-0", "ledger-0-configuration"}
    assert changed["ledger-0"] == "update"


def test_an_edited_role_shows_as_an_update_of_the_runs_that_use_it(platform):
    edited = PROJECT / "roles/tariffs/tasks/main.yml"
    before = edited.read_text()
    try:
        edited.write_text(before + "\n# edited\n")
        changed = platform.preview()
    finally:
        edited.write_text(before)
    # The image has the role's packages on board, so it and the machine are made of the role, too.
    assert "tariffs-0-configuration" in changed
    assert all("tariffs" in name for name in changed), changed


def test_a_killed_pod_comes_back(platform, entry):
    before = {pod["metadata"]["name"] for pod in platform.objects("pods", "--namespace", "web")}
    platform.kubectl("delete", "pods", "--namespace", "web", "--all", "--now")
    assert serves(platform)
    after = {pod["metadata"]["name"] for pod in platform.objects("pods", "--namespace", "web")}
    assert not before & after


def test_a_volume_outlives_its_pod(platform):
    # Nobody has asked for this amount before, also not on a platform that was kept.
    asked = {"script": "def price(amount):\n  return amount * 2", "arguments": {"amount": time.time_ns()}}
    eventually(platform, "the worker answers", lambda: platform.request("/scripts", asked).status == 200)
    before = platform.objects("pods", "--namespace", "worker")
    platform.kubectl("delete", "pods", "--namespace", "worker", "--all", "--now")
    eventually(platform, "the worker answers again", lambda: platform.request("/scripts", asked).status == 200)
    after = platform.objects("pods", "--namespace", "worker")
    assert not {pod["metadata"]["uid"] for pod in before} & {pod["metadata"]["uid"] for pod in after}
    again = platform.request("/scripts", asked).body
    assert again.get("kept") is True, f"the new pod does not know what the former came to: {again}"
    assert again["result"] == 2 * asked["arguments"]["amount"]


def test_a_machine_that_reboots_comes_back(platform, entry):
    tariffs = platform.host("tariffs-0")
    before = booted(tariffs)
    tariffs.check_output("systemd-run --on-active=1 systemctl reboot")
    eventually(platform, "the machine has booted anew", lambda: booted(tariffs) not in ("", before))
    eventually(platform, "tariffs answer again", lambda: platform.request("/price?currency=EUR").status == 200)


def test_a_machine_that_is_killed_behind_pulumis_back_is_noticed_and_restored(platform, entry):
    directory = platform.machine_directory("tariffs-0")
    supervisor.signal_supervisor(directory, 9)
    eventually(platform, "the machine is down", lambda: not supervisor.is_running(directory))
    assert "tariffs-0" in platform.preview()
    platform.up()
    eventually(platform, "tariffs answer again", lambda: platform.request("/price?currency=EUR").status == 200)


def test_refresh_shows_a_machine_that_was_deleted_and_up_makes_it_anew(platform, entry):
    directory = platform.machine_directory("tariffs-0")
    supervisor.stop(directory)
    shutil.rmtree(directory)
    refreshed = platform.pulumi("refresh", "--yes", "--skip-preview")
    assert "deleted" in refreshed and "tariffs-0" in refreshed
    platform.up()
    eventually(platform, "tariffs answer again", lambda: platform.request("/price?currency=EUR").status == 200)


@pytest.fixture
def newer_image(platform):
    """The image that the database's machine gets of an edited role: a copy of its present one, with a mark."""
    edited = PROJECT / "roles/postgresql/tasks/install.yml"
    before = edited.read_text()
    current = MachineConfig.read(platform.machine_directory("ledger-0")).image
    edited.write_text(before + "\n# edited\n")
    newer = image_directory("debian-13-postgresql", image_digest("debian-13", ["postgresql"]))
    try:
        unfinished = newer.with_suffix(".copying")
        subprocess.run(["cp", "--archive", "--reflink=auto", current, str(unfinished)], check=True)
        shutil.rmtree(unfinished / "users")
        (unfinished / "root/etc/newer-image").touch()
        unfinished.rename(newer)
        yield newer
    finally:
        edited.write_text(before)
        platform.up()
        shutil.rmtree(newer, ignore_errors=True)


def test_data_survives_a_new_image_of_the_database_machine(platform, entry, newer_image):
    has_the_mark = "test -e /etc/newer-image"
    assert platform.host("ledger-0").run(has_the_mark).failed
    changed = platform.preview()
    assert changed["ledger-0"] == "replace"
    assert all("ledger" in name or "postgresql" in name for name in changed), changed
    platform.up()
    assert platform.host("ledger-0").run(has_the_mark).succeeded, "the machine does not run from the new image"
    assert serves(platform)
    assert entry in entries(platform)


def test_data_survives_replacing_the_resource_of_its_disk(platform, entry):
    platform.up("--replace", platform.urn("ledger-0-data"))
    assert serves(platform)
    assert entry in entries(platform)


def helpers_of_pulumi(platform):
    """The language host with its program, and the provider of machines."""
    theirs = f"HYBRID_PLATFORM_STATE={platform.state}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command, environment = ((process / name).read_bytes() for name in ("cmdline", "environ"))
            if theirs in environment.split(b"\0") and re.search(rb"toolchain\.language_host|pulumi\.dynamic", command):
                yield command.replace(b"\0", b" ").decode()


def test_an_up_that_was_killed_is_continued_by_the_next(platform, entry):
    directory = platform.machine_directory("tariffs-0")
    supervisor.stop(directory)
    command = platform.command("up", "--yes", "--skip-preview")
    with subprocess.Popen(command, cwd=PROJECT, env=platform.environment, stdout=subprocess.DEVNULL) as process:
        eventually(platform, "the machine is being started", lambda: supervisor.is_running(directory))
        assert list(helpers_of_pulumi(platform))
        process.kill()
    eventually(platform, "what pulumi had started ends with it", lambda: not list(helpers_of_pulumi(platform)))
    platform.clear_dead_locks()
    platform.up()
    assert json.loads(platform.pulumi("preview", "--json"))["changeSummary"].keys() == {"same"}


def test_a_data_disk_that_grows_is_larger_in_its_machine_with_all_that_it_held(platform, entry, tmp_path):
    assert entry in entries(platform)
    spec = tmp_path / "platform.yaml"
    spec.write_text((PROJECT / "platform.yaml").read_text().replace("disk: 2GiB", "disk: 3GiB"))
    platform.up("--config", f"hybrid-platform:spec={spec}")
    size = platform.host("ledger-0").check_output("df --output=size --block-size=1M /srv/data | tail -1")
    assert int(size) > 2500
    assert serves(platform)
    assert entry in entries(platform)
    refused = platform.pulumi("up", "--yes", "--skip-preview", check=False)
    assert "workloads.ledger.resources.disk: 2048MiB is less than the 3072MiB of" in refused


# The next one's disk is as small as platform.yaml says again, because the last one's is gone.
def test_a_data_disk_that_was_deleted_is_made_anew_with_all_that_depends_on_it(platform, entry):
    assert entry in entries(platform)
    supervisor.stop(platform.machine_directory("ledger-0"))
    State(platform.state).data_disk("ledger-0").unlink()
    refreshed = platform.pulumi("refresh", "--yes", "--skip-preview")
    assert "deleted" in refreshed and "ledger-0-data" in refreshed
    platform.up()
    assert serves(platform)
    assert entries(platform) == [], "the rows were on the disk"
    made = platform.request("/entries", {"account": "life", "amount": 1, "currency": "EUR"})
    assert made.body in entries(platform)
