# SPDX-License-Identifier: Apache-2.0
"""OpenNebula's XML: real documents, how calls arrive by version, XML that is hostile or broken."""

from __future__ import annotations

import base64
import io
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.one.captures import CapturedCall, load
from linstor_helper import onexml
from linstor_helper.errors import UsageError
from linstor_helper.units import GIB, MIB, Size

CAPTURES = load(Path(__file__).parents[1] / "data" / "captures")

DATASTORE = (
    "<DATASTORE><ID>100</ID><NAME>img</NAME><TYPE>0</TYPE><DS_MAD>linstor</DS_MAD><TM_MAD>linstor</TM_MAD>"
    "<TEMPLATE><LINSTOR_RESOURCE_GROUP>one</LINSTOR_RESOURCE_GROUP></TEMPLATE></DATASTORE>"
)
VM = (
    "<VM><ID>7</ID><STATE>3</STATE><LCM_STATE>3</LCM_STATE><TEMPLATE>{disks}</TEMPLATE>"
    "<HISTORY_RECORDS>{history}</HISTORY_RECORDS></VM>"
)


HOST = "<HOST><ID>4</ID><NAME>alice</NAME><STATE>{state}</STATE><VMS>{vms}</VMS></HOST>"


def captured(scenario: str, action: str) -> CapturedCall:
    """The first call of an action of our datastore or transfer driver in a scenario."""
    return next(
        call
        for call in CAPTURES
        if call.scenario == scenario and call.action == action and call.driver_name == "linstor"
    )


def encode(document: str | bytes) -> bytes:
    return base64.b64encode(document if isinstance(document, bytes) else document.encode())


def read(document: str | bytes, args: tuple[str, ...] = ("5",)) -> onexml.DriverAction:
    return onexml.read_action(args, io.BytesIO(encode(document)))


def action(image: str = "", extra: str = "", datastore: str = DATASTORE) -> str:
    return f"<DS_DRIVER_ACTION_DATA>{image}{datastore}{extra}</DS_DRIVER_ACTION_DATA>"


def disk(**attributes: str) -> str:
    values = {"DISK_ID": "0", **attributes}
    return "<DISK>" + "".join(f"<{name}>{value}</{name}>" for name, value in values.items()) + "</DISK>"


def vm(disks: str = "", history: str = "") -> onexml.Vm:
    return onexml.parse_vm(VM.format(disks=disks, history=history).encode())


