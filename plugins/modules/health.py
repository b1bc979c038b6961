#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Wait until a service answers as it should."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health
short_description: Wait until a command succeeds, a port is open, or a URL answers
description:
  - Tries again until the limit, which also ends a try that hangs, and fails with what the last one said.
  - Changes nothing by itself. In check mode a O(command) is not run.
  - A failure is told by the O(name), or else the first word of the O(command), or the O(url) without user and query,
    for secrets may stand in the rest. What a command says is told, so it must say none.
options:
  command:
    description: Command that must succeed, without a shell.
    type: str
  port:
    description: TCP port that must be open.
    type: int
  host:
    description: Where the O(port) is.
    type: str
    default: 127.0.0.1
  url:
    description: URL that must answer.
    type: str
  status:
    description: The HTTP status of a good answer.
    type: int
    default: 200
  contains:
    description: What a good answer contains.
    type: str
    default: ""
  name:
    description: What the check is called.
    type: str
  timeout:
    description: Seconds within which it must succeed.
    type: int
    default: 120
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Wait until the shop sells
  hybrid.platform.health:
    url: https://shop.example.org/ready
    contains: open
"""

RETURN = r""" # """

import http.client
import json
import shlex
import socket
import subprocess
import time
import urllib.error
import urllib.parse

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

PAUSE = 2
ANSWERS_WITHIN = 5


def words(module):
    """The words of the command, if one is asked for."""
    command = module.params["command"]
    if command is None:
        return None
    try:
        found = shlex.split(command)
    except ValueError as error:
        module.fail_json(msg=f"the command cannot be read: {error}")
    if not found:
        module.fail_json(msg="the command is empty")
    return found


def without_secrets(url):
    """What a URL asks of whom; nothing of one that is broken, in which a password may stand anywhere."""
    try:
        parts = urllib.parse.urlsplit(url)
        is_whole = parts.hostname is not None and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        return "the URL"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def command_fault(called, argv, left):
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=left,
        )
    except subprocess.TimeoutExpired:
        return f"{called} does not end"
    except OSError as error:
        return f"{called} cannot be run: {error.strerror}"
    said = " ".join(f"{done.stdout} {done.stderr}".split())
    return f"{called} ends with {done.returncode}" + (f": {said}" if said else "") if done.returncode else None


def port_fault(host, port, left):
    try:
        socket.create_connection((host, port), timeout=min(left, ANSWERS_WITHIN)).close()
    except OSError as error:
        return f"{host}:{port} does not answer: {error}"
    return None


def url_fault(called, url, status, contains, left):
    try:
        answer = open_url(url, timeout=min(left, ANSWERS_WITHIN), http_agent="hybrid.platform.health")
    except urllib.error.HTTPError as error:
        answer = error
    except (ValueError, http.client.InvalidURL):  # which say the URL, or a part of it
        return f"{called} cannot be asked"
    except Exception as error:  # of many kinds, by what open_url stands on
        return f"{called} does not answer: {error}"
    if answer.code != status:
        return f"{called} answers with {answer.code}, and not {status}"
    try:
        found = contains in answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"{called} does not answer in full: {error}"
    return None if found else f"{called} does not contain {json.dumps(contains)}"


def fault(parameters, argv, check_mode, left):
    """Why a try fails, or None."""
    if argv:
        return None if check_mode else command_fault(parameters["name"] or argv[0], argv, left)
    if parameters["port"] is not None:
        return port_fault(parameters["host"], parameters["port"], left)
    url = parameters["url"]
    called = parameters["name"] or without_secrets(url)
    return url_fault(called, url, parameters["status"], parameters["contains"], left)


def main():
    module = AnsibleModule(
        argument_spec={
            "command": {"type": "str"},
            "port": {"type": "int"},
            "host": {"type": "str", "default": "127.0.0.1"},
            "url": {"type": "str"},
            "status": {"type": "int", "default": 200},
            "contains": {"type": "str", "default": ""},
            "name": {"type": "str"},
            "timeout": {"type": "int", "default": 120},
        },
        required_one_of=[["command", "port", "url"]],
        mutually_exclusive=[["command", "port", "url"]],
        supports_check_mode=True,
        no_log=True,  # the machine's log would have the whole command
    )
    argv = words(module)
    timeout = module.params["timeout"]
    end = time.monotonic() + timeout
    while found := fault(module.params, argv, module.check_mode, max(end - time.monotonic(), 1)):
        if time.monotonic() + PAUSE >= end:
            module.fail_json(msg=f"within {timeout} s {found}")
        time.sleep(PAUSE)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
