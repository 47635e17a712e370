# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/context``: the ISO is a file in the VM's directory on its host."""

from __future__ import annotations

from lab.cloud import Cloud
from tests.actions.support import resources
from tests.actions.tm.support import bare_image, run, waiting


def test_the_iso_is_on_the_host(cloud: Cloud) -> None:
    vm = waiting(cloud, bare_image(cloud, "data", persistent=True), host="dave")
    assert vm.context is not None
    script = cloud.root / "context.sh"
    script.write_text("HELLO='it is me'\n")
    disk = f"101/{vm.id}/disk.{vm.context['DISK_ID']}"
    for _ in range(2):
        call = run(cloud, cloud.one.lines.context(vm, [str(script)]))
        assert (call.rc, call.stdout, call.stderr) == (0, "", "")
        iso = cloud.hosts.layout.host_datastores("dave") / disk
        assert not iso.is_symlink()
        assert b"HELLO='it is me'" in iso.read_bytes()
    assert resources(cloud) == {"data"}


def test_the_reason_of_a_failure_reaches_the_user(cloud: Cloud) -> None:
    vm = waiting(cloud, bare_image(cloud, "data", persistent=True), host="dave")
    cloud.hosts.set_link("dave", "refused")
    call = run(cloud, cloud.one.lines.context(vm, [str(cloud.root / "context.sh")]))
    assert call.rc == 1
    assert call.user_error.startswith(f"cannot make the context of VM {vm.id} on dave")


def test_too_few_arguments(cloud: Cloud) -> None:
    call = cloud.call("tm/context", "alice:/one/datastores/101/0/disk.1", 0, 101)
    assert call.rc == 1
    assert "got 3 arguments" in call.user_error
