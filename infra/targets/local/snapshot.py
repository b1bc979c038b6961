"""The snapshot hook of this target's machines, which snapshot.yml and rollback.yml beside it call while patching.

python -m infra.targets.local.snapshot take|restore MACHINE_DIRECTORY
"""

from __future__ import annotations

import sys
from pathlib import Path

from infra.machines import snapshot
from infra.machines.config import MachineConfig
from infra.targets.local import machine


def main(action: str, directory: Path) -> None:
    if action == "take":
        snapshot.take(directory)
    else:
        snapshot.restore(directory)
        machine.start(MachineConfig.read(directory), directory)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
