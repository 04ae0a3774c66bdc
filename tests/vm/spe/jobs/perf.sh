# shellcheck shell=dash
# Variables of lib.sh, which stands in front.
# shellcheck disable=SC2154,SC2086,SC2034
# Forms of `perf record`. Four CPUs are assumed.

plain() { begin; mkdir "/out/$name.maps"; run $perf record -q -e "$event" -o "/out/$name.data" -- work -s 1.5 -d "/out/$name.maps"; }
pipe() {
    begin
    note "$perf record -q -e $event -o - -- work -s 1.5 -t 2 | cat >$name.data"
    $perf record -q -e "$event" -o - -- work -s 1.5 -t 2 | cat >"/out/$name.data"
}
all() { begin; run $perf record -q -a -e "$event" -o "/out/$name.data" -- work -s 1.5 -t 3 -f 2 -m 100 -c 4; }
family() {
    begin budget=2000
    mkdir "/out/$name.maps"
    run $perf record -q -e "$event" -o "/out/$name.data" -- work -s 0.7 -t 3 -f 2 -x 1 -m 50 -c 4 -p 300 -h 20 -d "/out/$name.maps"
}
z() { begin budget=2500; run $perf record -q -z -a -e "$event" -o "/out/$name.data" -- work -s 1.5 -t 4 -m 100 -c 4; }
z_pipe() {
    begin budget=2500
    note "$perf record -q -z -a -e $event -o - -- work -s 1.5 -t 4 -c 4 | cat >$name.data"
    $perf record -q -z -a -e "$event" -o - -- work -s 1.5 -t 4 -c 4 | cat >"/out/$name.data"
}
# Rings of four and of two pages, which get full.
tiny() { begin budget=2000 burst=40; run $perf record -q -m ,4 -a -e "$event" -o "/out/$name.data" -- work -s 1.5 -t 4 -c 4; }
tiny_compact() { begin budget=2000 burst=40 compact=1; run $perf record -q -m ,2 -a -e "$event" -o "/out/$name.data" -- work -s 1.5 -t 4 -c 4; }
tiny_task() { begin budget=1500 burst=80 compact=1; run $perf record -q -m ,2 -e "$event" -o "/out/$name.data" -- work -s 1.5 -t 3 -f 1 -m 30 -c 4; }
wake_compact() { begin budget=1800 burst=10 compact=1; run $perf record -q -m ,8 -e "$event" -o "/out/$name.data" -- work -s 1.5 -t 2; }
collide() { begin budget=2000 burst=10 collide=3; run $perf record -q -m ,8 -a -e "$event" -o "/out/$name.data" -- work -s 1.5 -t 4; }
timeless() { begin; run $perf record -q -e arm_spe_0/pa_enable=1,ts_enable=0,jitter=1/ -o "/out/$name.data" -- work -s 1.5 -t 2 -m 100 -c 4; }
timeless_thread() { begin; run $perf record -q --per-thread -e arm_spe_0/pa_enable=1,ts_enable=0,jitter=1/ -o "/out/$name.data" -- work -s 1.5; }
virtual() { begin; run $perf record -q -e arm_spe_0/pa_enable=0,ts_enable=1,jitter=1/ -o "/out/$name.data" -- work -s 1; }
filters() { begin; run $perf record -q -a -e arm_spe_0/pa_enable=1,ts_enable=1,load_filter=1,min_latency=30,event_filter=2/ -o "/out/$name.data" -- work -s 2; }
user_only() { begin; run $perf record -q -a -e "${event}u" -o "/out/$name.data" -- work -s 1.5; }
cpu_list() { begin; run $perf record -q -C 1,3 -e "$event" -o "/out/$name.data" -- work -s 1.5 -t 4 -m 100 -c 4; }
with_faults() { begin; run $perf record -q -e "$event" -e minor-faults -c 1024 -d --phys-data -o "/out/$name.data" -- work -s 1.5 -t 2; }
# A process that runs already, a ring for each of its threads.
attach() {
    begin budget=1200
    work -s 9 -t 3 -m 100 -c 4 &
    worker=$!
    sleep 1
    run $perf record -q --per-thread -e "$event" -o "/out/$name.data" -p $worker -- sleep 1
    wait $worker
}
thread() {
    begin budget=800
    work -s 9 -t 3 &
    worker=$!
    sleep 1
    # busybox has no find for this.
    # shellcheck disable=SC2012
    run $perf record -q -e "$event" -o "/out/$name.data" -t "$(ls /proc/$worker/task | tail -n 1)" -- sleep 1
    wait $worker
}

