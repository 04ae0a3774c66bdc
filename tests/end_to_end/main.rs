//! End-to-end tests: the program `folioscope` on files, folders and streams, against what is known of them without it.
//!
//! | module | question |
//! | --- | --- |
//! | `pages` | are the counts those of the recorded workloads and of the made traces? |
//! | `forms` | do file, folder and stream, one thread and many say the same? |
//! | `truth` | does each record have the values that perf has for it? |
//! | `columns` | what is told of each access beside its address: queue, translation, source |
//! | `second_opinion` | does another reader see the same samples? |
//! | `generated` | does it find what a generator knows it wrote, whole and damaged? |
//! | `intel_pt` | are PEBS records in Intel PT listed as they were written? |
//! | `report`, `decisions`, `filters` | do outputs and options keep the contract? |
//! | `parts` | is a recording of a part of a machine told from one of the whole? |
//! | `summaries` | can all that a report says be computed from what `records` lists? |
//! | `report_and_daemon` | does a daemon say of a block what a report says, whatever the query? |
//! | `page_map` | do accesses without a physical address get the one that a saved page map has? |
//! | `incomplete` | is what is missing from a recording told: announced data, overwritten rings, unfinished files? |
//! | `aux_data`, `side_records` | joins, gaps and snapshots of AUX data; losses and records beside the samples |
//! | `ibs`, `raw_pebs`, `raw_spe` | registers of AMD's IBS in RAW; raw PEBS buffers of every format; a buffer of SPE |
//! | `compressed` | compressed inputs, files on pipes, and what is saved for them |
//! | `who`, `guests` | whose accesses are they, and which of a virtual machine's count? |
//! | `ibs`, `raw_pebs` | registers of AMD's IBS in RAW; raw PEBS buffers of every format |
//! | `doctor` | does it describe this machine, whatever it is? |
//! | `service` | does the daemon answer, refuse and end as it should? |
//! | `verdict_over_time` | are evenly hot blocks left alone at every look, and sparse ones found? |
//! | `feeder` | does the kernel read what was decided, through a real file, and whoever dies? |
//! | `record` | are live captures right, refused clearly, ended whole, and read by perf? |
//! | `bad_input` | what happens with input that is none, damaged, cut or hostile? |
//!
//! `program` starts the program.
#![forbid(unsafe_code)]

mod program;

mod aux_data;
mod bad_input;
mod columns;
mod compressed;
mod decisions;
mod doctor;
mod feeder;
mod filters;
mod forms;
mod generated;
mod guests;
mod ibs;
mod incomplete;
mod intel_pt;
mod page_map;
mod pages;
mod parts;
mod raw_pebs;
mod raw_spe;
mod record;
mod report;
mod report_and_daemon;
mod second_opinion;
mod service;
mod side_records;
mod summaries;
mod truth;
mod verdict_over_time;
mod who;
