#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# blockdev on a host whose devices are plain files.
# BASH_ENV has defined lab_device.

PATH=$LAB_REAL_PATH
path=${!#}
if ! lab_device "$path" || [[ ! -f $path ]]; then
    exec "$(type -aP blockdev | sed -n 2p)" "$@"
fi
for word in "${@:1:$#-1}"; do
    case $word in
        --getsize64) stat -L -c %s -- "$path" ;;
        --getsz) echo $(($(stat -L -c %s -- "$path") / 512)) ;;
        --getss | --getpbsz) echo 512 ;;
        --getro) echo 0 ;;
        --flushbufs) sync -- "$path" ;;
        *)
            echo "blockdev: the lab's device files know nothing of $word" >&2
            exit 1
            ;;
    esac
done