# snapshots "SECONDS..." COMMAND...: asks for a snapshot after each of these times.
snapshots() {
    times=$1
    shift
    note "$* (SIGUSR2 after $times s)"
    "$@" &
    recording=$!
    for seconds in $times; do
        sleep "$seconds"
        kill -USR2 "$(recorder "$1")"
    done
    wait $recording
}
snapshot() { begin budget=0 burst=8; snapshots "2.2 0.6" $perf record -q -S -m ,4 -a -e "$event" -o "/out/$name.data" -- work -s 3.5 -t 3 -m 100 -c 4; }
snapshot_overlap() { begin budget=0 burst=1 tick_us=2000; snapshots "2.5 0.2 0.2 0.3" $perf record -q -S -m ,4 -a -e "$event" -o "/out/$name.data" -- work -s 3.5 -t 4; }
snapshot_task() { begin budget=0 burst=8 compact=1; snapshots "2 0.7 0.7" $perf record -q -S -m ,8 -e "$event" -o "/out/$name.data" -- work -s 3 -t 2; }
snapshot_exit() { begin budget=0 burst=3 compact=1; snapshots "2" $perf record -q -Se -m ,8 -e "$event" -o "/out/$name.data" -- work -s 3 -t 2; }
switch_output() {
    begin budget=2500 burst=4
    note "$perf record -q -a --switch-output=signal -e $event -o $name.data -- work -s 3 -t 3 -m 100 -c 4 (SIGUSR2 after 1 s and after 2 s)"
    $perf record -q -a --switch-output=signal -e "$event" -o "/out/$name.data" -- work -s 3 -t 3 -m 100 -c 4 &
    recording=$!
    sleep 1
    recorder=$(recorder $perf)
    kill -USR2 "$recorder"
    sleep 1
    kill -USR2 "$recorder"
    wait $recording
}
# killed_after RECORDS [PARAMETER=VALUE...]: perf is killed once so many records have been placed.
killed_after() {
    records=$1
    shift
    begin "$@"
    note "$perf record -q -a -m ,8 -e $event -o $name.data -- work -s 6 -t 3 (SIGKILL after $records records)"
    $perf record -q -a -m ,8 -e "$event" -o "/out/$name.data" -- work -s 6 -t 3 &
    recording=$!
    placed_records "$records"
    sleep 0.3
    kill -KILL "$(recorder $perf)"
    wait $recording
    while pidof work >/dev/null; do sleep 0.5; done
}
killed() { killed_after 1800 budget=2000; }
offline() {
    begin budget=1800
    note "$perf record -q -a -e $event -o $name.data -- work -s 3 -t 4 (CPU 2 is off for 0.5 s)"
    $perf record -q -a -e "$event" -o "/out/$name.data" -- work -s 3 -t 4 &
    recording=$!
    placed_records 1
    sleep 0.5
    echo 0 >/sys/devices/system/cpu/cpu2/online
    sleep 0.5
    echo 1 >/sys/devices/system/cpu/cpu2/online
    wait $recording
}
wildcard() { begin; run $perf record -q -e arm_spe/pa_enable=1,load_filter=1,store_filter=1/ -a -o "/out/$name.data" -- work -s 1.5 -t 2; }
delay() { begin; run $perf record -q -D 500 -a -e "$event" -o "/out/$name.data" -- work -s 1.5 -t 2; }
# The reader is stopped for half a second, so that every ring is full once.
stopped() {
    begin budget=0 burst=8
    note "$perf record -q -m ,16 -a -e $event -o $name.data -- work -s 6 -t 4 (stopped for 0.5 s)"
    $perf record -q -m ,16 -a -e "$event" -o "/out/$name.data" -- work -s 6 -t 4 &
    recording=$!
    placed_records 1
    sleep 1
    kill -STOP "$(recorder $perf)"
    sleep 0.5
    kill -CONT "$(recorder $perf)"
    wait $recording
}

# A user whom the kernel does not show contexts: the driver leaves them out of records then.
as_user() {
    mkdir -p /tmp/user
    chown 1000 /tmp/user
    chmod 1777 /tmp
    chmod 666 /dev/virtual_spe
    work -u 1000 "$@"
}
no_context() {
    begin
    echo -1 >/proc/sys/kernel/perf_event_paranoid
    note "as a user, perf_event_paranoid -1: $perf record -q -a -e $event -o $name.data -- work -s 1.5 -t 2 -m 100 -c 4"
    as_user $perf record -q -a -e "$event" -o "/tmp/user/$name" -- work -s 1.5 -t 2 -m 100 -c 4
    mv "/tmp/user/$name" "/out/$name.data"
}
no_context_task() {
    begin
    echo -1 >/proc/sys/kernel/perf_event_paranoid
    note "as a user, perf_event_paranoid -1: $perf record -q -e $event -o $name.data -- work -s 1.5 -t 2 -m 100 -c 4"
    as_user $perf record -q -e "$event" -o "/tmp/user/$name" -- work -s 1.5 -t 2 -m 100 -c 4
    mv "/tmp/user/$name" "/out/$name.data"
}

# Two units: arm_spe_0 has CPUs 0 and 1, arm_spe_1 has 2 and 3.
two='arm_spe_1/pa_enable=1,ts_enable=1,jitter=1/'
two_all() { begin; run $perf record -q -a -e "$event" -e "$two" -o "/out/$name.data" -- work -s 1.5 -t 4 -m 100 -c 4; }
two_task() { begin; run $perf record -q -e "$event" -e "$two" -o "/out/$name.data" -- work -s 1.5 -t 4 -m 100 -c 4; }
two_second() { begin; run $perf record -q -a -e "$two" -o "/out/$name.data" -- work -s 1.5 -t 4 -m 100 -c 4; }
two_pipe() {
    begin
    note "$perf record -q -a -e $event -e $two -o - -- work -s 1.5 -t 4 -m 100 -c 4 | cat >$name.data"
    $perf record -q -a -e "$event" -e "$two" -o - -- work -s 1.5 -t 4 -m 100 -c 4 | cat >"/out/$name.data"
}

# Two megabytes a page.
huge() { begin; run $perf record -q -a -e "$event" -o "/out/$name.data" -- work -s 1.5 -t 2 -H -p 2048 -h 40; }