class TestCapturedCalls:
    def test_image_to_copy(self) -> None:
        call = captured("a01-image-register-path", "cp")
        found = read(call.stdin, call.argv)
        assert (found.id, found.datastore_location, found.monitor_vm_disks) == (0, None, False)
        assert found.require_image() == onexml.Image(
            id=0,
            path="/srv/images/os.img",
            source="",
            size=Size(GIB),
            format="",
            fs="",
            type=0,
            persistent=False,
            target_snapshot=None,
            cloning_id=None,
            datastore_id=100,
            md5="",
            sha1="",
            template=found.require_image().template,
            vms=(),
        )
        assert str(found.datastore) == "datastore 100 (linstor img)"
        assert found.datastore.template["LINSTOR_RESOURCE_GROUP"] == "rg0"
        assert found.datastore.base_path == "/srv/one/var//datastores/100"

    def test_stat_has_a_request_id_and_an_image_without_id_and_type(self) -> None:
        call = captured("a01-image-register-path", "stat")
        image = read(call.stdin, call.argv).require_image()
        assert (image.id, image.type, image.size, image.path) == (None, None, None, "/srv/images/os.img")
        assert not image.is_cdrom

    def test_clone_names_the_original(self) -> None:
        call = captured("a06-image-clone", "clone")
        image = read(call.stdin, call.argv).require_image()
        assert (image.id, image.cloning_id, image.path) == (5, 0, "OpenNebula-Image-0")

    def test_monitor_has_no_image(self) -> None:
        found = [
            read(call.stdin, call.argv)
            for call in CAPTURES
            if call.action == "monitor" and call.driver == "tm"
        ]
        assert {one.image for one in found} == {None}
        assert {one.datastore_location for one in found} == {"/srv/one/var//datastores"}
        assert {one.datastore.type for one in found} == {1}
        with pytest.raises(UsageError, match="/DS_DRIVER_ACTION_DATA/IMAGE is missing"):
            found[0].require_image()

    def test_every_captured_document_is_readable(self) -> None:
        count = 0
        for call in CAPTURES:
            if call.stdin.startswith("<DS_DRIVER_ACTION_DATA>") and call.driver_name == "linstor":
                read(call.stdin, call.argv)
                count += 1
            for kind, xml in call.documents.items():
                parse = onexml.parse_vm if kind == "vm" else onexml.parse_datastore
                parse(xml.encode())
                count += 1
        assert count > 100

    @pytest.mark.parametrize("action_name", ["premigrate", "postmigrate", "failmigrate"])
    def test_vm_on_standard_input_of_a_live_migration(self, action_name: str) -> None:
        """Only the record of the destination is there, and oned says MIGRATE."""
        call = captured(
            "b19-migrate-live-vmm-fails" if action_name == "failmigrate" else "b12-migrate-live", action_name
        )
        assert call.stdin_encoding == "base64"
        machine = onexml.read_vm(encode(call.stdin))
        source, destination, _, vm_id, datastore = call.argv
        assert (machine.id, machine.host, machine.system_ds_id) == (int(vm_id), destination, int(datastore))
        assert (machine.lcm_state, machine.system_tm) == (4, "linstor")
        assert list(machine.host_ids) == [destination]
        assert machine.disks == onexml.parse_vm(call.documents["vm"].encode()).disks
        everything = onexml.parse_vm(call.documents["vm"].encode())
        assert {source, destination} == set(everything.host_ids)
        assert everything.host == destination

    def test_disks_of_a_vm(self) -> None:
        call = captured("b01-instantiate-deploy", "clone")
        machine = onexml.parse_vm(call.documents["vm"].encode())
        assert machine.lcm_state == 1
        assert (machine.host, machine.system_ds_id) == ("host0", 101)
        copy, persistent, cdrom = machine.disk(0), machine.disk(1), machine.disk(2)
        assert (copy.clone, copy.save, copy.source, copy.image_id) == (True, False, "OpenNebula-Image-0", 0)
        assert (copy.size, copy.original_size, copy.format) == (Size(2 * GIB), Size(GIB), "raw")
        assert (copy.datastore_id, copy.tm_mad, copy.attributes["TARGET"]) == (100, "linstor", "vda")
        assert (persistent.clone, persistent.save, persistent.persistent) == (False, True, True)
        assert (cdrom.clone, cdrom.save, cdrom.readonly, cdrom.is_cdrom) == (False, False, True, True)
        assert not copy.is_cdrom
        fs = next(one for one in machine.disks if one.type == "fs")
        swap = next(one for one in machine.disks if one.type == "swap")
        assert [one.volatile for one in (copy, persistent, cdrom, fs, swap)] == [
            False,
            False,
            False,
            True,
            True,
        ]
        assert [one.is_swap for one in (fs, swap)] == [False, True]
        assert (fs.clone, fs.original_size) == (None, None)

    def test_context_is_not_a_disk(self) -> None:
        document = captured("b01-instantiate-deploy", "clone").documents["vm"]
        context = re.search(r"<CONTEXT><DISK_ID><!\[CDATA\[(\d+)", document)
        assert context is not None
        with pytest.raises(UsageError, match=rf"VM \d+ has no disk {context.group(1)}"):
            onexml.parse_vm(document.encode()).disk(int(context.group(1)))


