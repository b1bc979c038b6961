"""Put one golden image together: `python -m infra.targets.local.image_build NAME RELEASE DIRECTORY ROLE...`.

mmdebstrap makes the root, the collection's golden-image playbook configures it by the chroot connection, as it would
configure a build machine elsewhere.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from infra.machines.host import CommandError
from infra.machines.state import state
from infra.targets.local import ansible, image_root
from infra.targets.local.golden_image import PLAYBOOK


def main(name: str, release: str, directory: Path, roles: list[str]) -> None:
    root = directory / "root"
    print(f"{name}: bootstrapping {release}", flush=True)
    image_root.bootstrap(release, root)
    variables = {
        "golden_image_name": name,
        "golden_image_release": release,
        "golden_image_roles": [f"hybrid.platform.{role}" for role in roles],
        "golden_image_manifest_destination": str(directory / "manifest.json"),
    }
    inventory = {"all": {"hosts": {"image": image_root.connection(root)}}}
    ansible.run_playbook(state(), f"image-{name}", PLAYBOOK, inventory, variables)
    shutil.rmtree(image_root.run_directory(root))
    json.loads((directory / "manifest.json").read_text())


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    except (ansible.PlaybookError, CommandError, OSError) as error:
        sys.exit(str(error))
