#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Give a service a certificate by an authority of its own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: private_certificate
short_description: Keep a private authority, and a server's certificate by it, in a directory
description:
  - Makes the authority once; whoever trusts it goes on trusting it when the server's certificate is renewed, for
    instance because the machine was replaced and has another address.
  - The authority's key never leaves the machine and is readable by root alone.
  - Files are C(ca.key), C(ca.crt), C(server.key) and C(server.crt).
options:
  directory:
    description: Where the files are kept.
    type: path
    required: true
  names:
    description: Host names and IP addresses by which clients reach the server. The first one is the common name.
    type: list
    elements: str
    required: true
  group:
    description: The group that may read the server's key.
    type: str
    required: true
  authority_days:
    description: Days that a new authority is valid.
    type: int
    default: 3650
  days:
    description: Days that a new certificate is valid. It is renewed in the last third of them.
    type: int
    default: 825
author: The hybrid platform authors
attributes:
  check_mode:
    support: full
    description: Tells what would be made.
"""

EXAMPLES = r"""
- name: Issue the server's certificate
  hybrid.platform.private_certificate:
    directory: /srv/data/postgresql/tls
    names: [ledger-0, 10.10.0.10]
    group: postgres
"""

RETURN = r"""
authority:
  description: The authority's certificate, for those who have to trust it; empty in check mode before there is one.
  returned: always
  type: str
issued:
  description: What was, or in check mode would be, made (C(authority), C(certificate)).
  returned: always
  type: list
  elements: str
"""

import grp
import ipaddress
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
SECONDS_A_DAY = 86400


def alternative_name(name):
    """The name as the certificate extension spells it."""
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def spelled_by_openssl(name):
    """The name as openssl shows it: IPv6 addresses in full and in capitals."""
    kind, value = alternative_name(name).split(":", 1)
    if kind == "DNS":
        return f"DNS:{value}"
    address = ipaddress.ip_address(value)
    if address.version == 6:
        value = ":".join(f"{int(group, 16):X}" for group in address.exploded.split(":"))
    return f"IP Address:{value}"


class Directory:
    """The files, and openssl to make and read them."""

    def __init__(self, module):
        self.module = module
        self.path = module.params["directory"]

    def file(self, name):
        return os.path.join(self.path, name)

    def has(self, *names):
        return all(os.path.exists(self.file(name)) for name in names)

    def openssl(self, *arguments, check=True):
        return self.module.run_command(["openssl", *arguments], check_rc=check)

    def issue(self, key, certificate, mode, group, *arguments):
        """Make a key with its certificate; both appear complete, the key first, or not at all."""
        with tempfile.TemporaryDirectory(dir=self.path) as scratch:
            new_key, new_certificate = os.path.join(scratch, "key"), os.path.join(scratch, "crt")
            self.openssl("req", "-x509", *CURVE, "-keyout", new_key, "-out", new_certificate, *arguments)
            os.chmod(new_key, mode)
            os.chown(new_key, 0, group)
            os.chmod(new_certificate, 0o644)
            os.replace(new_key, self.file(key))
            os.replace(new_certificate, self.file(certificate))

    def issue_authority(self, days):
        self.issue(
            "ca.key", "ca.crt", 0o600, 0, "-days", str(days),
            "-subj", f"/CN=Private authority of {os.uname().nodename}",
            "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip

    def issue_certificate(self, names, days, group):
        self.issue(
            "server.key", "server.crt", 0o640, group, "-days", str(days), "-subj", f"/CN={names[0]}",
            "-CA", self.file("ca.crt"), "-CAkey", self.file("ca.key"),
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-addext", "keyUsage=critical,digitalSignature", "-addext", "extendedKeyUsage=serverAuth",
            "-addext", "subjectAltName=" + ",".join(map(alternative_name, names)),
        )  # fmt: skip

    def certificate_fits(self, names, days):
        """Whether the certificate is by this authority, for these names, for long enough, and belongs to the key."""
        if not self.has("server.key", "server.crt"):
            return False
        certificate = self.file("server.crt")
        renew = str(days * SECONDS_A_DAY // 3)
        if self.openssl("x509", "-in", certificate, "-noout", "-checkend", renew, check=False)[0]:
            return False
        if self.openssl("verify", "-CAfile", self.file("ca.crt"), certificate, check=False)[0]:
            return False
        _code, shown, _err = self.openssl("x509", "-in", certificate, "-noout", "-ext", "subjectAltName")
        if {name.strip() for name in shown.splitlines()[-1].split(",")} != set(map(spelled_by_openssl, names)):
            return False
        _code, by_certificate, _err = self.openssl("x509", "-in", certificate, "-noout", "-pubkey")
        _code, by_key, _err = self.openssl("pkey", "-in", self.file("server.key"), "-pubout")
        return by_certificate == by_key

    def give_key_to(self, group):
        """The group's number differs between machines that a volume goes through."""
        key = self.file("server.key")
        if os.stat(key).st_gid == group:
            return False
        if not self.module.check_mode:
            os.chown(key, 0, group)
        return True


def main():
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "group": {"type": "str", "required": True},
            "authority_days": {"type": "int", "default": 3650},
            "days": {"type": "int", "default": 825},
        },
        supports_check_mode=True,
    )
    names, days, dry = module.params["names"], module.params["days"], module.check_mode
    directory = Directory(module)
    issued = []
    regrouped = False
    if not dry:
        os.umask(0o022)  # a hardened machine's umask would make the modes below narrower than they say
        os.makedirs(directory.path, mode=0o755, exist_ok=True)
    if not directory.has("ca.key", "ca.crt"):
        issued.append("authority")
        if not dry:
            directory.issue_authority(module.params["authority_days"])
    if "authority" in issued or not directory.certificate_fits(names, days):
        issued.append("certificate")
        if not dry:
            directory.issue_certificate(names, days, grp.getgrnam(module.params["group"]).gr_gid)
    else:
        regrouped = directory.give_key_to(grp.getgrnam(module.params["group"]).gr_gid)
    authority = ""
    if directory.has("ca.crt"):
        with open(directory.file("ca.crt")) as stream:
            authority = stream.read()
    module.exit_json(changed=bool(issued) or regrouped, issued=issued, authority=authority)


if __name__ == "__main__":
    main()