class TestWhereTheXmlComesFrom:
    """The rule for all versions: one argument or a dash means standard input."""

    @pytest.mark.parametrize(
        ("args", "on_stdin"),
        [(("{xml}", "5"), False), (("-", "5"), True), (("5",), True)],
        ids=["up to 6.6", "with -i", "since 6.8"],
    )
    def test_by_version(self, args: tuple[str, ...], on_stdin: bool) -> None:
        xml = encode(action("<IMAGE><ID>5</ID></IMAGE>"))
        stdin = io.BytesIO(xml if on_stdin else b"")
        found = onexml.read_action([arg.format(xml=xml.decode()) for arg in args], stdin)
        assert (found.id, found.require_image().id) == (5, 5)

    def test_standard_input_is_drained_even_when_nobody_needs_it(self) -> None:
        stdin = io.BytesIO(b"x" * 100000)
        onexml.read_action([encode(action()).decode(), "5"], stdin)
        assert stdin.read() == b""

    def test_nobody_waits_for_input_from_a_terminal(self) -> None:
        typist, terminal = os.openpty()
        with (
            os.fdopen(typist, "wb", buffering=0) as keyboard,
            os.fdopen(terminal, "rb", buffering=0) as stdin,
        ):
            keyboard.write(b"garbage\n\x04")
            with pytest.raises(UsageError, match="is missing"):
                onexml.read_action(["5"], stdin)  # type: ignore[arg-type]

    def test_base64_in_lines(self) -> None:
        wrapped = base64.encodebytes(action().encode()).replace(b"\n", b"\r\n ")
        assert onexml.read_action(["5"], io.BytesIO(wrapped)).datastore.id == 100

    @pytest.mark.parametrize("args", [(), ("a", "1", "2")])
    def test_wrong_number_of_arguments(self, args: tuple[str, ...]) -> None:
        with pytest.raises(UsageError, match=f"got {len(args)} arguments"):
            read(action(), args)

    @pytest.mark.parametrize(
        "given_id", ["", "x", "-1", "1.5", "\N{ARABIC-INDIC DIGIT ONE}", "9" * 30, "1\n"]
    )
    def test_what_is_no_id(self, given_id: str) -> None:
        with pytest.raises(UsageError, match="not an id"):
            read(action(), ("-", given_id))


class _Counting(io.RawIOBase):
    """A stream of ``length`` bytes that nobody has to keep in memory."""

    def __init__(self, length: int) -> None:
        self.left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        count = min(len(view), self.left)
        view[:count] = b"A" * count
        self.left -= count
        return count


BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))


