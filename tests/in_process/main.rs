//! Tests of the libraries on files and streams, without starting a program.
//!
//! | module | question |
//! | --- | --- |
//! | `threads` | is the result the same with any number of threads, however the work is cut? |
//! | `tasks` | is what is told of tasks told in its place? |
//! | `each` | does the short way into the decoder give every access? |
//! | `costs` | does no input take more steps or memory than its size allows? |
//! | `summaries` | can all that a report says be computed from the records? |
//! | `who` | does each access have the process and thread that it had, in every form? |
//! | `corpus` | do all laws hold for what fuzzing has found worth keeping? |
#![forbid(unsafe_code)]

mod corpus;
mod costs;
mod each;
mod summaries;
mod tasks;
mod threads;
mod who;
