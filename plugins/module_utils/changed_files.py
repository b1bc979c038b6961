# Apache-2.0 (see LICENSE)
"""What modules that write a set of files have in common: one way to write, and one way to tell what was written."""

from __future__ import annotations

import os
import shlex
import tempfile


def widen_umask():
    """A hardened machine's own would make new directories that their readers cannot enter."""
    os.umask(0o022)


def read(path):
    """The file's bytes, or None where there is none."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, IsADirectoryError):
        return None


def write(module, path, content, validate=None):
    """Put the content in place in one step, after its validation. Owner and permissions of what was there stay."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    descriptor, new = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    if validate:
        command = [new if word == "%s" else word for word in shlex.split(validate)]
        code, out, err = module.run_command(command)
        if code:
            module.fail_json(msg=f"{path} is not valid, and was left as it is: {(err or out).strip()}")
    if not os.path.exists(path):
        os.chmod(new, 0o644)
    module.atomic_move(new, path)


class Changes:
    """The files that were, or in check mode would be, changed."""

    def __init__(self):
        self.paths, self.differences = [], []

    def add(self, path, before, after):
        """Note a changed file; `after` is None where it is gone."""
        self.paths.append(path)
        difference = {"before_header": path, "before": text(before), "after": text(after)}
        self.differences.append(difference | ({} if after is None else {"after_header": path}))

    def result(self, module):
        told = {"changed": bool(self.paths), "changed_paths": self.paths}
        return told | ({"diff": self.differences} if module._diff else {})


def text(content):
    return (content or b"").decode(errors="replace")
