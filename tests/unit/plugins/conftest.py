"""Run a module of the collection in this process, as Ansible would on a machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

Run = Callable[..., dict[str, Any]]


class ModuleFailed(Exception):
    """The module called fail_json."""


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> Run:
    def run_module(module: ModuleType, check: bool = False, diff: bool = False, **parameters: Any) -> dict[str, Any]:
        arguments = {**parameters, "_ansible_check_mode": check, "_ansible_diff": diff}
        arguments["_ansible_remote_tmp"] = str(tmp_path / "ansible-tmp")
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        if result.get("failed"):
            raise ModuleFailed(result["msg"])
        return result

    return run_module


@pytest.fixture
def failure() -> type[ModuleFailed]:
    return ModuleFailed
