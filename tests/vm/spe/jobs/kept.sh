# shellcheck shell=dash
# Variables of lib.sh, which stands in front.
# shellcheck disable=SC2154,SC2086,SC2034
# Recordings that are kept in testdata/virtual: each under 200 KB.

# One process with a block of which few pages are hot and a block that is touched now and then, and one with a block that is
# hot throughout.
judged() {
    begin budget=2800 compact=1 burst=6
    run $perf record -q -e "$event" -o "/out/$name.data" -- \
        sh -c 'work -s 2 -H -p 1024 -h 24 -t 2 & work -s 2 -H -p 512 -h 0 -t 2; wait'
}
truncated() { begin budget=1000 burst=40; run $perf record -q -m ,4 -a -e "$event" -o "/out/$name.data" -- work -s 1.5 -t 4 -c 4; }
compressed() { begin budget=1200 compact=1; run $perf record -q -z -a -e "$event" -o "/out/$name.data" -- work -s 1 -t 4 -m 100 -c 4; }
collisions() { begin budget=1000 compact=1 burst=10 collide=2; run $perf record -q -m ,4 -a -e "$event" -o "/out/$name.data" -- work -s 1 -t 4; }
two_processes() { begin budget=1000 compact=1; run $perf record -q -e "$event" -o "/out/$name.data" -- work -s 1 -f 1 -x 1 -p 300 -h 20; }
unfinished() { killed_after 1100 budget=1200 compact=1; }
by_folioscope() { begin budget=1200 compact=1; recorded --spe-metadata 2 -- work -s 1.5 -t 3 -m 100 -c 4; }
