//! What `perf record` was told to record, by its arguments (`tools/perf/builtin-record.c`,
//! `tools/perf/util/target.c`).

/// Short options with an argument, which may stand in the same word.
const SHORT_WITH_ARGUMENT: &str = "eptrCcoFmGDujk";
/// Long ones.
const LONG_WITH_ARGUMENT: [&str; 33] = [
    "event",
    "filter",
    "pid",
    "tid",
    "realtime",
    "cpu",
    "count",
    "output",
    "freq",
    "mmap-pages",
    "mmap-flush",
    "call-graph",
    "cgroup",
    "delay",
    "uid",
    "branch-filter",
    "clockid",
    "proc-map-timeout",
    "clang-path",
    "clang-opt",
    "vmlinux",
    "switch-output-event",
    "switch-max-files",
    "affinity",
    "max-size",
    "num-thread-synthesize",
    "pfm-events",
    "control",
    "synth",
    "off-cpu-thresh",
    "setup-filter",
    "ldlat",
    "type",
];

/// What `perf record` was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments<'a> {
    /// The CPUs that it recorded alone, as they were written: the value of `-C`. `None` if it
    /// recorded all, or single tasks, which are followed to all CPUs: `-p` and `-t` win over `-C`.
    pub(crate) cpus: Option<&'a str>,
    /// It wrote several files one after another (`--switch-output`).
    pub(crate) switches_output: bool,
    /// The last files that it kept of them (`--switch-max-files`); 0 stands for all.
    pub(crate) max_files: u64,
}

/// Reads a command line of perf's, the program's name first. Nothing was told if it is none of
/// `perf record`.
pub(crate) fn arguments(words: &[String]) -> Arguments<'_> {
    recorded(words).unwrap_or_default()
}

fn recorded(arguments: &[String]) -> Option<Arguments<'_>> {
    let at = arguments.iter().skip(1).take_while(|word| *word != "--");
    let record = 1 + at.into_iter().position(|word| word == "record")?;
    let within = |command: &str| arguments[1..record].iter().any(|word| word == command);
    let (c2c, mem) = (within("c2c"), within("mem"));
    // These two give what follows the first "--" to `perf record`.
    let mut wrapped = c2c || mem;
    let mut words = arguments[record + 1..].iter().map(String::as_str);
    let (mut told, mut tasks) = (Arguments::default(), false);
    while let Some(word) = words.next() {
        if word == "--" && core::mem::take(&mut wrapped) {
            continue;
        }
        let long = word.strip_prefix("--").filter(|option| !option.is_empty());
        if let Some(option) = long {
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None if LONG_WITH_ARGUMENT.contains(&option) => (option, words.next()),
                None => (option, None),
            };
            match name {
                "pid" | "tid" => tasks = true,
                "cpu" => told.cpus = value.or(told.cpus),
                "switch-output" => told.switches_output = true,
                "switch-max-files" => {
                    told.max_files = value.and_then(|most| most.parse().ok()).unwrap_or(0);
                }
                _ => {}
            }
            continue;
        }
        // What is no option begins the command, whose words are its own.
        let Some(mut letters) = word.strip_prefix('-').filter(|letters| *letters != "-") else {
            break;
        };
        while let Some(letter) = letters.chars().next() {
            letters = &letters[letter.len_utf8()..];
            // Letters of `perf c2c` and `perf mem` themselves (`tools/perf/builtin-mem.c`: physical
            // addresses, and the type of access).
            let own =
                (c2c && matches!(letter, 'u' | 'k' | 'l')) || (mem && matches!(letter, 'p' | 't'));
            let takes = match own {
                true => matches!(letter, 'l' | 't'),
                false => SHORT_WITH_ARGUMENT.contains(letter),
            };
            if !takes {
                // What -I, -S and -z take stands in the same word.
                if matches!(letter, 'I' | 'S' | 'z') {
                    break;
                }
                continue;
            }
            let value = if letters.is_empty() { words.next() } else { Some(letters) };
            match letter {
                'p' | 't' if !own => tasks = true,
                'C' => told.cpus = value.or(told.cpus),
                _ => {}
            }
            break;
        }
    }
    told.cpus = told.cpus.filter(|_| !tasks);
    Some(told)
}

#[cfg(test)]
mod tests {
    #[test]
    fn cpus_are_those_of_perf_and_not_of_its_command() {
        let rows = [
            ("perf record -C 1 -e arm_spe_0/pa_enable=1/ -o x -- sleep 10", Some("1")),
            ("/usr/bin/perf record -e cycles -C 0-3,8", Some("0-3,8")),
            ("perf record -C1 -a", Some("1")),
            ("perf record -aC 1 -d", Some("1")),
            ("perf record --cpu=2-4 sleep 1", Some("2-4")),
            ("perf record -g --cpu 5 -z9 make", Some("5")),
            ("perf record -C 1 -C 2", Some("2")),
            ("perf mem record -a -- -C 3 sleep 1", Some("3")),
            ("perf mem record -C 3 -- sleep 1", Some("3")),
            ("perf mem record -p -C 3 -a", Some("3")),
            ("perf mem record -t load -C 3", Some("3")),
            ("perf mem record -tload -pC3", Some("3")),
            ("perf mem -p record -C 3", Some("3")),
            ("perf c2c record -u -k -- -C 3", Some("3")),
            ("perf kvm --host record -C 4", Some("4")),
            // Tasks are followed to all CPUs, and all CPUs are all.
            ("perf record -p 4711 -C 1", None),
            ("perf record -C 1 --tid 4711", None),
            ("perf record -t 4711 -C 1", None),
            ("perf record -C 1 --pid=4711", None),
            ("perf record -a -e ibs_op// -- sleep 10", None),
            ("perf record -e x -d --phys-data -a", None),
            // Words of the command that was run.
            ("perf record -a make -C 3", None),
            ("perf record -a -- make -C 3", None),
            ("perf record -e x -c 1000 -m 4,64 taskset -C 3", None),
            ("perf mem record -a -- make -C 3", None),
            ("perf record -I -S0x1000 -C 7 x", Some("7")),
            // An argument of another option, no option.
            ("perf record -o -C 3", None),
            ("perf record -C", None),
            // Other commands of perf's, and none.
            ("perf report -C 3", None),
            ("perf inject --itrace -i x", None),
            ("perf -- record -C 3", None),
            ("perf", None),
            ("", None),
        ];
        for (line, want) in rows {
            let arguments: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(super::arguments(&arguments).cpus, want, "{line}");
        }
    }

    #[test]
    fn files_one_after_another_are_those_of_perf_and_not_of_its_command() {
        let rows = [
            ("perf record -a --switch-output", true, 0),
            ("perf record --switch-output=1G --switch-max-files 3 -a", true, 3),
            ("perf record -C 1 --switch-output --switch-max-files=4 -p 7", true, 4),
            ("perf mem record -- --switch-output -a", true, 0),
            ("perf record -a", false, 0),
            ("perf record -a mytool --switch-output", false, 0),
            ("perf record -a -- mytool --switch-output --switch-max-files 3", false, 0),
            ("perf record -o --switch-output", false, 0),
            ("perf report --switch-output", false, 0),
        ];
        for (line, switches_output, max_files) in rows {
            let arguments: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            let told = super::arguments(&arguments);
            assert_eq!(
                (told.switches_output, told.max_files),
                (switches_output, max_files),
                "{line}"
            );
        }
    }
}
