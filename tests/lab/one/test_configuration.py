# SPDX-License-Identifier: Apache-2.0
"""Datastores get what oned.conf says about their drivers."""

from __future__ import annotations

import pytest

from lab.one import OneError
from lab.one.configuration import datastore_template
from lab.one.version import OneVersion
from linstor_helper import oned_conf

NEWEST = OneVersion(7, 4, 0)
IMAGES = {"TYPE": "IMAGE_DS", "LINSTOR_RESOURCE_GROUP": "one"}


def test_image_datastores_follow_the_documented_configuration() -> None:
    made = datastore_template({**IMAGES, "LN_TARGET": "SYSTEM", "SAFE_DIRS": "/srv"}, NEWEST)
    documented = oned_conf.tm_mad_conf(NEWEST)
    only_system = {"NAME", "SHARED", "DS_MIGRATE", "DS_LIVE_MIGRATE", "DS_MIGRATE_SNAP"}
    for key in documented.keys() - only_system:
        assert made[key] == documented[key]
    assert made.keys() & only_system == set()
    assert (made["SAFE_DIRS"], made["DS_MAD"], made["TM_MAD"]) == ("/srv", "linstor", "linstor")


def test_system_datastores_follow_their_driver() -> None:
    own = datastore_template({"TYPE": "SYSTEM_DS", "DISK_TYPE": "BLOCK", "SHARED": "NO"}, NEWEST)
    assert (own["SHARED"], own["DS_LIVE_MIGRATE"], own["DISK_TYPE"]) == ("YES", "NO", "BLOCK")
    ssh = datastore_template({"TYPE": "SYSTEM_DS", "TM_MAD": "ssh"}, NEWEST)
    assert (ssh["SHARED"], ssh["DS_LIVE_MIGRATE"], ssh["DISK_TYPE"]) == ("NO", "YES", "FILE")
    assert "LN_TARGET" not in own.keys() | ssh.keys()


def test_old_releases_know_less() -> None:
    made = datastore_template(IMAGES, OneVersion(5, 12, 0))
    assert made["DISK_TYPE"] == "FILE"
    assert (made["LN_TARGET_QCOW2"], "LN_TARGET_LOCAL" in made) == ("NONE", False)


def test_required_attributes() -> None:
    with pytest.raises(OneError, match='missing the "LINSTOR_RESOURCE_GROUP" attribute'):
        datastore_template({"TYPE": "IMAGE_DS"}, NEWEST)
