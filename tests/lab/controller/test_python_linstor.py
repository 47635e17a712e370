# SPDX-License-Identifier: Apache-2.0
"""The real python-linstor understands the simulator."""

from __future__ import annotations

from typing import Any, Callable

import linstor
import pytest

from lab.controller import Cluster, ControllerServer, StandbyServer
from lab.devices_protocol import NoDevices

from .support import GIB


@pytest.fixture
def lin(server: ControllerServer, client: Callable[..., linstor.Linstor]) -> linstor.Linstor:
    return client(server)


def _ok(replies: Any) -> None:
    assert replies
    assert linstor.Linstor.all_api_responses_no_error(replies), [str(one) for one in replies]


def test_connecting_costs_two_requests_on_two_connections(
    server: ControllerServer, lin: linstor.Linstor
) -> None:
    assert [one.path for one in server.requests] == ["/v1/controller/version"] * 2
    assert server.connections == 2
    lin.node_list()
    lin.resource_dfn_list(filter_by_resource_definitions=["x"])
    assert server.connections == 2


def test_life_of_a_volume(lin: linstor.Linstor, devices: NoDevices) -> None:
    _ok(lin.resource_group_spawn("one", "vm-1", ["1GiB"]))
    _ok(lin.resource_dfn_modify("vm-1", {"Aux/one/vm": "7"}))
    found = lin.resource_dfn_list_raise(filter_by_props=["Aux/one/vm=7"]).resource_definitions
    assert [(one.name, one.volume_definitions[0].size) for one in found] == [("vm-1", GIB)]
    _ok(lin.resource_make_available("dave", "vm-1"))
    states = lin.resource_list_raise(filter_by_resources=["vm-1"])
    by_node = {one.node_name: one for one in states.resources}
    assert by_node["dave"].volumes[0].device_path == "/dev/drbd1000"
    assert by_node["alice"].volumes[0].state.disk_state == "UpToDate"
    assert {one.node_name: one.in_use for one in states.resource_states}["alice"] is False
    assert lin.resource_dfn_wait_synced("vm-1", wait_interval=0.01, timeout=5)
    _ok(lin.volume_dfn_modify("vm-1", 0, size=2 * GIB))
    _ok(lin.resource_delete("dave", "vm-1", keep_tiebreaker=True))
    _ok(lin.resource_dfn_delete("vm-1"))
    assert not devices.exists("VM-1/0")


def test_clone_and_snapshots(lin: linstor.Linstor, devices: NoDevices) -> None:
    _ok(lin.resource_group_spawn("one", "vm-1", ["1GiB"]))
    assert lin.resource_dfn_clone("vm-1", "vm-2", property_dict={"Aux/a": "b"}).clone_name == "vm-2"
    assert lin.resource_dfn_clone_wait_complete("vm-1", "vm-2", wait_interval=0.01, timeout=5)
    _ok(lin.snapshot_create_multi([], ["vm-1", "vm-2"], "s1"))
    snapshots = lin.snapshot_dfn_list_raise(filter_by_resources=["vm-1"]).snapshots
    assert [(one.name, one.flags) for one in snapshots] == [("s1", ["SUCCESSFUL"])]
    _ok(lin.snapshot_rollback("vm-1", "s1"))
    _ok(lin.resource_dfn_create("vm-3", resource_group="one"))
    _ok(lin.snapshot_volume_definition_restore("vm-1", "s1", "vm-3"))
    _ok(lin.snapshot_resource_restore([], "vm-1", "s1", "vm-3"))
    assert devices.exists("VM-3/0")
    _ok(lin.snapshot_delete("vm-1", "s1"))


