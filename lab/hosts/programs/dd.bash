#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# dd on a host whose devices are plain files: such a device is neither cut by being opened nor does it grow.
# BASH_ENV has defined lab_device.

target=
for word; do
    [[ $word == of=* ]] && target=${word#of=}
done
PATH=$LAB_REAL_PATH
dd=$(type -aP dd | sed -n 2p)
if [[ -z $target ]] || ! lab_device "$target" || [[ ! -f $target ]]; then
    exec -a dd "$dd" "$@"
fi

size=$(stat -L -c %s -- "$target")
(exec -a dd "$dd" "$@" conv=notrunc)
status=$?
if (($(stat -L -c %s -- "$target") > size)); then
    truncate -s "$size" -- "$target"
    echo "dd: error writing '$target': No space left on device" >&2
    status=1
fi
exit "$status"
