"""What scanners say of a stock Debian machine before and after the role `hardening`, and whether it got worse.

    .venv/bin/python benchmarks/roles/hardening/scores.py [--record] [MACHINE...]

MACHINE is debian-12 or debian-13 with -nspawn or -qemu behind it; both releases under nspawn where none is named.
Each starts from a stock image, is scanned, hardened by an ordinary playbook over SSH, rebooted and scanned again. The
run fails where a score is below the recorded one, where a rule that passed before fails after, or where waivers.yml
gives no reason for a rule that fails or for a suggestion of Lynis. --record keeps what was measured: `results/` and
the table scores.md. The scanner's own reports stay under build/scores.
"""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import hashlib
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

sys.path[:0] = [str(Path(__file__).resolve().parents[3]), str(Path(__file__).resolve().parent)]

from stock_machine import HERE, WORK, Machine, checked  # noqa: E402
from verdict import BenchmarkError, end_by  # noqa: E402

from infra.targets.local import debian  # noqa: E402
from plugins.filter.waivers import score_faults, waiver_faults  # noqa: E402
from toolchain.build import cache_directory  # noqa: E402

MACHINES = ("debian-12-nspawn", "debian-13-nspawn", "debian-12-qemu", "debian-13-qemu")
PROFILES = {"cis_level1_server": "CIS level 1 server", "anssi_bp28_intermediary": "ANSSI BP-028 intermediary"}
STATES = ("stock", "hardened")
# A virtual machine in software may take a minute to restart its sshd.
PATIENCE = {"firewall_revert_after": 600, "hardening_sshd_revert_after": 600}

# Debian 13's own package has no content for Debian 13 yet. Whatever it comes from, it is known by its digest.
CONTENT = "ssg-debian=0.1.82-1"
CONTENT_SHA256 = "cfde145916f1f37ec96c0fe2a9ea5f44a2db0ee6f0a2dacfcf86534c0977755a"
CONTENT_SUITES = ("forky", "sid")


def content() -> Path:
    """The directory with the scanner's content, fetched by a private apt that trusts its digest and nothing else."""
    directory = cache_directory() / "scap" / CONTENT_SHA256[:16]
    if directory.is_dir():
        return directory
    private = WORK / "apt"
    for part in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d"):
        (private / part).mkdir(parents=True, exist_ok=True)
    (private / "state" / "status").touch()
    mirror = debian.sources("debian-13")[0].split()[1]
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (private / "etc" / "sources.list").write_text(
        "".join(f"deb [signed-by={keyring} check-valid-until=no] {mirror} {suite} main\n" for suite in CONTENT_SUITES)
    )
    (private / "apt.conf").write_text(
        f'Dir::State "{private}/state"; Dir::State::status "{private}/state/status"; Dir::Cache "{private}/cache";\n'
        f'Dir::Etc "{private}/etc"; Acquire::Languages "none"; APT::Sandbox::User "root";\n'
    )
    environment = os.environ | {"APT_CONFIG": str(private / "apt.conf")}
    checked(["apt-get", "-qq", "update"], env=environment)
    checked(["apt-get", "-qq", "download", CONTENT], env=environment, cwd=private)
    package = next(private.glob(f"{CONTENT.partition('=')[0]}_*.deb"))
    if hashlib.sha256(package.read_bytes()).hexdigest() != CONTENT_SHA256:
        raise BenchmarkError(f"{package} is not the content that the scores are made with; its digest differs.")
    unpacked = directory.with_name(directory.name + ".building")
    unpacked.mkdir(parents=True, exist_ok=True)
    checked(["dpkg-deb", "--extract", str(package), str(unpacked)])
    unpacked.rename(directory)
    return directory


def data_stream(release: str) -> Path:
    name = f"ssg-{release.replace('-', '')}-ds.xml"
    return content() / "usr/share/xml/scap/ssg/content" / name


def measure(machine: Machine) -> dict[str, Any]:
    """Scan, harden, reboot, scan again."""
    raw = WORK / "raw" / machine.name
    raw.mkdir(parents=True, exist_ok=True)
    machine.down()
    try:
        machine.up()
        _say(machine, "install the scanners")
        machine.run("apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes "
                    "--no-install-recommends openscap-scanner lynis </dev/null")  # fmt: skip
        machine.run("cat >/root/content.xml", stdin=data_stream(machine.release).read_bytes())
        found = {"stock": scan(machine, raw, "stock")}
        _say(machine, "harden")
        gateway = json.loads((machine.directory / "network.json").read_text())["gateway"]
        (raw / "play.log").write_text(machine.play("harden.yml", firewall_management_sources=[gateway], **PATIENCE))
        # What a timer does within the first hour; the scan is of a machine that has been up for longer.
        machine.run("systemctl start aidecheck.service")
        found["hardened"] = scan(machine, raw, "hardened")
    finally:
        machine.down()
    return summary(machine, found)


def _say(machine: Machine, words: str) -> None:
    print(f"{machine.name}: {words}", flush=True)


