# SPDX-License-Identifier: Apache-2.0
# Read by every bash on a host whose devices are plain files (BASH_ENV). Makes what bash does itself treat them as what
# they stand for: test -b finds a block device. With LAB_HOST_DIR set there is no mount namespace, and the paths that
# only this host has are looked up in its directory.

# Sets REPLY to the word with the host's own paths replaced by those at which they really stand.
lab_outside() {
    REPLY=$1
    [[ -n ${LAB_HOST_DIR-} ]] || return 0
    if [[ $REPLY == /* || $REPLY == *=/* ]]; then
        while [[ $REPLY == *//* ]]; do REPLY=${REPLY//\/\//\/}; done
    fi
    # Back first, so that a path which is already translated stays as it is.
    REPLY=${REPLY//"$LAB_HOST_DIR"\/dev\//\/dev\/}
    REPLY=${REPLY//"$LAB_HOST_DIR"\/datastores/"$LAB_DATASTORES"}
    REPLY=${REPLY//\/dev\//"$LAB_OWN_DEV"/}
    local name
    for name in null zero full random urandom tty ptmx fd stdin stdout stderr shm pts; do
        REPLY=${REPLY//"$LAB_OWN_DEV"\/"$name"/\/dev\/"$name"}
    done
    REPLY=${REPLY//"$LAB_DATASTORES"/"$LAB_HOST_DIR"/datastores}
}

# True for a path that stands for a device.
lab_device() {
    local real
    real=$(PATH=$LAB_REAL_PATH readlink -f -- "$1") || return 1
    [[ -e $real && ($real == /dev/* || (-n ${LAB_HOST_DIR-} && $real == "$LAB_HOST_DIR"/dev/*)) ]]
}

lab_test() {
    local -a words=()
    while (($#)); do
        if [[ $1 == -b && $# -ge 2 ]]; then
            lab_outside "$2"
            if lab_device "$REPLY" && [[ -f $REPLY || -S $REPLY ]]; then
                words+=(-e "$REPLY")
            else
                words+=(-b "$REPLY")
            fi
            shift 2
        else
            lab_outside "$1"
            words+=("$REPLY")
            shift
        fi
    done
    builtin test "${words[@]}"
}

test() { lab_test "$@"; }

function [ {
    lab_test "${@:1:$#-1}"
}

if [[ -n ${LAB_HOST_DIR-} ]]; then
    cd() {
        local -a words=()
        local word
        for word; do
            lab_outside "$word"
            words+=("$REPLY")
        done
        builtin cd "${words[@]}"
    }
fi
