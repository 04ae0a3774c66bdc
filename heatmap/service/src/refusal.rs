//! Why a question has no answer.

use decoder::FolioPfn;
use tonic::Code;

/// Fields of questions.
const FIELDS: [&str; 14] = [
    "pfn",
    "physical_address",
    "pfns",
    "order",
    "hot_threshold",
    "min_accesses",
    "verdicts",
    "min_hot_percent",
    "max_hot_percent",
    "first_pfn",
    "last_pfn",
    "order_by",
    "page_size",
    "cells",
];

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What kind of refusal it is.
    pub(super) code: Code,
    /// The reason as programs know it.
    pub(super) reason: &'static str,
    /// The field that is wrong.
    pub(super) field: Option<&'static str>,
    /// The reason as people read it.
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, field: None, message: message.into() }
    }

    /// A field of the question is wrong.
    pub(super) fn wrong(field: &'static str, message: impl Into<String>) -> Self {
        let message = format!("{field}: {}", message.into());
        Self { field: Some(field), ..Self::new(Code::InvalidArgument, "INVALID_FIELD", message) }
    }

    /// Who asks may not.
    pub(super) fn not_allowed() -> Self {
        let message = "page frames and counters are for root, the daemon's group and clients with a \
                       certificate; --allow-unprivileged opens them to everybody";
        Self::not_allowed_because(message)
    }

    /// Who asks may not, for a reason of its own.
    pub(super) fn not_allowed_because(message: &str) -> Self {
        Self::new(Code::PermissionDenied, "NOT_PRIVILEGED", message)
    }

    /// The daemon ends.
    pub(super) fn ending() -> Self {
        Self::new(Code::Unavailable, "ENDING", "the daemon is ending")
    }

    /// Something is used up.
    pub(super) fn too_many(message: impl Into<String>) -> Self {
        Self::new(Code::ResourceExhausted, "LIMIT_REACHED", message)
    }

    /// A parameter of a URL is wrong.
    pub(super) fn wrong_parameter(name: &str, why: &str) -> Self {
        // Names of fields are few, and known.
        let field = FIELDS.into_iter().find(|field| *field == name);
        let message = format!("{name}: {why}");
        Self { field, ..Self::new(Code::InvalidArgument, "INVALID_FIELD", message) }
    }

    /// A bug of ours.
    pub(super) fn failed() -> Self {
        Self::new(Code::Internal, "FAILED", "the answer failed")
    }

    /// Nothing is known of a folio.
    pub(super) fn no_samples(folio: FolioPfn) -> Self {
        let message = format!("no accesses to the folio at PFN {:#x}", folio.get());
        Self::new(Code::NotFound, "NO_SAMPLES", message)
    }
}