class TestHostileXml:
    @pytest.mark.parametrize(
        ("document", "message"),
        [
            (
                f'<!DOCTYPE a [<!ENTITY e0 "ha">{BOMB}]>' + action("<IMAGE><PATH>&e11;</PATH></IMAGE>"),
                "DOCTYPE|cannot be parsed",
            ),
            (
                f'<!DOCTYPE a [<!ENTITY e0 "ha">{BOMB}]>' + action('<IMAGE a="&e11;"/>'),
                "DOCTYPE|cannot be parsed",
            ),
            (
                '<!DOCTYPE a [<!ENTITY file SYSTEM "file:///etc/passwd">]>'
                + action("<IMAGE><PATH>&file;</PATH></IMAGE>"),
                "DOCTYPE",
            ),
            ('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">' + action(), "DOCTYPE"),
            ("<!DOCTYPE a>" + action(), "DOCTYPE"),
            (action("<IMAGE><PATH>&nobody;</PATH></IMAGE>"), "cannot be parsed"),
            (action("<a>" * 100000 + "</a>" * 100000), "cannot be parsed"),
            (action(f"<IMAGE><PATH>{'x' * 11000000}</PATH></IMAGE>"), "cannot be parsed"),
            (action("<IMAGE>"), "cannot be parsed"),
            ("", "is missing"),
            ("<", "cannot be parsed"),
            ("plain text", "cannot be parsed"),
            (action().encode("utf-16"), "cannot be parsed"),
            (action().encode().replace(b"img", b"\xff\xfe"), "cannot be parsed"),
            (action() + "<a/>", "cannot be parsed"),
            ("<VM/>", "<VM>, not a <DS_DRIVER_ACTION_DATA>"),
            ('<a:DS_DRIVER_ACTION_DATA xmlns:a="b"/>', "not a <DS_DRIVER_ACTION_DATA>"),
        ],
        ids=[
            "entity bomb",
            "entity bomb in an attribute",
            "external entity",
            "external DTD",
            "DOCTYPE",
            "undeclared entity",
            "deep nesting",
            "huge text",
            "not closed",
            "empty",
            "one character",
            "no XML",
            "UTF-16",
            "not UTF-8",
            "two roots",
            "another root",
            "another namespace",
        ],
    )
    def test_is_refused_in_one_short_line(self, document: str | bytes, message: str) -> None:
        with pytest.raises(UsageError, match=message) as refused:
            read(document)
        text = str(refused.value)
        assert "\n" not in text
        assert len(text) < 200
        assert "root:" not in text

    def test_doctype_inside_a_value_is_only_text(self) -> None:
        page = "<IMAGE><TEMPLATE><PAGE><![CDATA[<!DOCTYPE html>]]></PAGE></TEMPLATE></IMAGE>"
        assert read(action(page)).require_image().template == {"PAGE": "<!DOCTYPE html>"}

    def test_encoding_declaration_does_not_change_how_bytes_are_read(self) -> None:
        declared = '<?xml version="1.0" encoding="ISO-8859-1"?>' + action("<IMAGE><PATH>/\xfc</PATH></IMAGE>")
        assert read(declared).require_image().path == "/\xfc"

    def test_comments_do_not_cut_values(self) -> None:
        assert read(action("<IMAGE><ID>1<!-- 2 -->3<?a b?>4</ID></IMAGE>")).require_image().id == 134

    @pytest.mark.parametrize(
        "payload", [b"a===", b"<VM/>", b"abc", b"ab\0d", b"YWJj!", b"YQ==YQ==", b"\xff\xfe\xfd\xfc"]
    )
    def test_what_is_not_base64(self, payload: bytes) -> None:
        with pytest.raises(UsageError, match="the XML on standard input is not base64"):
            onexml.read_action(["5"], io.BytesIO(payload))
        with pytest.raises(UsageError, match="the XML argument is not base64"):
            onexml.read_action([payload.decode("utf-8", "surrogateescape"), "5"], io.BytesIO())

    @pytest.mark.parametrize("payload", [b"", b" \n\t"])
    def test_nothing_on_standard_input(self, payload: bytes) -> None:
        with pytest.raises(UsageError, match="the XML on standard input is missing"):
            onexml.read_action(["5"], io.BytesIO(payload))

    def test_a_hundred_megabytes(self) -> None:
        stream = _Counting(100 * MIB)
        with pytest.raises(UsageError, match=f"longer than {onexml.MAX_BYTES} bytes"):
            onexml.read_action(["5"], io.BufferedReader(stream))
        assert stream.left == 0

    def test_the_longest_that_is_accepted(self) -> None:
        xml = encode(action())
        padded = xml + b"\n" * (onexml.MAX_BYTES - len(xml))
        assert onexml.read_action(["5"], io.BytesIO(padded)).id == 5
        with pytest.raises(UsageError, match="longer"):
            onexml.read_action(["5"], io.BytesIO(padded + b"\n"))

    @pytest.mark.parametrize(
        ("payload", "message"),
        [
            (b"", "missing"),
            (b"<VM/>", "not base64"),
            (encode("<VM>"), "cannot be parsed"),
            (encode("<!DOCTYPE VM []><VM/>"), "has a DOCTYPE"),
            (encode("<HOST/>"), "is a <HOST>, not a <VM>"),
            (encode(" " * 8192) * 2048, "longer than"),
        ],
        ids=["nothing", "no base64", "not closed", "DOCTYPE", "another root", "too long"],
    )
    def test_vm_on_standard_input(self, payload: bytes, message: str) -> None:
        with pytest.raises(
            UsageError, match=f"^the XML on standard input {message}|^the XML .* is {message}"
        ):
            onexml.read_vm(payload)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_usage_error(self, payload: bytes) -> None:
        with pytest.raises(UsageError):
            onexml.read_action(["5"], io.BytesIO(payload))
        with pytest.raises(UsageError):
            onexml.parse_vm(payload)
        with pytest.raises(UsageError):
            onexml.read_vm(payload)


