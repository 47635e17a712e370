# SPDX-License-Identifier: Apache-2.0
"""From an executable's name to its action, and from the action's outcome to what OpenNebula reads."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NoReturn

from linstor_helper import answers, interrupts
from linstor_helper.context import Context
from linstor_helper.errors import Error

ACTIONS = {
    "datastore.clone": "linstor_helper.actions.datastore.clone",
    "datastore.cp": "linstor_helper.actions.datastore.cp",
    "datastore.export": "linstor_helper.actions.datastore.export",
    "datastore.mkfs": "linstor_helper.actions.datastore.mkfs",
    "datastore.monitor": "linstor_helper.actions.datastore.monitor",
    "datastore.rm": "linstor_helper.actions.datastore.rm",
    "datastore.snap_delete": "linstor_helper.actions.datastore.snap_delete",
    "datastore.snap_flatten": "linstor_helper.actions.datastore.snap_flatten",
    "datastore.snap_revert": "linstor_helper.actions.datastore.snap_revert",
    "datastore.stat": "linstor_helper.actions.datastore.stat",
    "tm.clone": "linstor_helper.actions.tm.clone",
    "tm.context": "linstor_helper.actions.tm.context",
    "tm.cpds": "linstor_helper.actions.tm.cpds",
    "tm.delete": "linstor_helper.actions.tm.delete",
    "tm.failmigrate": "linstor_helper.actions.tm.failmigrate",
    "tm.ln": "linstor_helper.actions.tm.ln",
    "tm.mkimage": "linstor_helper.actions.tm.mkimage",
    "tm.mkswap": "linstor_helper.actions.tm.mkswap",
    "tm.monitor": "linstor_helper.actions.tm.monitor",
    "tm.mv": "linstor_helper.actions.tm.mv",
    "tm.mvds": "linstor_helper.actions.tm.mvds",
    "tm.postmigrate": "linstor_helper.actions.tm.postmigrate",
    "tm.premigrate": "linstor_helper.actions.tm.premigrate",
    "tm.resize": "linstor_helper.actions.tm.resize",
    "tm.snap_create": "linstor_helper.actions.tm.snap_create",
    "tm.snap_create_live": "linstor_helper.actions.tm.snap_create_live",
    "tm.snap_delete": "linstor_helper.actions.tm.snap_delete",
    "tm.snap_revert": "linstor_helper.actions.tm.snap_revert",
}
"""Every executable and the module whose ``run(context, args, stdin)`` does its work and returns its stdout."""


def main(action: str) -> NoReturn:
    """Runs one action and exits: 0 with the answer on stdout, or 1 with one line on stderr."""
    interrupts.raise_interrupted()
    context = Context(action)
    try:
        answer = import_module(ACTIONS[action]).run(context, sys.argv[1:], sys.stdin.buffer)
        context.close()
    except Error as error:
        context.log.failure(error)
        _fail(context, str(error))
    except Exception as error:  # noqa: BLE001 - no traceback may reach the user
        context.log.failure(error)
        _fail(
            context,
            f"internal error in {action}: {type(error).__name__}: {error}. See {context.log.id} in {context.log.path}",
        )
    sys.stdout.write(answer)
    sys.stdout.flush()
    sys.exit(0)


def _fail(context: Context, text: str) -> NoReturn:
    sys.stderr.write(answers.error_lines(text, context.version))
    sys.exit(1)
