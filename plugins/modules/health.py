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
    description: What the check is called; for the reader of the play alone.
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
        module.fail_json(msg=f"the command {command} cannot be read: {error}")
    if not found:
        module.fail_json(msg="the command is empty")
    return found


def command_fault(command, argv, left):
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
        return f"{command} does not end"
    except OSError as error:
        return f"{command} cannot be run: {error.strerror}"
    said = " ".join(f"{done.stdout} {done.stderr}".split())
    return f"{command} ends with {done.returncode}" + (f": {said}" if said else "") if done.returncode else None


def port_fault(host, port, left):
    try:
        socket.create_connection((host, port), timeout=min(left, ANSWERS_WITHIN)).close()
    except OSError as error:
        return f"{host}:{port} does not answer: {error}"
    return None


def url_fault(url, status, contains, left):
    try:
        answer = open_url(url, timeout=min(left, ANSWERS_WITHIN), http_agent="hybrid.platform.health")
    except urllib.error.HTTPError as error:
        answer = error
    except Exception as error:  # of many kinds, by what open_url stands on
        return f"{url} does not answer: {error}"
    if answer.code != status:
        return f"{url} answers with {answer.code}, and not {status}"
    try:
        found = contains in answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"{url} does not answer in full: {error}"
    return None if found else f"{url} does not contain {json.dumps(contains)}"


def fault(parameters, argv, check_mode, left):
    """Why a try fails, or None."""
    if argv:
        return None if check_mode else command_fault(parameters["command"], argv, left)
    if parameters["port"] is not None:
        return port_fault(parameters["host"], parameters["port"], left)
    return url_fault(parameters["url"], parameters["status"], parameters["contains"], left)


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
