#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# blkdiscard on a host whose devices are plain files: releases blocks, which read as zeros afterwards.
# BASH_ENV has defined lab_device.

PATH=$LAB_REAL_PATH
path=${!#}
if ! lab_device "$path" || [[ ! -f $path ]]; then
    exec "$(type -aP blkdiscard | sed -n 2p)" "$@"
fi
offset=0
length=
way=--punch-hole
options=$(getopt -n blkdiscard -o fo:l:zqv -l force,offset:,length:,zeroout,quiet,verbose -- "${@:1:$#-1}") || exit 1
eval "set -- $options"
while (($#)); do
    case $1 in
        -o | --offset) offset=$2 && shift ;;
        -l | --length) length=$2 && shift ;;
        -z | --zeroout) way=--zero-range ;;
    esac
    shift
done
exec fallocate "$way" --keep-size --offset "$offset" --length "${length:-$(($(stat -L -c %s -- "$path") - offset))}" -- "$path"