class TestMissingAndBadElements:
    @pytest.mark.parametrize("tag", ["ID", "NAME", "TYPE", "TEMPLATE"])
    def test_datastore(self, tag: str) -> None:
        broken = re.sub(rf"<{tag}>.*?</{tag}>", "", DATASTORE)
        with pytest.raises(UsageError) as missing:
            read(action(datastore=broken))
        path = f"/DS_DRIVER_ACTION_DATA/DATASTORE/{tag}"
        assert str(missing.value) == f"{path} is missing in the XML on standard input"
        with pytest.raises(UsageError, match=f"^/DATASTORE/{tag} is missing in the XML of the datastore$"):
            onexml.parse_datastore(broken.encode())

    def test_no_datastore(self) -> None:
        with pytest.raises(UsageError, match="/DS_DRIVER_ACTION_DATA/DATASTORE is missing"):
            read(action(datastore=""))

    @pytest.mark.parametrize("tag", ["ID", "STATE", "LCM_STATE", "TEMPLATE"])
    def test_vm(self, tag: str) -> None:
        broken = re.sub(rf"<{tag}>.*?</{tag}>", "", VM.format(disks="", history=""))
        with pytest.raises(UsageError, match=f"^/VM/{tag} is missing in the answer of oned$"):
            onexml.parse_vm(broken.encode(), "the answer of oned")

    @pytest.mark.parametrize("tag", ["ID", "NAME", "STATE", "VMS"])
    def test_host(self, tag: str) -> None:
        broken = re.sub(f"<{tag}>.*?</{tag}>", "", HOST.format(state=2, vms=""))
        with pytest.raises(UsageError, match=f"^/HOST/{tag} is missing in the XML of the host$"):
            onexml.parse_host(broken.encode())

    def test_ids_that_are_no_numbers(self) -> None:
        with pytest.raises(UsageError, match="/HOST/VMS/ID is not a number in the XML of the host: x"):
            onexml.parse_host(HOST.format(state=2, vms="<ID>7</ID><ID>x</ID>").encode())

    def test_disk_without_id(self) -> None:
        with pytest.raises(UsageError, match="/VM/TEMPLATE/DISK/DISK_ID is empty"):
            vm(disk(DISK_ID=" "))

    @pytest.mark.parametrize(
        "value", ["x", "1.5", "1e3", "0x10", "1 2", "9" * 5000, "\N{FULLWIDTH DIGIT ONE}"]
    )
    def test_what_is_no_number(self, value: str) -> None:
        with pytest.raises(UsageError, match="/VM/TEMPLATE/DISK/SIZE is not a number") as refused:
            vm(disk(SIZE=value))
        assert len(str(refused.value)) < 250

    def test_negative_size(self) -> None:
        with pytest.raises(UsageError, match=r"/IMAGE/SIZE is negative in .*: -1"):
            onexml.parse_image(b"<IMAGE><SIZE>-1</SIZE></IMAGE>")

    @pytest.mark.parametrize("tag", ["CLONE", "SAVE", "READONLY", "SHAREABLE", "PERSISTENT"])
    def test_booleans_are_never_guessed(self, tag: str) -> None:
        with pytest.raises(UsageError, match=f"/VM/TEMPLATE/DISK/{tag} is neither YES nor NO in .*: maybe"):
            vm(disk(**{tag: "maybe"}))

    def test_white_space_around_values(self) -> None:
        found = vm(disk(DISK_ID="\n 3\n", CLONE=" yes ", SIZE=" 10 ", TYPE=" swap ")).disk(3)
        assert (found.clone, found.size, found.is_swap) == (True, Size.of_mib(10), True)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("YES", True),
        ("yes", True),
        (" Yes\n", True),
        ("1", True),
        ("NO", False),
        ("no", False),
        ("0", False),
        ("", None),
        ("true", None),
        ("2", None),
        ("YESNO", None),
    ],
)
def test_boolean(text: str, meaning: bool | None) -> None:
    assert onexml.boolean(text) is meaning


