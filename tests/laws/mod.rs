//! What must hold for every input, as functions of any bytes: the fuzz targets and a test that
//! replays their corpus call the same ones. They panic where a law is broken.

mod choices;
mod container;
mod cost;
mod differential;
mod ibs;
mod intel_pt;
mod layouts;
mod pebs;
mod pieces;
mod probe;
mod samples;
mod spe;
mod summary;
mod who;

pub use choices::Choices;
pub use container::container;
pub use cost::{ORDINARY, ORDINARY_COMPRESSED, check as check_cost, cost};
pub use differential::differential;
pub use ibs::ibs;
pub use intel_pt::intel_pt;
pub use layouts::layouts;
pub use pebs::pebs;
pub use samples::samples;
pub use spe::spe;
pub use summary::{Keep, summary, summed_up};
pub use who::who;

/// A law of any bytes.
pub type Law = fn(&[u8]);

/// All laws by the names of their fuzz targets.
pub const ALL: [(&str, Law); 11] = [
    ("container", container),
    ("cost", cost),
    ("differential", differential),
    ("ibs", ibs),
    ("intel_pt", intel_pt),
    ("layouts", layouts),
    ("pebs", pebs),
    ("samples", samples),
    ("spe", spe),
    ("summary", summary),
    ("who", who),
];
