# SPDX-License-Identifier: Apache-2.0
"""The command line of ssh(1): what the lab's ssh understands of it, and what it refuses as OpenSSH does."""

from __future__ import annotations

FLAGS = "46AaCfGgKkMNnqsTtVvXxYy"
WITH_VALUE = "BbcDEeFIiJLlmOoPpQRSWw"
# What has no meaning in the lab, where a silent no-op would deceive the caller: multiplexing commands, no
# session, ...
UNSUPPORTED = "GNOQVWfs"
# Options of ssh_config(5) that a program may reasonably give with -o. Others are refused, as a misspelt one
# would be.
KEYWORDS = frozenset(
    """
    addkeystoagent addressfamily batchmode bindaddress bindinterface checkhostip ciphers clearallforwardings
    compression connectionattempts connecttimeout controlmaster controlpath controlpersist enablesshkeysign
    escapechar exitonforwardfailure fingerprinthash forwardagent forwardx11 gatewayports
    globalknownhostsfile gssapiauthentication hashknownhosts hostbasedauthentication hostkeyalgorithms
    hostkeyalias hostname identitiesonly identityagent identityfile ipqos kbdinteractiveauthentication
    kexalgorithms loglevel macs nohostauthenticationforlocalhost numberofpasswordprompts
    passwordauthentication permitlocalcommand port preferredauthentications proxycommand proxyjump
    pubkeyauthentication rekeylimit requesttty serveralivecountmax serveraliveinterval sessiontype stdinnull
    stricthostkeychecking tcpkeepalive updatehostkeys user userknownhostsfile verifyhostkeydns visualhostkey
    """.split()  # noqa: SIM905 - a list literal would take a line for each
)


class UsageError(Exception):
    """ssh ends with 255 and this text."""


class Call:
    """One invocation. ``options``: what -o gave, keywords in lower case; the first value counts."""

    def __init__(self, words: list[str]) -> None:
        self.options: dict[str, str] = {}
        self.flags: set[str] = set()
        self.host = ""
        rest = self._take_options(list(words))
        if not rest:
            raise UsageError("usage: ssh [options] destination [command [argument ...]]")
        self.host = rest.pop(0).rpartition("@")[2]
        self.command = self._take_options(rest)

    def _take_options(self, words: list[str]) -> list[str]:
        """Reads options up to the first other word, returns the rest. ssh does so twice, around the host."""
        while words and words[0].startswith("-") and words[0] != "-":
            letters = words.pop(0)[1:]
            if letters == "-":
                break
            while letters:
                letter, letters = letters[0], letters[1:]
                if letter in UNSUPPORTED:
                    raise UsageError(f"the lab's ssh has no -{letter}")
                if letter in WITH_VALUE:
                    if not letters and not words:
                        raise UsageError(f"option requires an argument -- {letter}")
                    self._set(letter, letters or words.pop(0))
                    break
                if letter not in FLAGS:
                    raise UsageError(f"unknown option -- {letter}")
                self.flags.add(letter)
        return words

    def _set(self, letter: str, value: str) -> None:
        if letter != "o":
            return
        keyword, _, setting = value.replace("=", " ", 1).strip().partition(" ")
        if keyword.lower() not in KEYWORDS:
            raise UsageError(f"command-line: line 0: Bad configuration option: {keyword.lower()}")
        if not setting.strip():
            raise UsageError(f"command-line line 0: missing argument for {keyword.lower()}.")
        self.options.setdefault(keyword.lower(), setting.strip())

    @property
    def quiet(self) -> bool:
        return "q" in self.flags or self.options.get("loglevel", "").upper() == "QUIET"

    @property
    def no_input(self) -> bool:
        return "n" in self.flags or self.options.get("stdinnull", "").lower() == "yes"

    def seconds(self, keyword: str) -> float | None:
        """A time of ssh_config. Raises UsageError."""
        text = self.options.get(keyword)
        if text is None or text.lower() == "none":
            return None
        unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:].lower())
        number = text[:-1] if unit else text
        if not number.isdigit():
            raise UsageError("command-line line 0: invalid time value.")
        return float(number) * (unit or 1) or None
