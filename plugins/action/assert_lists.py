# Apache-2.0 (see LICENSE)
"""Refuse words where lists are meant; the module of the same name documents it."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

VARIABLES = {"type": "list", "elements": "str", "required": True}
FAULT = (
    """%(name)s must be a list, and is a word. On a command line it takes JSON to say so: -e '{"%(name)s": [...]}'"""
)


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec({"variables": VARIABLES})
        given = {name: self._templar.template(task_vars[name]) for name in arguments["variables"]}
        # Without what the word says: lists may hold passwords.
        faults = [FAULT % {"name": name} for name, value in given.items() if isinstance(value, str)]
        return result | ({"failed": True, "msg": "; ".join(faults)} if faults else {"changed": False})
