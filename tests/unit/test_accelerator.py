"""The probe boots a kernel, not the package that only names one."""

import pytest

from infra.machines import accelerator

DEPENDS = """linux-image-cloud-amd64
  Depends: linux-image-6.1.0-56-cloud-amd64
"""


def test_the_kernel_is_in_the_package_that_the_metapackage_depends_on():
    assert accelerator._kernel_package(DEPENDS) == "linux-image-6.1.0-56-cloud-amd64"


def test_a_metapackage_that_apt_does_not_know_names_no_kernel():
    with pytest.raises(StopIteration):
        accelerator._kernel_package("linux-image-cloud-amd64\n")