def scan(machine: Machine, raw: Path, state: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for profile in PROFILES:
        _say(machine, f"scan {state} for {PROFILES[profile]}")
        machine.run(
            f"cd /root && oscap xccdf eval --profile xccdf_org.ssgproject.content_profile_{profile} "
            "--results results.xml content.xml",
            allowed=(0, 2),  # 2 means that some rules failed
        )
        file = raw / f"{state}-{profile}.xml"
        file.write_text(machine.run("cat /root/results.xml && rm /root/results.xml"))
        found[profile] = xccdf_result(file)
    _say(machine, f"scan {state} with Lynis")
    machine.run("lynis audit system --quiet --no-colors", allowed=(0, 1))
    report = machine.run("cat /var/log/lynis-report.dat")
    (raw / f"{state}-lynis.dat").write_text(report)
    (raw / f"{state}-lynis.log").write_text(machine.run("cat /var/log/lynis.log && rm /var/log/lynis*"))
    found["lynis"] = lynis_result(report)
    found["scanners"] = machine.run("dpkg-query --show --showformat='${Package} ${Version}\\n' openscap-scanner lynis")
    return found


def xccdf_result(file: Path) -> dict[str, Any]:
    """The score, and each rule's outcome, but for those that the profile does not choose."""
    space = "{http://checklists.nist.gov/xccdf/1.2}"
    result = next(ElementTree.parse(file).getroot().iter(f"{space}TestResult"))  # noqa: S314 - the scanner's own
    outcomes = {
        rule.get("idref", "").rpartition("content_rule_")[2]: rule.findtext(f"{space}result", "")
        for rule in result.iter(f"{space}rule-result")
    }
    chosen = {rule: outcome for rule, outcome in sorted(outcomes.items()) if outcome != "notselected"}
    score = next(s for s in result.iter(f"{space}score") if s.get("system") == "urn:xccdf:scoring:default")
    return {"score": round(float(score.text or 0), 1), "rules": chosen}


def lynis_result(report: str) -> dict[str, Any]:
    def identifiers(kind: str) -> list[str]:
        return sorted(set(re.findall(rf"^{kind}\[\]=([A-Z]+-\d+)", report, re.MULTILINE)))

    index = re.search(r"^hardening_index=(\d+)$", report, re.MULTILINE)
    if not index:
        raise BenchmarkError("Lynis wrote no hardening index")
    return {"score": int(index[1]), "warnings": identifiers("warning"), "suggestions": identifiers("suggestion")}


def summary(machine: Machine, found: dict[str, Any]) -> dict[str, Any]:
    """What is published: scores, and each rule's outcome before and after in one line."""
    profiles = {}
    for profile in PROFILES:
        before, after = (found[state][profile] for state in STATES)
        rules = {rule: f"{before['rules'].get(rule)} {outcome}" for rule, outcome in after["rules"].items()}
        profiles[profile] = {"stock": before["score"], "hardened": after["score"], "rules": rules}
    return {
        "machine": machine.name,
        "day": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "content": CONTENT,
        "scanners": found["hardened"]["scanners"].split("\n")[:-1],
        "profiles": profiles,
        "lynis": {state: found[state]["lynis"] for state in STATES},
    }


def waived_on(machine: str, waivers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The waivers that are for this machine: a reason that holds in a container need not hold on a virtual machine."""
    return [waiver for waiver in waivers if fnmatch.fnmatchcase(machine, waiver.get("machines", "*"))]


def faults(
    measured: dict[str, Any], recorded: dict[str, Any] | None, waivers: list[dict[str, Any]], unheeded: dict[str, str]
) -> list[str]:
    """Why a measurement is not good enough."""
    found = []
    waivers = waived_on(measured["machine"], waivers)
    waived = {waiver["rule"] for waiver in waivers}
    for profile, result in measured["profiles"].items():
        failed = outcomes(result, "fail")
        before = recorded["profiles"][profile] if recorded else {"hardened": 0, "rules": {}}
        asked = {"profile": PROFILES[profile], "score": result["hardened"], "failed": failed}
        found += score_faults(asked, waivers, before["hardened"])
        found += [f"{rule} passed before and fails after" for rule in failed if result["rules"][rule] == "pass fail"]
        ends = {rule: both.split()[1] for rule, both in result["rules"].items()}
        broken = [rule for rule, end in ends.items() if end in ("error", "unknown")]
        found += [f"{rule} ended as {ends[rule]}" for rule in broken if rule not in waived]
        fell = [rule for rule in failed if before["rules"].get(rule, "").endswith(" pass")]
        found += [f"{rule} passed after hardening when it was recorded, and fails now" for rule in fell]
    if recorded and measured["lynis"]["hardened"]["score"] < recorded["lynis"]["hardened"]["score"]:
        found.append(
            f"the index of Lynis fell from {recorded['lynis']['hardened']['score']} "
            f"to {measured['lynis']['hardened']['score']}"
        )
    warned = {state: set(measured["lynis"][state]["warnings"]) for state in STATES}
    found += [f"Lynis warns of {one}, and did not before" for one in sorted(warned["hardened"] - warned["stock"])]
    suggested = set(measured["lynis"]["hardened"]["suggestions"])
    found += [
        f"Lynis suggests {one}, and nothing says why it is not done" for one in sorted(suggested - unheeded.keys())
    ]
    return [f"{measured['machine']}: {fault}" for fault in found]


def outcomes(result: dict[str, Any], outcome: str, state: str = "hardened") -> list[str]:
    column = STATES.index(state)
    return [rule for rule, both in result["rules"].items() if both.split()[column] == outcome]


def recorded_results() -> dict[str, dict[str, Any]]:
    files = sorted((HERE / "results").glob("*.json"))
    return {file.stem: json.loads(file.read_text()) for file in files}


def waivers() -> list[dict[str, Any]]:
    return yaml.safe_load((HERE / "waivers.yml").read_text())["hardening_waivers"]


def lynis_unheeded() -> dict[str, str]:
    return yaml.safe_load((HERE / "waivers.yml").read_text())["lynis_unheeded"]


def record(measured: dict[str, dict[str, Any]]) -> None:
    (HERE / "results").mkdir(exist_ok=True)
    for name, result in measured.items():
        (HERE / "results" / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (HERE / "scores.md").write_text(table(recorded_results(), waivers(), lynis_unheeded()))


def table(results: dict[str, dict[str, Any]], waived: list[dict[str, Any]], unheeded: dict[str, str]) -> str:
    lines = [
        "# Scores of stock and hardened machines",
        "",
        "Written by `make scores RECORD=1`; every rule's outcome before and after is in `results/`. The score is",
        "OpenSCAP's own, without waivers; in brackets the rules that pass, fail and do not apply.",
        "",
        "| machine | scan | stock | hardened |",
        "|---|---|---|---|",
    ]
    for name, result in results.items():
        for profile, found in result["profiles"].items():
            cells = []
            for state in STATES:
                counts = [str(len(outcomes(found, o, state))) for o in ("pass", "fail", "notapplicable")]
                cells.append(f"{found[state]} ({'/'.join(counts)})")
            lines.append(f"| {name} | {PROFILES[profile]} | {' | '.join(cells)} |")
        cells = []
        for state in STATES:
            lynis = result["lynis"][state]
            cells.append(
                f"{lynis['score']} ({len(lynis['warnings'])} warnings, {len(lynis['suggestions'])} suggestions)"
            )
        lines.append(f"| {name} | Lynis, hardening index | {' | '.join(cells)} |")
    lines += ["", "Measured with:", ""]
    lines += [f"- {name}, {r['day']}: {r['content']}, {', '.join(r['scanners'])}" for name, r in results.items()]
    lines += ["", "## Waivers", "", "Each rule that still fails somewhere, and why (`waivers.yml`).", ""]
    lines += ["| rule | on | reason | owner | until |", "|---|---|---|---|---|"]
    for waiver in waived:
        cells = [waiver.get("machines", "all"), waiver["reason"], waiver["owner"], str(waiver["expires"])]
        lines.append(f"| `{waiver['rule']}` | {' | '.join(cells)} |")
    lines += ["", "## What Lynis goes on suggesting", "", "| suggestion | on | why it stays so |", "|---|---|---|"]
    for suggestion, reason in unheeded.items():
        told = [name for name, r in results.items() if suggestion in r["lynis"]["hardened"]["suggestions"]]
        lines.append(f"| `{suggestion}` | {', '.join(told)} | {reason} |")
    return "\n".join(lines) + "\n"


def main() -> list[str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("machines", nargs="*", metavar="MACHINE", help=", ".join(MACHINES))
    parser.add_argument("--record", action="store_true", help="keep what was measured as the new record")
    arguments = parser.parse_args()
    wanted = arguments.machines or [name for name in MACHINES if name.endswith("-nspawn")]
    if unknown := sorted(set(wanted) - set(MACHINES)):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(MACHINES)}")
    content()
    # One machine that is lost takes nothing from the other, whose scans may have taken an hour.
    found, measured = list[str](), dict[str, dict[str, Any]]()
    with ThreadPoolExecutor(max_workers=2) as pool:
        for name, job in [(name, pool.submit(measure, Machine(name))) for name in wanted]:
            try:
                measured[name] = job.result()
            except (BenchmarkError, subprocess.TimeoutExpired) as error:
                found.append(f"{name} was not measured: {error}")
    for name, result in measured.items():
        (WORK / "raw" / name / "summary.json").write_text(json.dumps(result, indent=1) + "\n")
    recorded, waived, unheeded = recorded_results(), waivers(), lynis_unheeded()
    print(table(measured, [], {}).split("\n\n")[2])
    found += waiver_faults(waived, datetime.datetime.now(datetime.UTC).date().isoformat())
    for name, result in measured.items():
        found += faults(result, recorded.get(name), waived, unheeded)
    if arguments.record:
        record(measured)
    return found


if __name__ == "__main__":
    end_by(main)
