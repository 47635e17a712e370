# SPDX-License-Identifier: Apache-2.0
"""Controller properties, the master passphrase, bearer tokens."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from lab.controller import codes, props
from lab.controller.codes import Reply
from lab.controller.locking import locked

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

TOKEN_AUTH = "Auth/TokenAuthenticationEnabled"
AUTO_HTTPS = "REST/AutoHTTPS"


@dataclass
class Token:
    id: int
    secret: str
    description: str
    created: float
    expires: float = 0.0
    ip_filter: str = ""
    active: bool = True


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


class Settings:
    """State of the controller itself."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.props: dict[str, str] = {}
        self.tokens: dict[int, Token] = {}
        self._passphrase: str | None = None
        self._locked = True

    # --- properties

    @locked
    def get(self) -> dict[str, str]:
        return dict(self.props)

    @locked
    def modify(self, body: dict[str, Any]) -> Reply:
        reply = Reply(codes.MODIFY, codes.CTRL_CONF)
        changed = props.change(reply, "controller", self.props, body)
        reply.success(
            codes.MODIFIED, f"Controller properties changed: {', '.join(sorted(changed)) or 'none'}."
        )
        for rd in list(self.cluster.rds.values()) if changed else ():
            self.cluster.definitions.after_prop_change(rd, changed, Reply())
        return reply

    # --- master passphrase

    @locked
    def passphrase_status(self) -> str:
        if self._passphrase is None:
            return "unset"
        return "locked" if self._locked else "unlocked"

    @locked
    def create_passphrase(self, phrase: str) -> Reply:
        reply = Reply(codes.CREATE, codes.CTRL_CONF)
        if self._passphrase is not None:
            raise reply.fail(codes.EXISTS_CRYPT_PASSPHRASE, "A master passphrase exists already.")
        self._passphrase, self._locked = phrase, False
        reply.success(codes.CREATED, "Master passphrase created.")
        return reply

    @locked
    def enter_passphrase(self, phrase: str) -> Reply:
        reply = Reply(codes.MODIFY, codes.CTRL_CONF)
        if self._passphrase is None or phrase != self._passphrase:
            raise reply.fail(codes.CRYPT_INIT, "The master passphrase is not the right one.")
        self._locked = False
        reply.success(codes.MODIFIED, "Master passphrase accepted.")
        return reply

    @locked
    def change_passphrase(self, old: str, new: str) -> Reply:
        reply = Reply(codes.MODIFY, codes.CTRL_CONF)
        if self._passphrase is None or old != self._passphrase:
            raise reply.fail(codes.CRYPT_INIT, "The old master passphrase is not the right one.")
        self._passphrase = new
        reply.success(codes.MODIFIED, "Master passphrase changed.")
        return reply

    @locked
    def lock_passphrase(self) -> None:
        """What a restart of the controller does."""
        self._locked = True

    # --- tokens (REST 1.28)

    @locked
    def create_token(self, description: str, *, expires: float = 0.0, ip_filter: str = "") -> tuple[int, str]:
        """Answers (id, secret). ``expires``: epoch seconds, 0 for never."""
        number = len(self.tokens) + 1
        token = Token(
            number, secrets.token_urlsafe(24), description, self.cluster.clock(), expires, ip_filter
        )
        self.tokens[number] = token
        return number, token.secret

    @locked
    def token_reply(self, description: str, expires: float, ip_filter: str) -> Reply:
        reply = Reply(codes.CREATE, codes.CTRL_CONF)
        number, secret = self.create_token(description, expires=expires, ip_filter=ip_filter)
        reply.success(
            codes.CREATED, f"Token {number} created.", refs={"AuthToken": secret, "Id": str(number)}
        )
        return reply

    @locked
    def initialize_tokens(self, body: dict[str, Any]) -> Reply:
        """Create the first token and demand tokens from now on; with HTTPS unless ``no_https``."""
        reply = Reply(codes.CREATE, codes.CTRL_CONF)
        if not body["only_satellites"]:
            made = self.token_reply(body.get("description") or "initial token", 0.0, "")
            reply.entries += made.entries
        self.props[TOKEN_AUTH] = "true"
        if not body.get("no_https"):
            self.props[AUTO_HTTPS] = "true"
        reply.success(codes.MODIFIED, "Token authentication is on.")
        return reply

    @locked
    def list_tokens(self) -> dict[str, Any]:
        shown = [
            {
                "id": one.id,
                "created_at": _iso(one.created),
                "is_active": one.active,
                "description": one.description,
                "is_user_token": True,
                **({"expires_at": _iso(one.expires)} if one.expires else {}),
                **({"ip_filter": one.ip_filter} if one.ip_filter else {}),
            }
            for one in self.tokens.values()
        ]
        return {"count": len(shown), "list": shown}

    @locked
    def change_token(self, number: int, body: dict[str, Any]) -> Reply:
        token = self._token(number)
        reply = Reply(codes.MODIFY, codes.CTRL_CONF)
        token.description = body.get("description") or token.description
        token.ip_filter = body["ip_filter"] if body.get("ip_filter") is not None else token.ip_filter
        token.active = body["is_active"] if body.get("is_active") is not None else token.active
        reply.success(codes.MODIFIED, f"Token {number} changed.")
        return reply

    @locked
    def delete_token(self, number: int) -> Reply:
        del self.tokens[self._token(number).id]
        reply = Reply(codes.DELETE, codes.CTRL_CONF)
        reply.success(codes.DELETED, f"Token {number} deleted.")
        return reply

    def _token(self, number: int) -> Token:
        if number not in self.tokens:
            raise codes.failure(codes.INVLD_REQUEST, f"Token {number} does not exist.")
        return self.tokens[number]

    def _valid(self, token: Token) -> bool:
        return token.active and not (token.expires and token.expires <= self.cluster.clock())

    @locked
    def admits(self, authorization: str, address: str) -> bool:
        """Whether a request may pass: always, until tokens are demanded and a valid one exists."""
        if not self.cluster.at_least("1.28") or not props.is_true(self.props.get(TOKEN_AUTH)):
            return True
        valid = [one for one in self.tokens.values() if self._valid(one)]
        if not valid:
            return True
        scheme, _, secret = authorization.partition(" ")
        return scheme.lower() == "bearer" and any(
            secrets.compare_digest(one.secret, secret.strip()) and one.ip_filter in ("", address)
            for one in valid
        )
