#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Stands for a command on a host without a mount namespace: runs the real one on the paths at which the host's own files
# really are, and shows them as the host knows them where paths are what the command prints.
# BASH_ENV has defined lab_outside.

name=${0##*/}
words=()
for word; do
    lab_outside "$word"
    words+=("$REPLY")
done

IFS=: read -ra directories <<<"$LAB_REAL_PATH"
for directory in "${directories[@]}"; do
    [[ -x $directory/$name ]] && break
done

case $name in
    readlink | realpath | ls | stat | find | mktemp | du | df | file | wc | qemu-img | md5sum | sha1sum | sha256sum | sha512sum)
        (exec -a "$name" "$directory/$name" "${words[@]}") | PATH=$LAB_REAL_PATH sed "s|$LAB_HOST_DIR/dev/|/dev/|g; s|$LAB_OWN_DEV/|/dev/|g; s|$LAB_HOST_DIR/datastores|$LAB_DATASTORES|g"
        exit "${PIPESTATUS[0]}"
        ;;
esac
exec -a "$name" "$directory/$name" "${words[@]}"
