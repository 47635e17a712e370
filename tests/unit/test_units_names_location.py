# SPDX-License-Identifier: Apache-2.0
"""The base: sizes, names, locations, and words that pass through a shell."""

from __future__ import annotations

import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linstor_helper import names
from linstor_helper.errors import UsageError
from linstor_helper.location import Location, source_resource
from linstor_helper.shell import command, quote
from linstor_helper.units import GIB, KIB, MIB, Size

IDS = st.integers(min_value=0, max_value=2**31 - 1)
LINSTOR_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{1,47}")


class TestSize:
    @given(st.integers(min_value=0, max_value=2**70))
    def test_rounding_never_loses_and_never_promises_a_byte(self, count: int) -> None:
        size = Size.of_bytes(count)
        assert Size.of_kib(size.kib_up) >= size > Size(Size.of_kib(size.kib_up).bytes - KIB)
        assert Size.of_mib(size.mib_up) >= size > Size(Size.of_mib(size.mib_up).bytes - MIB)
        assert Size.of_mib(size.mib_down) <= size < Size.of_mib(size.mib_down + 1)

    @given(st.integers(min_value=0, max_value=2**40))
    def test_units_meet(self, count: int) -> None:
        assert Size.of_mib(count) == Size.of_kib(count * 1024)
        assert Size.of_mib(count).mib_up == Size.of_mib(count).mib_down == count
        assert Size.of_kib(count).kib_up == count

    @pytest.mark.parametrize("make", [Size.of_bytes, Size.of_kib, Size.of_mib])
    def test_a_size_is_never_negative(self, make: object) -> None:
        with pytest.raises(ValueError, match="negative"):
            make(-1)  # type: ignore[operator]

    @pytest.mark.parametrize(
        ("size", "text"),
        [
            (Size(0), "0 bytes"),
            (Size(1023), "1023 bytes"),
            (Size(KIB), "1 KiB"),
            (Size(KIB + 1), "1025 bytes"),
            (Size(1536 * KIB), "1536 KiB"),
            (Size(MIB), "1 MiB"),
            (Size(10 * GIB), "10 GiB"),
        ],
    )
    def test_text_is_exact(self, size: Size, text: str) -> None:
        assert str(size) == text


class TestNames:
    def test_are_those_of_addon_linstor(self) -> None:
        assert names.image(5) == "OpenNebula-Image-5"
        assert names.vm_disk("OpenNebula-Image-5", 7, 0) == "OpenNebula-Image-5-vm7-disk0"
        assert names.volatile(7, 1) == "OpenNebula-Volatile-vm7-disk1"

    @given(IDS, IDS, st.integers(min_value=0, max_value=999))
    def test_are_accepted_by_linstor_whatever_the_ids(self, image: int, vm: int, disk: int) -> None:
        for name in (
            names.image(image),
            names.vm_disk(names.image(image), vm, disk),
            names.volatile(vm, disk),
        ):
            assert LINSTOR_NAME.fullmatch(name)
            assert names.require_valid(name) == name

    @given(st.from_regex(LINSTOR_NAME, fullmatch=True), IDS, st.integers(min_value=0, max_value=999))
    def test_of_disks_of_adopted_images_fit(self, image: str, vm: int, disk: int) -> None:
        name = names.vm_disk(image, vm, disk)
        assert LINSTOR_NAME.fullmatch(name)
        assert name.endswith(f"-vm{vm}-disk{disk}")
        assert names.vm_disk(image, vm, disk) == name

    def test_long_names_that_differ_in_their_ends_stay_apart(self) -> None:
        one, other = (names.vm_disk("a" * 47 + end, 1, 0) for end in "xy")
        assert not names.same(one, other)

    def test_spelling_does_not_matter(self) -> None:
        assert names.same("OpenNebula-Image-5", "opennebula-image-5")
        assert not names.same("OpenNebula-Image-5", "OpenNebula-Image-50")

    @given(st.from_regex(LINSTOR_NAME, fullmatch=True), IDS)
    def test_spelling_of_an_image_does_not_make_another_disk(self, image: str, vm: int) -> None:
        assert names.same(names.vm_disk(image.lower(), vm, 0), names.vm_disk(image.upper(), vm, 0))

    @pytest.mark.parametrize(
        "name",
        ["", "a", "1a", "-a", "a b", "a/b", "a" * 49, "a\n", "all", "ALL", "proxy", "__", "\xe4b", "-rf"],
    )
    def test_invalid(self, name: str) -> None:
        with pytest.raises(UsageError, match="is not a LINSTOR resource name"):
            names.require_valid(name)


