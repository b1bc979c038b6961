"""A data disk goes with its workload, and with nothing else."""

import pytest

from infra.targets.local import data_disk
from infra.targets.local.dynamic import ModuleProvider

SIZE = 4096


@pytest.fixture
def provider(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_PLATFORM_STATE", str(tmp_path / "state"))
    # A real one is made by the tests of the platform.
    monkeypatch.setattr(data_disk, "_make", lambda disk, size: disk.write_bytes(b"rows".ljust(size)))
    return ModuleProvider(data_disk.__name__)


@pytest.fixture
def inputs(tmp_path):
    return {"name": "ledger-0-data", "path": str(tmp_path / "ledger-0.ext4"), "size": SIZE}


def test_a_replacement_keeps_the_data(provider, inputs, tmp_path):
    disk = tmp_path / "ledger-0.ext4"
    old = provider.create(inputs).outs
    assert provider.diff("", old, inputs).delete_before_replace is False, "the old one would go, and the data with it"
    new = provider.create(inputs).outs
    provider.delete("", old)
    assert disk.read_bytes().startswith(b"rows")
    assert provider.read("ledger-0-data", new).id
    provider.delete("", new)
    assert list(tmp_path.glob("ledger-0*")) == []


def test_an_up_that_was_killed_while_it_replaced_loses_nothing(provider, inputs):
    known = provider.create(inputs).outs
    made = provider.create(inputs).outs
    assert provider.diff("", known, inputs).changes
    mended = provider.update("", known, inputs).outs
    assert mended["owner"] == made["owner"]
    assert not provider.diff("", mended, inputs).changes


def test_a_disk_of_a_platform_from_before_disks_had_owners_is_deleted_like_any(provider, inputs, tmp_path):
    disk = tmp_path / "ledger-0.ext4"
    disk.write_bytes(b"rows".ljust(SIZE))
    assert not provider.diff("", inputs, inputs).changes
    provider.delete("", inputs)
    assert not disk.exists()


def test_a_smaller_disk_is_refused_whoever_asks(provider, inputs):
    known = provider.create(inputs).outs
    for attempt in (lambda less: provider.update("", known, less), provider.create):
        with pytest.raises(RuntimeError, match="can grow but not shrink"):
            attempt(inputs | {"size": SIZE // 2})
