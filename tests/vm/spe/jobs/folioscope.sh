# shellcheck shell=dash
# Variables of lib.sh, which stands in front.
# shellcheck disable=SC2154,SC2086,SC2034
# Forms of folioscope as the recorder, and what it says of the unit. Four CPUs are assumed.

# expect STATUS WORD...: runs a command, whose exit status must be this one.
expect() {
    wanted=$1
    shift
    "$@" >/tmp/said 2>&1
    status=$?
    if [ $status = "$wanted" ]; then echo "ok: $name: $* ends with $status"; else
        echo "FAILED: $name: $* ends with $status instead of $wanted"
        sed 's/^/said: /' /tmp/said
    fi
}
# says WORDS: what the last command said must have these.
says() {
    if grep -q -- "$1" /tmp/said; then echo "ok: $name: says '$1'"; else
        echo "FAILED: $name: does not say '$1'"
        sed 's/^/said: /' /tmp/said
    fi
}
says_not() {
    if grep -q -- "$1" /tmp/said; then
        echo "FAILED: $name: says '$1'"
        sed 's/^/said: /' /tmp/said
    fi
}
recorded() {
    note "folioscope record $*"
    expect 0 folioscope record -o "/out/$name.data" "$@"
}

fs_command() { begin; recorded --event spe -- work -s 1.5 -t 3 -m 100 -c 4; }
# perf's reading of what folioscope wrote, in both forms of its metadata.
fs_metadata() {
    begin
    note "folioscope record -- work -s 1.5 -t 3 -m 100 -c 4"
    expect 0 folioscope record -o "/out/$name.data" --spe-metadata "${metadata:-1}" -- work -s 1.5 -t 3 -m 100 -c 4
    for version in ${readers:-61 612 7}; do
        perf$version script -i "/out/$name.data" --itrace=M -F pid,tid,cpu,addr,phys_addr >"/out/$name.script-$version" 2>"/out/$name.script-$version.err"
        echo "note: $name: perf$version script: $? $(wc -l <"/out/$name.script-$version") lines $(tr '\n' '|' <"/out/$name.script-$version.err")"
    done
}
fs_metadata_1() { metadata=1 readers='61 612 7' fs_metadata; }
# perf 6.12 takes version 2 for an empty one (it came with 6.13), so that only newer ones are asked.
fs_metadata_2() { metadata=2 readers=7 fs_metadata; }
fs_all() {
    begin budget=2000
    work -s 6 -t 3 -f 2 -m 100 -c 4 &
    sleep 1
    recorded --duration 2s
    wait
}
fs_exec() { begin budget=2000; recorded -- work -s 0.7 -t 3 -f 2 -x 1 -m 50 -c 4 -p 300 -h 20; }
fs_pid() {
    begin budget=2500
    work -s 6 -t 3 -f 1 -m 100 -c 4 &
    worker=$!
    sleep 1
    recorded --pid $worker --duration 2s
    wait
}
fs_stream() {
    begin
    note "folioscope record -o - -- work -s 1.5 -t 3 >$name.data"
    folioscope record -o - -- work -s 1.5 -t 3 >"/out/$name.data" || echo "FAILED: $name: exit status $?"
}
fs_compact() { begin compact=1 budget=2500 burst=20; recorded --aux-size 64KiB -- work -s 1.5 -t 3 -m 100 -c 4; }
fs_collide() { begin budget=2500 collide=2 burst=20; recorded --aux-size 64KiB -- work -s 1.5 -t 3; }
fs_filter() { begin; recorded --loads --min-latency 30 --set event_filter=2 -- work -s 2 -t 2; }
fs_huge() { begin budget=2500; recorded -- work -s 1.5 -t 3 -H -p 2048 -h 40; }
# The smallest ring there is, and more than a reader can take.
fs_tiny() { begin budget=80000 burst=400; recorded --aux-size 64KiB -- work -s 4 -t 4 -c 4; }
fs_tiny_compact() { begin budget=80000 burst=400 compact=1; recorded --aux-size 64KiB -- work -s 4 -t 4 -c 4; }
fs_tiny_all() {
    begin budget=80000 burst=400
    work -s 8 -t 4 &
    sleep 1
    recorded --aux-size 64KiB --duration 4s
    says_not 'unit was shared'
    wait
}
# stopped_reader SECONDS WORD...: the reader is stopped for half a second, so that every ring is full once.
stopped_reader() {
    after=$1
    shift
    note "folioscope record $* (stopped for 0.5 s after $after s)"
    folioscope record -o "/out/$name.data" "$@" &
    recording=$!
    placed_records 1
    sleep "$after"
    kill -STOP $recording
    sleep 0.5
    kill -CONT $recording
    wait $recording || echo "FAILED: $name: exit status $?"
}
fs_stop_all() {
    begin budget=0 burst=8
    work -s 9 -t 4 &
    sleep 1
    stopped_reader 0.5 --aux-size 64KiB --duration 6s
    wait
}
fs_stop_command() { begin budget=0 burst=8; stopped_reader 0.5 --aux-size 64KiB -- work -s 6 -t 4; }
fs_offline() {
    begin budget=0 burst=2
    work -s 10 -t 4 -m 50 -c 4 &
    sleep 1
    note "folioscope record --duration 5s (CPU 2 is off for 1 s)"
    folioscope record -o "/out/$name.data" --duration 5s &
    recording=$!
    placed_records 1
    sleep 0.5
    echo 0 >/sys/devices/system/cpu/cpu2/online
    sleep 1
    echo 1 >/sys/devices/system/cpu/cpu2/online
    wait $recording || echo "FAILED: $name: exit status $?"
    wait
}
fs_late_cpu() {
    begin budget=0 burst=2
    echo 0 >/sys/devices/system/cpu/cpu3/online
    work -s 10 -t 4 -m 50 -c 4 &
    sleep 1
    note "folioscope record --duration 4s (CPU 3 comes after 1 s)"
    folioscope record -o "/out/$name.data" --duration 4s &
    recording=$!
    placed_records 1
    echo 1 >/sys/devices/system/cpu/cpu3/online
    wait $recording || echo "FAILED: $name: exit status $?"
    wait
}
# CPU 0 may be offline where the kernel lets it: its name of the processor is another CPU's then.
fs_without_cpu_0() {
    begin
    if ! echo 0 2>/dev/null >/sys/devices/system/cpu/cpu0/online; then
        echo "NOT RUN: $name: CPU 0 of this kernel cannot go offline"
        note "not run"
        return
    fi
    recorded -- work -s 1.5 -t 2
    echo 1 >/sys/devices/system/cpu/cpu0/online
    perf612 report -i "/out/$name.data" --header-only 2>/dev/null | grep -E '^# cpuid' | sed 's/^/note: /'
}
fs_interrupted() {
    begin
    work -s 6 -t 2 &
    sleep 1
    note "folioscope record (SIGINT after 1.5 s)"
    folioscope record -o "/out/$name.data" &
    recording=$!
    placed_records 1
    sleep 1
    kill -INT $recording
    wait $recording || echo "FAILED: $name: exit status $?"
    wait
}
# Everything at once: CPUs come and go, rings are tiny, the reader is stopped, signals arrive.
fs_storm() {
    begin budget=60000 burst=60
    work -s 9 -t 4 -m 50 -c 4 &
    sleep 1
    note "folioscope record --aux-size 64KiB --duration 6s (CPUs 2 and 3 go and come, the reader is stopped twice, SIGWINCH)"
    folioscope record -o "/out/$name.data" --aux-size 64KiB --duration 6s &
    recording=$!
    placed_records 1
    for turn in 1 2; do
        sleep 0.7
        echo 0 >/sys/devices/system/cpu/cpu2/online
        kill -WINCH $recording
        sleep 0.4
        kill -STOP $recording
        echo 0 >/sys/devices/system/cpu/cpu3/online
        sleep 0.3
        kill -CONT $recording
        echo 1 >/sys/devices/system/cpu/cpu2/online
        sleep 0.5
        kill -WINCH $recording
        echo 1 >/sys/devices/system/cpu/cpu3/online
    done
    wait $recording || echo "FAILED: $name: exit status $?"
    wait
}
fs_storm_1() { fs_storm; }
fs_storm_2() { fs_storm; }
fs_storm_3() { fs_storm; }
fs_storm_4() { fs_storm; }
fs_storm_5() { fs_storm; }
fs_storm_6() { fs_storm; }
fs_storm_7() { fs_storm; }
fs_storm_8() { fs_storm; }
fs_storm_9() { fs_storm; }
fs_storm_10() { fs_storm; }

