# Apache-2.0 (see LICENSE)
"""Write files where Ansible runs; the module of the same name documents it."""

from __future__ import annotations

import os
import tempfile

from ansible.plugins.action import ActionBase

FILES = {
    "type": "list",
    "elements": "dict",
    "required": True,
    "options": {"path": {"type": "path", "required": True}, "content": {"type": "str", "required": True}},
}


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec({"files": FILES})
        for file in arguments["files"]:
            write(file["path"], file["content"])
        return result | {"changed": False}


def write(path, content):
    """Put the content in place in one step, so that two at once do no harm."""
    directory = os.path.dirname(os.path.abspath(path))
    os.makedirs(directory, exist_ok=True)
    descriptor, new = tempfile.mkstemp(dir=directory, prefix=".new-")
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(content)
        os.chmod(new, 0o644)
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise
