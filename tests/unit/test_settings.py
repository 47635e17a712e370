# SPDX-License-Identifier: Apache-2.0
"""Settings: sources and their order, every attribute's good and bad values, the file's syntax."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linstor_helper.errors import ConfigError
from linstor_helper.layout import NEWEST_BEHAVIOUR, OneLayout, one_version
from linstor_helper.onexml import Datastore, Vm, parse_vm
from linstor_helper.settings import ATTRIBUTES, DEPRECATED, Settings, conf_file, for_vm, load
from linstor_helper.settings.controllers import normalise
from linstor_helper.shell import quote

BASH = shutil.which("bash") or "bash"


class Place:
    """An installation whose configuration file and datastore a test fills in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        client = str(root / "linstor-client.conf")
        self.layout = OneLayout.of({"ONE_LOCATION": str(root)})._replace(linstor_client_conf=client)
        self.file = Path(self.layout.configuration)
        self.file.parent.mkdir(parents=True)
        self.environment: dict[str, str] = {}

    def load(self, group: str = "one", **template: str) -> Settings:
        attributes = {"LINSTOR_RESOURCE_GROUP": group, "TM_MAD": "linstor", **template}
        return load(
            Datastore(100, "img", 0, "linstor", "linstor", "", attributes), self.layout, self.environment
        )

    def refused(self, **template: str) -> str:
        with pytest.raises(ConfigError) as refused:
            self.load(**template)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    def written(self, name: str, content: str, mode: int = 0o600) -> str:
        path = self.root / name
        path.write_text(content)
        path.chmod(mode)
        return str(path)


def vm(**attributes: str) -> Vm:
    lines = "".join(f"<{name}>{text}</{name}>" for name, text in attributes.items())
    return parse_vm(
        "<VM><ID>7</ID><STATE>3</STATE><LCM_STATE>3</LCM_STATE><TEMPLATE/>"
        f"<USER_TEMPLATE>{lines}</USER_TEMPLATE></VM>".encode()
    )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_table_and_the_record_agree() -> None:
    assert [attribute.field for attribute in ATTRIBUTES] + ["warnings"] == list(Settings._fields)
    assert len({attribute.name for attribute in ATTRIBUTES}) == len(ATTRIBUTES)
    assert not {attribute.name for attribute in ATTRIBUTES} & set(DEPRECATED)
    for attribute in ATTRIBUTES:
        assert attribute.doc.endswith("."), attribute.name


def test_defaults(place: Place) -> None:
    assert place.load() == Settings(
        resource_group="one",
        controllers=("linstor://localhost:3370",),
        ca_file=None,
        cert_file=None,
        key_file=None,
        token_file=None,
        tls_verify=True,
        connect_timeout=5,
        timeout=300,
        ssh_timeout=10,
        attach_timeout=30,
        clone_timeout=3600,
        capacity_cache=60,
        move_data=False,
        instance="one",
        allow_shareable=False,
        clone_mode="auto",
        fsfreeze=True,
        snapshot_limit=None,
        export_format="qcow2",
        bridge_list=(),
        staging_dir="/var/tmp",
        restricted_dirs=(),
        safe_dirs=(),
        no_decompress=False,
        limit_transfer_bw=None,
        warnings=(),
    )


class TestSources:
    def test_the_template_wins_over_the_file(self, place: Place) -> None:
        place.file.write_text("LINSTOR_TIMEOUT=20\nLINSTOR_SSH_TIMEOUT=3\nSAFE_DIRS='/a /b'\n")
        found = place.load(LINSTOR_TIMEOUT="40")
        assert (found.timeout, found.ssh_timeout, found.safe_dirs) == (40, 3, ("/a", "/b"))

    def test_an_empty_attribute_counts_as_not_written(self, place: Place) -> None:
        place.file.write_text("LINSTOR_TIMEOUT=20\n")
        found = place.load(LINSTOR_TIMEOUT=" ", LINSTOR_CONTROLLERS="", LINSTOR_CA_FILE="")
        assert (found.timeout, found.controllers, found.ca_file) == (20, ("linstor://localhost:3370",), None)

    def test_the_resource_group_may_stand_in_the_file(self, place: Place) -> None:
        place.file.write_text("LINSTOR_RESOURCE_GROUP=all\n")
        assert place.load(group="").resource_group == "all"

    def test_attributes_of_opennebula_are_left_alone(self, place: Place) -> None:
        assert place.load(DISK_TYPE="BLOCK", LINSTORM="x", CLONE_TARGET="SELF") == place.load()

    def test_no_resource_group(self, place: Place) -> None:
        text = place.refused(group="")
        assert text.startswith("LINSTOR_RESOURCE_GROUP is missing in datastore 100 (img); ")
        assert "linstor resource-group create NAME) " in text
        assert "onedatastore update 100" in text

    def test_what_deprecated_attributes_say_goes_into_the_advice(self, place: Place) -> None:
        text = place.refused(
            group="", LINSTOR_AUTO_PLACE="2", LINSTOR_STORAGE_POOL="thin", LINSTOR_DEPLOYMENT_NODES="alice"
        )
        assert "create NAME --place-count 2 --storage-pool thin --node-list alice)" in text

    @pytest.mark.parametrize("name", DEPRECATED)
    def test_deprecated_attributes_warn(self, place: Place, name: str) -> None:
        found = place.load(**{name: "2"})
        assert found._replace(warnings=()) == place.load()
        (warning,) = found.warnings
        assert warning.startswith(f"{name} has no effect")

    def test_unknown_attribute(self, place: Place) -> None:
        text = place.refused(LINSTOR_CONTROLERS="secret")
        assert text.startswith(
            "unknown attribute LINSTOR_CONTROLERS in datastore 100 (img); did you mean LINSTOR_CONTROLLERS?"
        )
        assert "LINSTOR_RESOURCE_GROUP" in text
        assert "secret" not in text

    def test_unknown_attribute_that_resembles_nothing(self, place: Place) -> None:
        text = place.refused(LINSTOR_COLOUR="x")
        assert "did you mean" not in text
        assert "known are LINSTOR_RESOURCE_GROUP, LINSTOR_CONTROLLERS" in text

    def test_unknown_attribute_in_the_file(self, place: Place) -> None:
        place.file.write_text("TIMEOUT=3\n")
        assert place.refused().startswith(f"unknown attribute TIMEOUT in {place.file}")

    def test_a_bad_value_in_the_file_names_the_file(self, place: Place) -> None:
        place.file.write_text("LINSTOR_TIMEOUT=soon\n")
        text = place.refused()
        assert text.startswith("LINSTOR_TIMEOUT must be a whole number of seconds from 1 to 86400: 'soon'")
        assert text.endswith(f"in {place.file}")


class TestValues:
    @pytest.mark.parametrize(
        ("name", "value", "field", "wanted"),
        [
            ("LINSTOR_TLS_VERIFY", "no", "tls_verify", False),
            ("LINSTOR_TLS_VERIFY", "1", "tls_verify", True),
            ("LINSTOR_CONNECT_TIMEOUT", "1", "connect_timeout", 1),
            ("LINSTOR_TIMEOUT", " 86400 ", "timeout", 86400),
            ("LINSTOR_CAPACITY_CACHE", "0", "capacity_cache", 0),
            ("LINSTOR_ATTACH_TIMEOUT", "007", "attach_timeout", 7),
            ("LINSTOR_CLONE_TIMEOUT", "2", "clone_timeout", 2),
            ("LINSTOR_INSTANCE", "zone-1.east_2", "instance", "zone-1.east_2"),
            ("LINSTOR_ALLOW_SHAREABLE", "YES", "allow_shareable", True),
            ("LINSTOR_MOVE_DATA", "YES", "move_data", True),
            ("LINSTOR_CLONE_MODE", "Dependent", "clone_mode", "dependent"),
            ("LINSTOR_CLONE_MODE", "INDEPENDENT", "clone_mode", "independent"),
            ("LINSTOR_FSFREEZE", "no", "fsfreeze", False),
            ("LINSTOR_SNAPSHOT_LIMIT", "1", "snapshot_limit", 1),
            ("LINSTOR_SNAPSHOT_LIMIT", "10000", "snapshot_limit", 10000),
            ("LINSTOR_EXPORT_FORMAT", "RAW", "export_format", "raw"),
            ("BRIDGE_LIST", " alice  bob ", "bridge_list", ("alice", "bob")),
            ("STAGING_DIR", "/srv/stage", "staging_dir", "/srv/stage"),
            ("RESTRICTED_DIRS", "/ /etc", "restricted_dirs", ("/", "/etc")),
            ("NO_DECOMPRESS", "Yes", "no_decompress", True),
            ("LIMIT_TRANSFER_BW", "10M", "limit_transfer_bw", "10M"),
        ],
    )
    def test_good(self, place: Place, name: str, value: str, field: str, wanted: Any) -> None:
        assert getattr(place.load(**{name: value}), field) == wanted

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("LINSTOR_RESOURCE_GROUP", "rg sys"),
            ("LINSTOR_RESOURCE_GROUP", "-one"),
            ("LINSTOR_RESOURCE_GROUP", "a" * 49),
            ("LINSTOR_TLS_VERIFY", "false"),
            ("LINSTOR_CONNECT_TIMEOUT", "0"),
            ("LINSTOR_TIMEOUT", "-1"),
            ("LINSTOR_TIMEOUT", "1.5"),
            ("LINSTOR_TIMEOUT", "86401"),
            ("LINSTOR_TIMEOUT", "9" * 5000),
            ("LINSTOR_TIMEOUT", "\N{ARABIC-INDIC DIGIT ONE}"),
            ("LINSTOR_CAPACITY_CACHE", "-0"),
            ("LINSTOR_INSTANCE", "a b"),
            ("LINSTOR_INSTANCE", "a" * 33),
            ("LINSTOR_ALLOW_SHAREABLE", "maybe"),
            ("LINSTOR_CLONE_MODE", "none"),
            ("LINSTOR_FSFREEZE", "on"),
            ("LINSTOR_SNAPSHOT_LIMIT", "0"),
            ("LINSTOR_SNAPSHOT_LIMIT", "10001"),
            ("LINSTOR_SNAPSHOT_LIMIT", "-1"),
            ("LINSTOR_SNAPSHOT_LIMIT", "9" * 5000),
            ("LINSTOR_SNAPSHOT_LIMIT", "unlimited"),
            ("LINSTOR_EXPORT_FORMAT", "vmdk"),
            ("STAGING_DIR", "tmp"),
            ("STAGING_DIR", "/a b"),
            ("NO_DECOMPRESS", "maybe"),
            ("LIMIT_TRANSFER_BW", "10m; rm"),
            ("LINSTOR_CA_FILE", "/nowhere/ca.pem"),
        ],
    )
    def test_bad(self, place: Place, name: str, value: str) -> None:
        text = place.refused(**{name: value})
        assert text.startswith(f"{name} ")
        assert text.endswith(f": {value!r} in datastore 100 (img)")
        assert ("whole number of seconds" in text) == (name.endswith("TIMEOUT") or "CACHE" in name)

    def test_choices_are_named(self, place: Place) -> None:
        assert "must be auto, dependent or independent: 'x'" in place.refused(LINSTOR_CLONE_MODE="x")
        assert "must be qcow2 or raw: 'x'" in place.refused(LINSTOR_EXPORT_FORMAT="x")

    @pytest.mark.parametrize(("former", "mode"), [("Snapshot", "dependent"), ("copy", "independent")])
    def test_clone_modes_of_addon_linstor_1(self, place: Place, former: str, mode: str) -> None:
        found = place.load(LINSTOR_CLONE_MODE=former)
        assert found.clone_mode == mode
        assert found.warnings == (f"LINSTOR_CLONE_MODE: {former.lower()} is now called {mode}",)

    def test_switching_verification_off_is_said(self, place: Place) -> None:
        assert "LINSTOR_TLS_VERIFY" in place.load(LINSTOR_TLS_VERIFY="NO").warnings[0]


FILES = ["LINSTOR_CA_FILE", "LINSTOR_CERT_FILE", "LINSTOR_KEY_FILE", "LINSTOR_TOKEN_FILE"]


class TestFiles:
    def test_good(self, place: Place) -> None:
        paths = [place.written(name, "content") for name in FILES]
        found = place.load(**dict(zip(FILES, paths)))
        assert [found.ca_file, found.cert_file, found.key_file, found.token_file] == paths
        assert "content" not in repr(found)

    @pytest.mark.parametrize("name", FILES)
    def test_bad(self, place: Place, name: str) -> None:
        others = {"LINSTOR_CERT_FILE": place.written("cert", "x")}
        for path, reason in (
            (str(place.root / "missing"), "cannot be read: No such file or directory"),
            (str(place.root), "cannot be read: Is a directory"),
            (place.written("empty", ""), "is empty"),
        ):
            assert (
                place.refused(**{**others, name: path}) == f"{name} {reason}: {path!r} in datastore 100 (img)"
            )

    @pytest.mark.parametrize(
        ("name", "mode", "fine"),
        [
            ("LINSTOR_TOKEN_FILE", 0o400, True),
            ("LINSTOR_TOKEN_FILE", 0o640, False),
            ("LINSTOR_TOKEN_FILE", 0o604, False),
            ("LINSTOR_TOKEN_FILE", 0o620, False),
            ("LINSTOR_KEY_FILE", 0o640, True),
            ("LINSTOR_KEY_FILE", 0o644, False),
            ("LINSTOR_CERT_FILE", 0o644, True),
            ("LINSTOR_CA_FILE", 0o644, True),
        ],
    )
    def test_secrets_are_closed_to_others(self, place: Place, name: str, mode: int, fine: bool) -> None:
        template = {"LINSTOR_CERT_FILE": place.written("cert", "x"), name: place.written("file", "x", mode)}
        if fine:
            place.load(**template)
        else:
            assert f"(mode {mode:04o}); chmod 0600 it" in place.refused(**template)

    def test_a_token_in_place_of_its_file_is_not_repeated(self, place: Place) -> None:
        text = place.refused(LINSTOR_TOKEN_FILE="t0ps3cret")
        assert text == "LINSTOR_TOKEN_FILE must be an absolute path in datastore 100 (img)"

    def test_a_key_without_a_certificate(self, place: Place) -> None:
        text = place.refused(LINSTOR_KEY_FILE=place.written("key", "x"))
        assert text == "LINSTOR_KEY_FILE is set without LINSTOR_CERT_FILE in datastore 100 (img)"


class TestVm:
    def test_it_says_more_of_some_attributes_than_the_datastore(self, place: Place) -> None:
        found = place.load(LINSTOR_FSFREEZE="YES", LINSTOR_SNAPSHOT_LIMIT="3")
        own = for_vm(found, vm(LINSTOR_FSFREEZE="no", LINSTOR_SNAPSHOT_LIMIT=" 12 "))
        assert (own.fsfreeze, own.snapshot_limit) == (False, 12)
        assert own == found._replace(fsfreeze=False, snapshot_limit=12)

    def test_it_says_nothing(self, place: Place) -> None:
        found = place.load(LINSTOR_FSFREEZE="NO", LINSTOR_SNAPSHOT_LIMIT="3")
        assert for_vm(found, vm()) == found
        assert for_vm(found, vm(LINSTOR_FSFREEZE="", LINSTOR_SNAPSHOT_LIMIT=" ")) == found

    def test_everything_else_of_it_is_ignored(self, place: Place) -> None:
        found = place.load()
        attributes = {one.name: "x" for one in ATTRIBUTES if not one.of_vm}
        assert for_vm(found, vm(LINSTOR_UNKNOWN="x", **attributes)) == found

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("LINSTOR_FSFREEZE", "must be YES or NO"),
            ("LINSTOR_SNAPSHOT_LIMIT", "must be a whole number from 1 to 10000"),
        ],
    )
    def test_a_bad_value_names_attribute_and_vm(self, place: Place, name: str, reason: str) -> None:
        with pytest.raises(ConfigError) as refused:
            for_vm(place.load(), vm(**{name: "lots"}))
        assert str(refused.value) == f"{name} {reason}: 'lots' in VM 7"


class TestControllers:
    @pytest.mark.parametrize(
        ("text", "uris"),
        [
            ("alice", ("linstor://alice:3370",)),
            ("alice:1", ("linstor://alice:1",)),
            ("10.0.0.1,10.0.0.2:3376", ("linstor://10.0.0.1:3370", "linstor://10.0.0.2:3376")),
            (" alice , bob ", ("linstor://alice:3370", "linstor://bob:3370")),
            ("alice bob,", ("linstor://alice:3370", "linstor://bob:3370")),
            ("alice,ALICE:3370,alice:3370", ("linstor://alice:3370", "linstor://ALICE:3370")),
            ("linstor://alice", ("linstor://alice:3370",)),
            ("http://alice/", ("linstor://alice:3370",)),
            ("linstor+ssl://alice", ("linstor+ssl://alice:3371",)),
            ("https://alice:443", ("linstor+ssl://alice:443",)),
            ("HTTPS://alice", ("linstor+ssl://alice:3371",)),
            ("[2001:db8::1]:33", ("linstor://[2001:db8::1]:33",)),
            ("2001:db8::1", ("linstor://[2001:db8::1]:3370",)),
            ("::1", ("linstor://[::1]:3370",)),
            ("linstor+ssl://[2001:DB8:0:0::1]", ("linstor+ssl://[2001:db8::1]:3371",)),
            ("::ffff:10.0.0.1", ("linstor://[::ffff:10.0.0.1]:3370",)),
        ],
    )
    def test_one_form_for_all_spellings(self, place: Place, text: str, uris: tuple[str, ...]) -> None:
        assert place.load(LINSTOR_CONTROLLERS=text).controllers == uris
        assert normalise(",".join(uris)) == uris

    @pytest.mark.parametrize(
        "text",
        [
            ",",
            "alice:",
            "alice:0",
            "alice:65536",
            "alice:x",
            "ftp://alice",
            "://alice",
            "alice/path",
            "linstor://",
            "[::1",
            "[::g]",
            "[1.2.3.4]:5",
            "1:2:3",
            "a;b",
            "alice:3370:1",
        ],
    )
    def test_what_is_no_controller(self, place: Place, text: str) -> None:
        found = place.refused(LINSTOR_CONTROLLERS=text)
        assert found.startswith("LINSTOR_CONTROLLERS has an entry ")
        assert found.endswith(" in datastore 100 (img)")

    def test_a_password_is_not_repeated(self, place: Place) -> None:
        text = place.refused(LINSTOR_CONTROLLERS="bob, linstor://admin:t0ps3cret@alice")
        assert "LINSTOR_TOKEN_FILE" in text
        assert "t0ps3cret" not in text

    def test_order_of_the_defaults(self, place: Place) -> None:
        assert place.load().controllers == ("linstor://localhost:3370",)
        client = Path(place.layout.linstor_client_conf)
        client.write_text("[other]\ncontrollers=eve\n[global]\ncontrollers = bob,charlie:1\n")
        assert place.load().controllers == ("linstor://bob:3370", "linstor://charlie:1")
        place.environment["LS_CONTROLLERS"] = "linstor+ssl://dave"
        assert place.load().controllers == ("linstor+ssl://dave:3371",)
        place.file.write_text("LINSTOR_CONTROLLERS=erin\n")
        assert place.load().controllers == ("linstor://erin:3370",)
        assert place.load(LINSTOR_CONTROLLERS="frank").controllers == ("linstor://frank:3370",)

    def test_bad_defaults_name_their_place(self, place: Place) -> None:
        client = Path(place.layout.linstor_client_conf)
        client.write_text("controllers=bob\n")
        assert place.refused().startswith(f"{client} cannot be read")
        client.write_text("[global]\ncontrollers=a:b:g\n")
        assert f"LS_CONTROLLERS or {client} has an entry" in place.refused()


