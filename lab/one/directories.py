# SPDX-License-Identifier: Apache-2.0
"""Scripts with which kvm's ``migrate`` takes along the directory of a VM whose system datastore is not shared."""

from __future__ import annotations

from collections.abc import Iterable


def pack(directory: str, disks: Iterable[str]) -> str:
    """A script that prints the links among the disks (name and target) and, after an empty line, the rest.

    The rest are disks that are files, and the documents, as a tar archive in base64. It fails when a disk is
    missing.
    """
    return f"""set -e -o pipefail
shopt -s nullglob
cd '{directory}'
files=(*.xml)
for name in {" ".join(disks)}; do
    if target=$(readlink "$name"); then echo "$name $target"; else files+=("$name"); fi
done
echo
tar -cSf - "${{files[@]}}" | base64 -w 0
"""


def unpack(directory: str, target: str, packed: str) -> str:
    """A script that puts there what `pack` printed: files into `target`, links back to where they were.

    A link that exists is left as it is.
    """
    links, _, archive = packed.partition("\n\n")
    if packed.startswith("\n"):
        links, archive = "", packed[1:]
    lines = ["set -e -o pipefail", f"mkdir -p '{target}'", f"cd '{target}'"]
    for line in links.splitlines():
        name, _, destination = line.partition(" ")
        path = f"{directory}/{name}"
        lines.append(f"readlink '{path}' >/dev/null || ln -s '{destination}' '{path}'")
    lines += ["base64 -d <<'EOF' | tar -xSf -", archive, "EOF"]
    return "\n".join(lines) + "\n"


def remove(directory: str) -> str:
    return f"rm -rf '{directory}'\n"
