# shellcheck shell=dash
# shellcheck disable=SC2034,SC2086
# What all jobs share. `machine` puts this file in front of a job and runs both as root in the virtual machine, whose shell is
# busybox's.
#
# A form is a shell function that makes one recording, /out/NAME.data. Its NAME may end in the version of perf that records:
# snapshot-61, snapshot-612, snapshot-7; without one it is 6.12.
debug=/sys/kernel/debug/virtual_spe
parameters=/sys/module/virtual_spe/parameters
event='arm_spe_0/pa_enable=1,ts_enable=1,jitter=1/'

# begin [PARAMETER=VALUE...]: forgets all records; parameters of the module that are not named get their defaults.
begin() {
    echo 1 >$debug/reset || echo "FAILED: $name: pages are still registered"
    for parameter in tick_us=1000 burst=4 compact=0 budget=1500 others=1 collide=0 "$@"; do
        echo "${parameter#*=}" >"$parameters/${parameter%%=*}"
    done
}

# What was placed in rings.
finish() {
    for what in log auxlog stats pfncounts; do cat $debug/$what >"/out/$name.$what"; done
    printf '%s: ' "$name"
    grep -E '^(records|dropped|truncated|wraps)' "/out/$name.stats" | tr '\n' ' '
    echo
}

# note WORD...: the command, for people.
note() { echo "$*" | sed 's/\/out\///g' >"/out/$name.cmd"; }

# run WORD...: runs and notes a command.
run() {
    note "$*"
    "$@"
    status=$?
    [ $status = 0 ] || echo "note: $name: exit status $status"
    return $status
}

# placed_records N: waits until so many records have been placed, at most 20 s: then the recorder is at work.
placed_records() {
    tries=200
    while [ "$(sed -n 's/^records //p' $debug/stats)" -lt "$1" ] && [ $tries -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
}

# recorder COMMAND: the pid of the recording program, not of what it started.
recorder() { pidof "$1" | tr ' ' '\n' | sort -n | head -n 1; }

# forms NAME...
forms() {
    for name in "$@"; do
        case $name in
        *-61 | *-612 | *-7) perf=perf${name##*-} form=${name%-*} ;;
        *) perf=perf612 form=$name ;;
        esac
        "$(echo "$form" | tr - _)"
        finish
    done
}
