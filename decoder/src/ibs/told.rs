//! What an op tells of an access.

use super::data_source::{data_source, is_modified};
use super::op::{Data3, Op};
use crate::{AccessFlags, DataSource, Tlb};

impl Op {
    /// Where its data came from.
    pub fn data_source(&self) -> Option<DataSource> {
        self.direction().and_then(|_| data_source(self))
    }

    /// What else they tell.
    pub fn flags(&self) -> AccessFlags {
        let mut flags = AccessFlags::empty();
        let cacheable = !self.data3.contains(Data3::UNCACHEABLE);
        flags.set(AccessFlags::L1_MISS, cacheable && self.touches(Data3::DC_MISS));
        let l2_miss = self.touches(Data3::DC_MISS | Data3::L2_MISS) && !self.is_erratum_1293();
        flags.set(AccessFlags::L2_MISS, cacheable && l2_miss);
        flags |= self.tlb().map_or(AccessFlags::empty(), Tlb::flags);
        flags.set(AccessFlags::MISALIGNED, self.touches(Data3::MISALIGNED));
        flags.set(AccessFlags::LOCKED, self.touches(Data3::LOCKED));
        let remote = match self.data_source() {
            Some(DataSource::RemoteDram | DataSource::RemoteCache) => true,
            Some(DataSource::Pmem | DataSource::Cxl) => self.data2.remote(self.caps),
            _ => false,
        };
        flags.set(AccessFlags::REMOTE, remote);
        let other_socket = remote && self.data2.is_other_socket(self.caps);
        flags.set(AccessFlags::REMOTE_SOCKET, other_socket);
        let streaming = self.touches(Data3::STORE) && self.data2.is_streaming(self.caps);
        flags.set(AccessFlags::STREAMING_STORE, streaming);
        flags.set(AccessFlags::HITM, is_modified(self));
        flags
    }
}