# With spare=2 the last two CPUs have no unit: a task that starts there is known when it comes to one that has it.
fs_spare() {
    begin
    note "folioscope record --duration 4s (CPUs 2 and 3 have no unit, work starts there)"
    folioscope record -o "/out/$name.data" --duration 4s &
    recording=$!
    sleep 1
    taskset -c 2 work -s 2 -t 2 -f 2 -m 200 -c 2
    wait $recording || echo "FAILED: $name: exit status $?"
}

doctor() {
    begin
    expect 0 folioscope doctor
    says arm_spe_0
    cp /tmp/said "/out/$name.said"
    folioscope doctor --format json >"/out/$name.json"
    note "folioscope doctor"
}
user() {
    begin
    echo 1 >/proc/sys/kernel/perf_event_paranoid
    note "as a user, perf_event_paranoid 1: folioscope record -- work -s 1.5 -t 2"
    as_user folioscope record -o "/tmp/user/$name" -- work -s 1.5 -t 2
    mv "/tmp/user/$name" "/out/$name.data"
    echo -1 >/proc/sys/kernel/perf_event_paranoid
}
# The unit is one user's alone: whoever comes second is told who has it, and --yield waits.
busy() {
    begin
    note "perf and folioscope want the same unit"
    work -s 14 -t 2 &
    worker=$!
    perf612 record -q -a -e "$event" -o /tmp/busy.data -- sleep 6 &
    placed_records 1
    expect 1 folioscope record -o /tmp/x.data --duration 1s
    says 'in use'
    expect 1 folioscope record -o /tmp/x.data --duration 1s --pid $worker
    expect 0 folioscope record --yield -o /tmp/y.data --duration 8s
    [ -s /tmp/y.data ] || echo "FAILED: $name: --yield has recorded nothing"
    folioscope record -o /tmp/z.data --duration 6s &
    sleep 3
    expect 255 perf612 record -q -a -e "$event" -o /tmp/busy2.data -- sleep 0.1
    wait
}
# A daemon that follows the unit: all that was placed is counted soon after the workload's end, also while other records come.
serve() {
    begin budget=0 burst=2 others="${others:-1}"
    note "folioscope serve --live (others=${others:-1})"
    work -s 7 -t 3 -m 100 -c 4 &
    worker=$!
    sleep 1
    folioscope serve --live --cooling-interval 0s --allow-unprivileged --grpc unix:/tmp/f.sock --http tcp:127.0.0.1:8080 2>"/out/$name.err" &
    daemon=$!
    for turn in 1 2 3 4 5 6 7 8; do
        sleep 1
        wget -qO- http://127.0.0.1:8080/readyz >/dev/null && break
    done
    expect 0 folioscope health --service unix:/tmp/f.sock
    wait $worker
    # A program without registered pages runs meanwhile; the unit samples branches of its.
    timeout 8 sh -c 'while :; do :; done' &
    sleep 6
    wget -qO "/out/$name.metrics" http://127.0.0.1:8080/metrics
    wget -qO "/out/$name.overview" http://127.0.0.1:8080/api/v1/overview
    cat $debug/log >"/out/$name.log-then"
    kill -TERM $daemon
    wait $daemon || echo "FAILED: $name: the daemon ended with $?"
    wait
}
serve_quiet() { others=0 serve; }