class TestRecords:
    def test_format_was_called_fstype_in_5_12(self) -> None:
        assert onexml.parse_image(b"<IMAGE><FSTYPE>QCOW2</FSTYPE></IMAGE>").format == "qcow2"
        both = b"<IMAGE><FSTYPE>ext4</FSTYPE><FORMAT>raw</FORMAT></IMAGE>"
        assert onexml.parse_image(both).format == "raw"

    def test_disk_of_5_12_has_a_driver_instead_of_a_format(self) -> None:
        assert vm(disk(DRIVER="qcow2")).disk(0).format == "qcow2"
        assert vm(disk(DRIVER="raw", FORMAT="qcow2")).disk(0).format == "qcow2"

    def test_checksums(self) -> None:
        image = onexml.parse_image(b"<IMAGE><TEMPLATE><MD5>a1</MD5><SHA1> b2 </SHA1></TEMPLATE></IMAGE>")
        assert (image.md5, image.sha1) == ("a1", "b2")

    def test_cdrom_image(self) -> None:
        types = [onexml.parse_image(f"<IMAGE><TYPE>{n}</TYPE></IMAGE>".encode()).is_cdrom for n in range(3)]
        assert types == [False, True, False]

    def test_persistent_image(self) -> None:
        assert onexml.parse_image(b"<IMAGE><PERSISTENT>1</PERSISTENT></IMAGE>").persistent
        assert not onexml.parse_image(b"<IMAGE/>").persistent

    def test_a_disk_without_source_is_volatile(self) -> None:
        assert vm(disk(TYPE="BLOCK")).disk(0).volatile

    def test_disks_are_found_by_their_ids(self) -> None:
        machine = vm(disk(DISK_ID="3") + disk(DISK_ID="1"))
        assert [machine.disk(number).id for number in (1, 3)] == [1, 3]
        with pytest.raises(UsageError, match="VM 7 has no disk 2"):
            machine.disk(2)

    @pytest.mark.parametrize("cdrom", ["CDROM", "BLOCK_CDROM", "rbd_cdrom"])
    def test_cdrom_disk(self, cdrom: str) -> None:
        assert vm(disk(TYPE=cdrom)).disk(0).is_cdrom

    def test_a_disk_with_a_source_of_type_fs_is_volatile(self) -> None:
        """Its volume has the VM's name; the other way round somebody's image might be destroyed."""
        assert vm(disk(TYPE="FS", SOURCE="OpenNebula-Image-1")).disk(0).volatile

    def test_a_disk_of_another_driver_without_size_hurts_nobody(self) -> None:
        assert vm(disk(SOURCE="pool/image")).disk(0).size == Size(0)

    def test_vector_attributes_are_left_out_and_the_first_of_two_counts(self) -> None:
        template = "<TEMPLATE><A>1</A><V><B>2</B></V><A>3</A><E/></TEMPLATE>"
        datastore = onexml.parse_datastore(re.sub("<TEMPLATE>.*</TEMPLATE>", template, DATASTORE).encode())
        assert datastore.template == {"A": "1", "E": ""}

    def test_the_newest_history_record_counts(self) -> None:
        def record(seq: int, host: str) -> str:
            return f"<HISTORY><SEQ>{seq}</SEQ><HOSTNAME>{host}</HOSTNAME><DS_ID>{100 + seq}</DS_ID></HISTORY>"

        machine = vm(history=record(9, "bob") + record(10, "charlie") + record(2, "alice"))
        assert (machine.host, machine.system_ds_id) == ("charlie", 110)

    def test_hosts_on_which_the_vm_was(self) -> None:
        def record(seq: int, host: str, host_id: str, tm: str) -> str:
            return (
                f"<HISTORY><SEQ>{seq}</SEQ><HOSTNAME>{host}</HOSTNAME><HID>{host_id}</HID>"
                f"<DS_ID>100</DS_ID><TM_MAD>{tm}</TM_MAD></HISTORY>"
            )

        history = record(2, "bob", "8", "linstor") + record(0, "alice", "3", "ssh") + record(1, "eve", "", "")
        machine = vm(history=history)
        assert (machine.host_ids, machine.system_tm, machine.stays) == ({"alice": 3, "bob": 8}, "linstor", 3)
        with pytest.raises(UsageError, match="/HISTORY/HID is not a number in the XML of the VM: x"):
            vm(history=record(0, "alice", "x", "ssh"))

    def test_before_the_first_deployment(self) -> None:
        machine = onexml.parse_vm(re.sub("<HISTORY_REC.*RECORDS>", "", VM).replace("{disks}", "").encode())
        assert (machine.host, machine.system_ds_id, machine.disks) == (None, None, ())
        assert (machine.system_tm, machine.host_ids, machine.stays) == ("", {}, 0)

    def test_name_at_the_hypervisor(self) -> None:
        document = VM.format(disks="", history="").replace(
            "<TEMPLATE>", "<DEPLOY_ID> one-7\n</DEPLOY_ID><TEMPLATE>"
        )
        assert onexml.parse_vm(document.encode()).deploy_id == "one-7"
        assert vm().deploy_id == ""

    def test_attributes_of_the_owner_count_more_than_those_of_the_template(self) -> None:
        document = VM.format(disks="<A>1</A><B>1</B><V><A>9</A></V>", history="")
        assert onexml.parse_vm(document.encode()).attributes == {"A": "1", "B": "1"}
        own = "<USER_TEMPLATE><B>2</B><B>3</B><C/><A><X>9</X></A></USER_TEMPLATE></VM>"
        machine = onexml.parse_vm(document.replace("</VM>", own).encode())
        assert machine.attributes == {"A": "1", "B": "2", "C": ""}

    def test_vms_that_have_an_image(self) -> None:
        image = b"<IMAGE><VMS><ID>7</ID><ID> 12 </ID></VMS></IMAGE>"
        assert onexml.parse_image(image).vms == (7, 12)
        assert onexml.parse_image(b"<IMAGE><VMS/></IMAGE>").vms == ()

    @pytest.mark.parametrize("state", range(9))
    def test_host(self, state: int) -> None:
        """Host.h: 3 ERROR, 5 MONITORING_ERROR, 8 OFFLINE; disabled ones are alive."""
        document = HOST.format(state=state, vms="<ID>7</ID><ID>12</ID>").encode()
        host = onexml.parse_host(document)
        assert host == (4, "alice", state, (7, 12))
        assert host.dead is (state in (3, 5, 8))

    @pytest.mark.parametrize(("flag", "wanted"), [("1", True), ("0", False)])
    def test_monitoring_of_vm_disks(self, flag: str, wanted: bool) -> None:
        assert read(action(extra=f"<MONITOR_VM_DISKS>{flag}</MONITOR_VM_DISKS>")).monitor_vm_disks is wanted
