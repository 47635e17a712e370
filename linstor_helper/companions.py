# SPDX-License-Identifier: Apache-2.0
"""Further volumes that belong to one: copies that stand for its snapshots, its content before a revert, an export.

The volume lists them in a property, so that they go with it without a search.  The list is written before the companion
is made: what nobody knows of would never be deleted.
"""

from __future__ import annotations

from linstor_helper import names, volumes
from linstor_helper.ports import Clock, Controller, ResourceDefinition


def add(controller: Controller, definition: ResourceDefinition, ending: str) -> str:
    """Notes that there is, or will be, a further volume that belongs to this one; returns the list of all."""
    known = names.companions(definition.properties)
    listed = " ".join([*known, *([] if ending in known else [ending])])
    if ending not in known:
        controller.modify(definition.name, {names.COMPANIONS: listed})
    return listed


def drop(controller: Controller, clock: Clock, name: str, ending: str, instance: str) -> None:
    """Deletes a companion of the volume ``name``."""
    volumes.discard_made(controller, clock, names.companion(name, ending), instance, volumes.CLOSES)
    forget(controller, name, ending)


def forget(controller: Controller, name: str, ending: str) -> None:
    """Takes a companion off the list, unless there is one."""
    definition = controller.resource_definition(name)
    known = [] if definition is None else names.companions(definition.properties)
    if ending not in known or controller.resource_definition(names.companion(name, ending)) is not None:
        return
    left = " ".join(one for one in known if one != ending)
    if left:
        controller.modify(name, {names.COMPANIONS: left})
    else:
        controller.modify(name, {}, [names.COMPANIONS])
