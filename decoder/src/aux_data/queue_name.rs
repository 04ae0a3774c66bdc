//! Which queue a record stood in.

use core::fmt;

use crate::perf::QueueKey;
use crate::{Access, Source};

/// The queue of a record: records of one queue have an order of their own, whatever form the
/// recording has. It is a ring of AUX data, or the sample records of one CPU.
///
/// It is printed as `spe2/cpu7`, `pt0/tid4711` or `samples/cpu3`: what made the records, the number
/// of the ring, and whose ring it is. What the recording does not tell is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueName {
    /// A ring of AUX data.
    Aux(Source, QueueKey),
    /// The sample records of this CPU; without one, all of those that name none.
    Samples(Option<u32>),
}

impl Access {
    /// The queue that its record stood in.
    pub const fn queue(&self) -> QueueName {
        match self.aux_queue {
            Some(key) => QueueName::Aux(self.origin.source, key),
            None => QueueName::Samples(self.origin.cpu),
        }
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cpu, tid) = match self {
            Self::Aux(source, key) => {
                let name = if *source == Source::ArmSpe { "spe" } else { "pt" };
                write!(f, "{name}{}", key.idx)?;
                (key.cpu, key.tid)
            }
            Self::Samples(cpu) => {
                f.write_str("samples")?;
                (*cpu, None)
            }
        };
        if let Some(cpu) = cpu {
            write!(f, "/cpu{cpu}")?;
        }
        if let Some(tid) = tid {
            write!(f, "/tid{tid}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_queues_have_different_names() {
        let key = |idx, cpu, tid| QueueKey { idx, cpu, tid };
        let cases = [
            (QueueName::Aux(Source::ArmSpe, key(2, Some(7), None)), "spe2/cpu7"),
            (QueueName::Aux(Source::ArmSpe, key(2, Some(8), None)), "spe2/cpu8"),
            (QueueName::Aux(Source::ArmSpe, key(2, None, Some(8))), "spe2/tid8"),
            (QueueName::Aux(Source::ArmSpe, key(2, Some(8), Some(9))), "spe2/cpu8/tid9"),
            (QueueName::Aux(Source::IntelPt, key(0, None, None)), "pt0"),
            (QueueName::Samples(Some(3)), "samples/cpu3"),
            (QueueName::Samples(None), "samples"),
        ];
        for (name, text) in cases {
            assert_eq!(name.to_string(), text);
        }
    }
}
