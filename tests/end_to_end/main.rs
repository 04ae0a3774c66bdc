//! End-to-end tests: the program `folioscope` on files, folders and streams, against what is known of them without it.
//!
//! | module | question |
//! | --- | --- |
//! | `pages` | are the counts those of the recorded workloads and of the made traces? |
//! | `forms` | do file, folder and stream, one thread and many say the same? |
//! | `threads` | is the result the same with any number of threads, however the work is cut? |
//! | `truth` | does each record have the values that perf has for it? |
//! | `second_opinion` | does another reader see the same samples? |
//! | `generated` | does it find what a generator knows it wrote, whole and damaged? |
//! | `report`, `decisions`, `filters` | do outputs and options keep the contract? |
//! | `aux_data`, `side_records` | joins, gaps and snapshots of AUX data; losses and records beside the samples |
//! | `service` | does the daemon answer, refuse and end as it should? |
//! | `feeder` | does the kernel read what was decided, through a real file, and whoever dies? |
//! | `record` | are live captures right, refused clearly, ended whole, and read by perf? |
//! | `bad_input` | what happens with input that is none, damaged, cut or hostile? |
//!
//! `program` starts the program, `container` takes recordings apart, `made` writes small ones.
#![forbid(unsafe_code)]

mod container;
mod corpus;
mod made;
mod program;

mod aux_data;
mod bad_input;
mod decisions;
mod feeder;
mod filters;
mod forms;
mod generated;
mod pages;
mod record;
mod report;
mod second_opinion;
mod service;
mod side_records;
mod threads;
mod truth;
