#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# qemu-img on a host whose devices are plain files: such a device is neither cut by becoming an image nor does it grow.
# BASH_ENV has defined lab_device.

PATH=$LAB_REAL_PATH
qemu_img=$(type -aP qemu-img | sed -n 2p)
declare -A sizes=()
for word; do
    if [[ $word == /* ]] && lab_device "$word" && [[ -f $word ]]; then
        sizes[$word]=$(stat -L -c %s -- "$word")
    fi
done
(exec -a qemu-img "$qemu_img" "$@")
status=$?
for device in "${!sizes[@]}"; do
    size=$(stat -L -c %s -- "$device")
    truncate -s "${sizes[$device]}" -- "$device"
    if ((size > sizes[$device])); then
        echo "qemu-img: $device: No space left on device" >&2
        status=1
    fi
done
exit "$status"