class TestFileSyntax:
    @pytest.mark.parametrize(
        ("line", "value"),
        [
            ("K=v", "v"),
            ("  export K=v", "v"),
            ("K=", ""),
            ("K= # nothing", ""),
            ("K=a # comment", "a"),
            ("K=a#b", "a#b"),
            ("K=#b", "#b"),
            ("K='a b'", "a b"),
            ('K="a b" # c', "a b"),
            ("K=a'b c'\"d e\"f", "ab cd ef"),
            (r"K=a\ b\#", "a b#"),
            (r'K="\"\$\`\\\n"', '"$`\\\\n'),
            ("K='\\'", "\\"),
            ("K=[::1]:3370,{a}*?!%", "[::1]:3370,{a}*?!%"),
            ("K=\xe4", "\xe4"),
        ],
    )
    def test_values(self, line: str, value: str) -> None:
        assert conf_file.parse_line(line) == ("K", value)

    @pytest.mark.parametrize(
        "line",
        [
            "K",
            "K =v",
            "K= v",
            "1K=v",
            "K=a b",
            "K='a",
            'K="a',
            "K=$HOME",
            'K="$HOME"',
            'K="`id`"',
            "K=`id`",
            "K=$(id)",
            "K=a;id",
            "K=a&",
            "K=a|b",
            "K=>/tmp/x",
            "K=(a)",
            "K=~",
            "K=a\\",
            "id",
        ],
    )
    def test_what_a_shell_would_do_something_about(self, place: Place, line: str) -> None:
        place.file.write_text(f"# comment\n\n \t# comment\n{line}\n")
        assert place.refused().startswith(f"{place.file} line 4: ")

    def test_a_later_line_replaces_an_earlier_one(self, place: Place) -> None:
        place.file.write_text("LINSTOR_TIMEOUT=20\r\nLINSTOR_TIMEOUT=30")
        assert place.load().timeout == 30

    def test_a_file_that_cannot_be_read(self, place: Place) -> None:
        place.file.write_bytes(b"LINSTOR_INSTANCE=\xff\n")
        assert place.refused().startswith(f"{place.file} cannot be read: ")
        place.file.unlink()
        place.file.mkdir()
        assert place.refused() == f"{place.file} cannot be read: [Errno 21] Is a directory: '{place.file}'"

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.text("ab'\"\\$`#;&|<>()~*?[]{}!:=% \t\xe4"), min_size=1, max_size=20))
    def test_a_shell_reads_the_same_from_what_is_accepted(self, tmp_path: Path, values: list[str]) -> None:
        """The shell is restricted and finds no commands; it reads each text bare and in quotes."""
        program, expected = [], []
        for text in [*values, *(quote(value) for value in values)]:
            line = f"V{len(expected)}={text}"
            try:
                key, value = conf_file.parse_line(line)
            except ValueError:
                continue
            program.append(f"{line}\nprintf '%s\\0' \"${key}\"\n")
            expected.append(value)
        done = subprocess.run(
            [BASH, "-r"],
            input="".join(program).encode(),
            capture_output=True,
            env={"LC_ALL": "C.UTF-8", "PATH": ""},
            cwd=tmp_path,
        )
        assert done.stderr == b""
        assert done.stdout.decode().split("\0")[:-1] == expected

    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0")))
    def test_any_value_can_be_written(self, value: str) -> None:
        assert conf_file.parse_line(f"K={quote(value)}") == ("K", value)


class TestLayout:
    def test_packages(self) -> None:
        layout = OneLayout.of({})
        assert layout[:5] == (
            "/var/lib/one",
            "/etc/one",
            "/var/lib/one/remotes",
            "/var/log/one",
            "/var/lock/one",
        )
        assert layout.configuration == "/var/lib/one/remotes/etc/datastore/linstor/linstor.conf"
        assert layout.downloader == "/var/lib/one/remotes/datastore/downloader.sh"
        assert layout.linstor_client_conf == "/etc/linstor/linstor-client.conf"

    def test_self_contained(self) -> None:
        layout = OneLayout.of({"ONE_LOCATION": "/srv/one/"})
        assert layout[:5] == (
            "/srv/one/var",
            "/srv/one/etc",
            "/srv/one/var/remotes",
            "/srv/one/var",
            "/srv/one/var/lock",
        )

    @pytest.mark.parametrize(
        ("content", "version"),
        [
            ("7.4.0\n", (7, 4, 0)),
            ("5.12.0", (5, 12, 0)),
            ("6.10.5.1", (6, 10, 5, 1)),
            ("7.0", (7, 0)),
            ("", NEWEST_BEHAVIOUR),
            ("unknown", NEWEST_BEHAVIOUR),
            ("\xff", NEWEST_BEHAVIOUR),
        ],
    )
    def test_version(self, place: Place, content: str, version: tuple[int, ...]) -> None:
        os.makedirs(place.layout.remotes, exist_ok=True)
        Path(place.layout.remotes, "VERSION").write_text(content)
        assert one_version(place.layout) == version

    def test_no_version(self, place: Place) -> None:
        assert one_version(place.layout) == NEWEST_BEHAVIOUR == (7, 0)
