//! What is counted as it happens, by labels that are all there from the start.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

/// Upper ends of the histogram of answers' times, in seconds.
const BUCKETS: [f64; 10] = [0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0];
/// The methods that are told apart.
pub(super) const METHODS: [&str; 7] = [
    "GetHotFraction",
    "BatchGetHotFractions",
    "GetFolio",
    "ListFolios",
    "GetDistribution",
    "WatchDecisions",
    "GetStatus",
];

/// The codes that answers can have.
const CODES: [&str; 10] = [
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
    "UNAVAILABLE",
];

/// Labels of answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Answered {
    method: &'static str,
    code: &'static str,
}

/// Label of the time of answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Timed {
    method: &'static str,
}

/// What is counted as it happens. Everything else is read off the latest snapshot.
#[derive(Debug)]
pub(super) struct Metrics {
    /// Answers by method and code.
    pub(super) answers: Family<Answered, Counter>,
    /// Time that answers took.
    pub(super) times: Family<Timed, Histogram>,
    /// Whether what is read again could be the last time, and when it was: in the beginning, at
    /// the start.
    pub(super) reloaded: Mutex<(bool, SystemTime)>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let times = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let reloaded = Mutex::new((true, SystemTime::now()));
        let metrics = Self { answers: Family::default(), times, reloaded };
        for method in METHODS {
            for code in CODES {
                drop(metrics.answers.get_or_create(&Answered { method, code }));
            }
            drop(metrics.times.get_or_create(&Timed { method }));
        }
        metrics
    }

    /// Takes note of whether what is read again could be.
    pub(super) fn reloaded(&self, worked: bool) {
        *self.reloaded.lock().unwrap_or_else(PoisonError::into_inner) = (worked, SystemTime::now());
    }

    /// Takes note of an answer.
    pub(super) fn answered(&self, method: &'static str, code: tonic::Code, time: Duration) {
        self.answers.get_or_create(&Answered { method, code: name(code) }).inc();
        self.times.get_or_create(&Timed { method }).observe(time.as_secs_f64());
    }
}

/// A code as gRPC names it.
pub(super) fn name(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
