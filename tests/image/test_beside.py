"""What stands beside an image: manifest, bill of materials, CVEs; and until when it may be used."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.image.conftest import HYGIENE, root_host


@pytest.fixture(scope="session")
def manifest(image):
    return json.loads((image / "manifest.json").read_text())


@pytest.fixture(scope="session")
def cves(image):
    return json.loads((image / "manifest.cves.json").read_text())


def test_the_manifest_names_every_package_of_the_image(image, manifest):
    listing = root_host(image / "root").check_output("dpkg-query --show --showformat='${binary:Package} ${Version}\n'")
    named = {f"{package['name']} {package['version']}" for package in manifest["packages"]}
    assert named == set(listing.splitlines()) and len(named) > 100


def test_the_image_expires_and_says_so_itself(image, manifest):
    built, expires = (datetime.fromisoformat(manifest[key]) for key in ("built", "expires"))
    assert built <= datetime.now(UTC)
    assert 1 <= (expires - built).days <= 90
    label = json.loads((image / "root/etc/golden-image.json").read_text())
    assert label == {key: value for key, value in manifest.items() if key != "packages"}


def test_the_bill_of_materials_is_valid_by_its_own_schema_and_complete(image, manifest):
    text = (image / "manifest.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    assert len(bill["components"]) == len(manifest["packages"])
    assert len({component["purl"] for component in bill["components"]}) == len(manifest["packages"])


def test_open_cves_are_listed_or_unknown_for_a_reason(cves):
    known = cves["open"]["status"] == "known"
    assert known == isinstance(cves["open"]["cves"], list)
    # Debian's tracker may be out of reach, but debsecan is fetched where it is not installed.
    assert known or "debsecan is not installed" not in cves["open"]["reason"]


def test_cves_that_the_packages_have_fixed_are_listed(cves):
    fixed = cves["fixed"]["sources"]
    assert len(fixed) > 10
    assert all(cve.startswith("CVE-") for found in fixed.values() for cve in found)


def test_a_machine_of_the_image_can_be_looked_at_wherever_it_was_started(image):
    on_board = image / "root/usr/lib/golden-image/hygiene.sh"
    assert on_board.read_text() == HYGIENE and on_board.stat().st_mode & 0o111