class TestOwner:
    @given(st.builds(names.Owner, st.just("one"), IDS, *[st.none() | IDS] * 4))
    def test_is_read_back_from_its_properties(self, owner: names.Owner) -> None:
        assert owner.owns(owner.properties())
        assert owner.owns({**owner.properties(), "Aux/rack": "a", **names.complete_mark("x")})
        assert all(key.startswith("Aux/one/") for key in owner.properties())

    @given(st.builds(names.Owner, st.just("one"), IDS, *[st.none() | IDS] * 4))
    def test_takes_over_a_copy_of_anything(self, owner: names.Owner) -> None:
        copied = names.Owner("other", 1, 2, 3, 4, 5).properties()
        for key in owner.foreign_keys():
            del copied[key]
        assert owner.owns({**copied, **owner.properties()})

    def test_of_an_image_is_not_that_of_its_copy(self) -> None:
        image, copy = names.Owner("one", 100, 5), names.Owner("one", 100, 5, 7, 0)
        assert not image.owns(copy.properties())
        assert not copy.owns(image.properties())

    def test_the_mark_of_completeness_does_not_survive_copying(self) -> None:
        marked = names.complete_mark("OpenNebula-Image-5")
        assert names.is_complete("opennebula-image-5", marked)
        assert not names.is_complete("OpenNebula-Image-5-vm7-disk0", marked)
        assert not names.is_complete("OpenNebula-Image-5", {})

    def test_objects_of_others(self) -> None:
        assert names.is_foreign({"Aux/rack": "a", "DrbdOptions/x": "y"})
        assert not names.is_foreign({names.INSTANCE: "one"})


class TestLocation:
    @given(
        st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True),
        st.lists(st.from_regex(r"[a-z0-9.]+"), min_size=1),
    )
    def test_is_read_back_from_its_text(self, host: str, parts: list[str]) -> None:
        place = Location.parse(f"{host}:/{'//'.join(part.strip() for part in parts)}/")
        assert Location.parse(str(place)) == place

    def test_double_slashes_of_oned(self) -> None:
        place = Location.parse("host0:/srv/one/var//datastores/101/0/disk.3")
        assert place == Location("host0", "/srv/one/var/datastores/101/0/disk.3")
        assert (place.is_disk, place.disk_id, place.directory) == (True, 3, "/srv/one/var/datastores/101/0")

    @pytest.mark.parametrize(
        "path", ["/a/disk.3/vm.xml", "/a/disk.", "/a/disk.x", "/a/mydisk.3", "/a/disk.3.snap"]
    )
    def test_what_is_not_a_disk(self, path: str) -> None:
        place = Location.parse(f"host0:{path}")
        assert not place.is_disk
        with pytest.raises(UsageError, match="not the path of a disk"):
            _ = place.disk_id

    @pytest.mark.parametrize("text", ["", "host0", "host0:", "host0:relative", ":/a", "-oProxyCommand=x:/a"])
    def test_what_is_no_location(self, text: str) -> None:
        with pytest.raises(UsageError, match="HOST:/PATH"):
            Location.parse(text)

    @pytest.mark.parametrize("text", ["vm:OpenNebula-Image-0", "OpenNebula-Image-0"])
    def test_resource_of_a_source(self, text: str) -> None:
        assert source_resource(text) == "OpenNebula-Image-0"


class TestQuoting:
    # One shell per example: a few examples with many words each.
    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=30))
    def test_words_come_through_a_real_shell(self, words: list[str]) -> None:
        line = " ".join(["printf '%s\\0' end", *(quote(word) for word in words)])
        for shell in ("sh", "bash"):
            found = subprocess.run([shell], input=line.encode(), capture_output=True, check=True).stdout
            assert found.decode().split("\0")[1:-1] == words

    def test_a_script_stops_at_the_first_failure_and_takes_numbers(self) -> None:
        script = command("echo", 1) + command("test", "a", "=", "b") + command("echo", 2)
        done = subprocess.run(["bash", "-s"], input=script.render(), capture_output=True)
        assert (done.returncode, done.stdout) == (1, b"1\n")

    @pytest.mark.parametrize(("works", "output"), [("true", b"fine\n"), ("false", b"mended\n")])
    def test_or_else(self, works: str, output: bytes) -> None:
        script = (command(works) + command("echo", "fine")).or_else(command("echo", "mended"))
        assert subprocess.run(["bash", "-s"], input=script.render(), capture_output=True).stdout == output

    def test_nul_cannot_be_passed(self) -> None:
        with pytest.raises(ValueError, match="NUL"):
            quote("a\0b")
