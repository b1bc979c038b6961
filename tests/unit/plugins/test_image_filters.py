"""Filters of the golden_image role."""

import json
import subprocess

import pytest
from ansible.errors import AnsibleFilterError
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from plugins.filter import image

# Of root, in every image.
HOME = "/root"
LISTING = "zlib1g:amd64\t1:1.3+x~1-1\tamd64\tzlib\t1:1.3+x~1-1\nacl\t2.3-1+b2\tamd64\tacl\t2.3-1\n"


@pytest.fixture
def manifest():
    return image.image_manifest(image.dpkg_packages(LISTING), "base", "debian-13", 86400, 30)


def test_manifest_names_packages_in_order_and_its_end(manifest):
    assert [package["name"] for package in manifest["packages"]] == ["acl", "zlib1g:amd64"]
    assert (manifest["built"], manifest["expires"]) == ("1970-01-02T00:00:00+00:00", "1970-02-01T00:00:00+00:00")


def test_a_line_that_is_no_package_is_refused():
    with pytest.raises(AnsibleFilterError, match="not a line of a package list"):
        image.dpkg_packages("dpkg-query: error\n")


def test_bill_of_materials_names_each_package_by_url(manifest):
    bill = image.cyclonedx(manifest)
    assert [component["purl"] for component in bill["components"]] == [
        "pkg:deb/debian/acl@2.3-1+b2?arch=amd64&distro=debian-13",
        "pkg:deb/debian/zlib1g@1%3A1.3+x~1-1?arch=amd64&distro=debian-13",
    ]
    assert bill["components"][1]["name"] == "zlib1g"


def test_two_builds_have_two_serial_numbers(manifest):
    other = {**manifest, "built": "1971-01-01T00:00:00+00:00"}
    assert image.cyclonedx(manifest)["serialNumber"] != image.cyclonedx(other)["serialNumber"]
    assert image.cyclonedx(manifest) == image.cyclonedx(manifest)


def test_the_bill_of_materials_is_valid_by_its_own_schema(manifest):
    bill = image.cyclonedx(manifest)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    del bill["components"][0]["name"]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is not None


def test_an_image_that_is_sealed_again_is_as_old_as_it_was(manifest):
    packages, label = manifest["packages"], image.image_label(manifest)
    again = image.image_manifest(packages, "base", "debian-13", 10 * 86400, 30, label)
    assert again == manifest
    patched = image.image_manifest(packages[:1], "base", "debian-13", 10 * 86400, 30, label)
    assert patched["built"] == "1970-01-11T00:00:00+00:00"
    assert image.image_manifest(packages, "other", "debian-13", 10 * 86400, 30, label)["built"] == patched["built"]


@pytest.mark.parametrize(
    ("kept", "told", "left"),
    [
        (f"{HOME}/.ssh/*", [f"access: {HOME}/.ssh/authorized_keys"], [f"access: {HOME}/.ssh2/authorized_keys"]),
        ("~root/.ssh/*", [f"access: {HOME}/.ssh/authorized_keys"], ["access: /home/~root/.ssh/authorized_keys"]),
        (
            "/etc/ssh/ssh_host_*",
            ["host_keys: /etc/ssh/ssh_host_rsa_key"],
            ["private_keys: /srv/etc/ssh/ssh_host_rsa_key"],
        ),
        (
            "/etc/hostname",
            ["machine_identity: /etc/hostname names the builder"],
            ["machine_identity: /etc/hostname.d/a"],
        ),
        (
            "/etc/resolv.conf",
            ["build_leftovers: /etc/resolv.conf:nameserver 192.0.2.1"],
            ["build_leftovers: /etc/resolv-conf"],
        ),
        ("/var/log", ["logs: /var/log/journal/0123/system.journal"], ["logs: /srv/var/log/a"]),
        ("/tmp/*", ["temporary_files: /tmp/a/.b"], ["temporary_files: /tmp/.a"]),
        ("/tmp/.[!.]*", ["temporary_files: /tmp/.a"], ["temporary_files: /tmp/a"]),
        (
            "/etc/**/*.dpkg-*",
            ["build_leftovers: /etc/a.dpkg-old", "build_leftovers: /etc/b/c/a.dpkg-old"],
            ["x: /a.dpkg-old"],
        ),
    ],
)
def test_what_was_kept_on_purpose_is_told_from_what_was_left(kept, told, left):
    """By grep, which is what reads the expression in an image."""
    command = ["grep", "--extended-regexp", "--invert-match", image.hygiene_lines(["/run", kept])]
    lines = "".join(f"{line}\n" for line in ["temporary_files: /run/a/b", *told, *left])
    assert subprocess.run(command, input=lines, capture_output=True, text=True).stdout.splitlines() == left