def test_groups_pools_nodes_and_the_rest(cluster: Cluster, lin: linstor.Linstor) -> None:
    _ok(lin.resource_group_create("two", place_count=2, storage_pool=["thin"]))
    _ok(lin.resource_group_modify("two", property_dict={"Aux/a": "b"}, place_count=1))
    _ok(lin.volume_group_create("two"))
    group = lin.resource_group_list_raise(["two"]).resource_groups[0]
    assert (group.select_filter.place_count, group.properties) == (1, {"Aux/a": "b"})
    assert len(lin.volume_group_list_raise("two").volume_groups) == 1
    info = lin.resource_group_query_size_info("two").space_info
    assert info.max_vlm_size_in_kib == 2000 * GIB
    pools = lin.storage_pool_list_raise(["alice"], ["thin"]).storage_pools
    assert (pools[0].provider_kind, pools[0].free_space.free_capacity) == ("LVM_THIN", 100 * GIB)
    cluster.set_online("bob", False)
    nodes = {one.name: one.connection_status for one in lin.node_list_raise().nodes}
    assert nodes == {"alice": "ONLINE", "bob": "OFFLINE", "charlie": "ONLINE", "dave": "ONLINE"}
    _ok(lin.resource_group_spawn("two", "vm-1", ["1GiB"]))
    _ok(lin.resource_group_modify("two", place_count=2))
    _ok(lin.resource_group_adjust("two"))
    _ok(lin.resource_conn_modify("vm-1", "alice", "charlie", {"DrbdOptions/Net/protocol": "C"}, []))
    assert lin.resource_conn_list_raise("vm-1").resource_connections
    pair = lin.resource_conn_node_list_raise("vm-1", "alice", "charlie")
    assert pair.properties == {"DrbdOptions/Net/protocol": "C"}
    _ok(lin.keyvaluestore_modify("mine", {"a": "1"}))
    assert lin.keyvaluestore_list("mine").properties == {"a": "1"}
    _ok(lin.controller_set_prop("Aux/x", "1"))
    _ok(lin.crypt_create_passphrase("secret"))
    _ok(lin.resource_auto_place("vm-1", 2))
    cluster.satellites.fail("charlie", "create", "broken")
    lin.resource_make_available("charlie", "vm-1", diskful=True)
    lin.resource_group_spawn("one", "vm-2", ["1GiB"])
    assert [one.node_name for one in lin.error_report_list(with_content=True)] == ["charlie"]


def test_client_of_1_29(build: Callable[..., Cluster], serve: Any, client: Any, devices: NoDevices) -> None:
    lin = client(serve(build(rest_version="1.29.1")))
    _ok(lin.resource_group_spawn("one", "vm-1", ["1GiB"]))
    devices.open("VM-1/0", "alice")
    _ok(lin.resource_make_available("dave", "vm-1", auto_manage_dual_primary=True))
    devices.open("VM-1/0", "dave")
    devices.close("VM-1/0", "alice")
    _ok(lin.resource_unmake_available("alice", "vm-1"))
    assert lin.resource_dfn_clone("vm-1", "vm-2", volume_sizes=["2GiB"]).clone_name == "vm-2"
    devices.close("VM-1/0", "dave")
    _ok(lin.resource_toggle_disk("bob", "vm-1", diskless=True))
    _ok(lin.resource_dfn_truncate("vm-1", delete_empty=True))


def test_client_of_1_25(build: Callable[..., Cluster], serve: Any, client: Any) -> None:
    """The client itself holds newer fields back."""
    lin = client(serve(build(rest_version="1.25.0")))
    _ok(lin.resource_group_spawn("one", "vm-1", ["1GiB"]))
    with pytest.raises(linstor.LinstorError):
        lin.resource_dfn_clone("vm-1", "vm-2", property_dict={"Aux/a": "b"})
    _ok(lin.resource_toggle_disk("charlie", "vm-1", storage_pool="thin"))


def test_failover_on_connect(server: ControllerServer) -> None:
    """Guide 5.2: a refusing host is passed over, one that answers 503 is not."""
    with StandbyServer("refuse") as standby:
        hosts = [standby.url.replace("http", "linstor"), server.url.replace("http", "linstor")]
        lin = linstor.MultiLinstor(hosts, timeout=5)
        lin.connect()
        assert lin.controller_host() == hosts[1]
        lin.disconnect()
    with StandbyServer("unavailable") as proxy:
        lin = linstor.MultiLinstor([proxy.url.replace("http", "linstor"), hosts[1]], timeout=5)
        with pytest.raises(linstor.LinstorError):
            lin.connect()
