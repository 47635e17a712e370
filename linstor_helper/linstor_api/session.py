# SPDX-License-Identifier: Apache-2.0
"""Calls of python-linstor's methods: their answers as JSON, failures as our errors, warnings kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

import linstor
from linstor.responses import ApiCallResponse, RESTMessageResponse

from linstor_helper.errors import Error
from linstor_helper.linstor_api import replies
from linstor_helper.linstor_api.replies import Entry
from linstor_helper.linstor_api.transport import Transport


class Session:
    """What all calls have in common.  ``warnings``: what the controller warned of in calls that succeeded."""

    def __init__(self, transport: Transport, warnings: list[str]) -> None:
        self._client = transport
        self.warnings = warnings

    def _json(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """The JSON behind what a method of python-linstor, or ``Transport.raw``, answers."""
        try:
            answer = call(*args, **options)
        except linstor.LinstorApiCallError as error:
            return [one.data_v1 for one in error.all_errors()]
        except linstor.LinstorError as error:
            raise replies.of_library(error) from error
        if isinstance(answer, RESTMessageResponse):
            return answer.data_v1
        if isinstance(answer, list) and answer and isinstance(answer[0], RESTMessageResponse):
            # entries come one by one, a list of objects as one wrapper
            entries = isinstance(answer[0], ApiCallResponse)
            return [one.data_v1 for one in answer] if entries else answer[0].data_v1
        return answer

    def _entries(self, call: Callable[..., Any], *args: Any, **options: Any) -> list[Entry]:
        return replies.entries(self._json(call, *args, **options))

    def _query(self, call: Callable[..., Any], *args: Any, about: Mapping[str, str] = replies.NOTHING) -> Any:
        """The objects that were asked for."""
        data = self._json(call, *args)
        if replies.is_reply(data):
            self._settle(replies.entries(data), about)
        return data

    def _listed(self, call: Callable[..., Any], *args: Any, about: Mapping[str, str]) -> list[Any]:
        """As ``_query``; none when there is no such resource definition."""
        data = self._json(call, *args)
        if not replies.is_reply(data):
            return list(data)
        found = replies.entries(data)
        if replies.first_error_code(found) != replies.NOT_FOUND_DEFINITION:
            self._settle(found, about)
        return []

    def _change(
        self,
        call: Callable[..., Any],
        *args: Any,
        about: Mapping[str, str],
        classes: Mapping[int, type[Error]] = replies.BY_CODE,
        **options: Any,
    ) -> None:
        self._settle(self._entries(call, *args, **options), about, classes)

    def _settle(
        self,
        found: list[Entry],
        about: Mapping[str, str],
        classes: Mapping[int, type[Error]] = replies.BY_CODE,
    ) -> None:
        """Raises the failure that a reply tells of; keeps its warnings."""
        error = replies.failure(found, about, classes)
        if error is not None:
            raise error
        self.warnings += replies.warnings(found)
