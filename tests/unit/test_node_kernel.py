"""What the kernel offers is asked, so the answers must be the kernel's."""

import shutil
import subprocess

from plugins.modules import node_kernel


def test_the_file_system_is_the_one_that_stat_names(tmp_path):
    stat = shutil.which("stat") or "stat"
    for path in ("/proc", str(tmp_path)):
        named = subprocess.run([stat, "-f", "-c", "%t", path], capture_output=True, text=True, check=True)
        assert node_kernel.file_system(path) == int(named.stdout, 16)


def test_a_directory_that_is_still_to_be_made_lies_where_its_parent_does(tmp_path):
    assert node_kernel.file_system(str(tmp_path / "to" / "be")) == node_kernel.file_system(str(tmp_path))
