//! What a recording says of its events and its machine before its first record.

use std::os::fd::AsFd;

use super::event::Role;
use super::open;
use super::open_events::{OpenCpu, OpenEvents};
use super::refusal::Attempt;
use crate::live::error::Error;
use crate::live::output::synthesized::{About, Bytes, EventAbout, SpeCpuAbout, TaskAbout, feature};
use crate::live::ring::mapped::TimeConversion;

impl OpenEvents {
    /// What stands around the records, of all events that are open now.
    pub(in crate::live) fn about(&self) -> Result<About, Error> {
        let events: Result<Vec<_>, Error> = (0..self.setups.len())
            .map(|number| self.event_about(number, &self.open_cpus))
            .collect();
        Ok(About {
            events: events?,
            features: self.features(),
            time: self.time_conversion(),
            spe: self.spe(),
            spe_metadata: self.spe_metadata,
            tasks: self.tasks(),
        })
    }

    pub(super) fn event_about(
        &self,
        number: usize,
        open_cpus: &[OpenCpu],
    ) -> Result<EventAbout, Error> {
        let setup = &self.setups[number];
        let mut ids = Vec::new();
        for open_cpu in open_cpus {
            for (_, event) in open_cpu.events.iter().filter(|(of, _)| *of == number) {
                let id = open::id(event.as_fd());
                ids.push(id.map_err(|error| {
                    self.refusal(Attempt::Control, &setup.name, open_cpu.cpu, &error)
                })?);
            }
        }
        let attr = open::attr_bytes(&setup.attr, setup.period);
        let (name, cpus) = (setup.name.clone(), setup.cpus.clone());
        Ok(EventAbout { attr, ids, name, cpus })
    }

    /// The kernel's clock, where AUX data has another one's ticks.
    pub(super) fn time_conversion(&self) -> Option<TimeConversion> {
        let open_cpu = self.open_cpus.iter().find(|open_cpu| open_cpu.rings.aux.is_some())?;
        open_cpu.rings.records.ring().time_conversion()
    }

    /// The CPUs whose AUX data is captured.
    pub(super) fn spe(&self) -> Vec<SpeCpuAbout> {
        let mut cpus = Vec::new();
        for open_cpu in &self.open_cpus {
            let tracer = open_cpu.events.iter().map(|(number, _)| &self.setups[*number]);
            for setup in tracer.filter(|setup| setup.role == Role::Tracer).take(1) {
                cpus.push(SpeCpuAbout {
                    cpu: open_cpu.cpu,
                    midr: self.host.midr(open_cpu.cpu).unwrap_or(0),
                    pmu_type: setup.attr.type_,
                    min_interval: setup.least,
                    event_filter: setup.event_filter,
                });
            }
        }
        cpus
    }

    /// Threads that there are already: Arm SPE's records name threads, and not their processes.
    pub(super) fn tasks(&self) -> Vec<TaskAbout> {
        let traced = self.setups.iter().any(|setup| setup.role == Role::Tracer);
        if traced { self.host.tasks() } else { Vec::new() }
    }

    /// What is told of the machine.
    pub(super) fn features(&self) -> Vec<(u8, Vec<u8>)> {
        let text = |text: &str| Bytes::default().string(text).0.clone();
        let file = |path: &str| self.host.text(path);
        let online = self.host.online().map_or(0, |cpus| cpus.len());
        let online = u32::try_from(online).unwrap_or(0);
        let available = self.host.available().unwrap_or(online);
        let pmus = self.host.pmus();
        let mut mappings = Bytes::default();
        mappings.u32(u32::try_from(pmus.len()).unwrap_or(0));
        for pmu in &pmus {
            mappings.u32(pmu.type_).string(&pmu.name);
        }
        let arguments: Vec<_> =
            std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let mut command = Bytes::default();
        command.u32(u32::try_from(arguments.len()).unwrap_or(0));
        arguments.iter().for_each(|word| _ = command.string(word));
        let version = concat!("folioscope ", env!("CARGO_PKG_VERSION"));
        [
            (feature::HOSTNAME, file("proc/sys/kernel/hostname").as_deref().map(text)),
            (feature::OSRELEASE, file("proc/sys/kernel/osrelease").as_deref().map(text)),
            (feature::VERSION, Some(text(version))),
            (feature::ARCH, Some(text(std::env::consts::ARCH))),
            (feature::NRCPUS, Some(Bytes::default().u32(available).u32(online).0.clone())),
            (feature::CPUID, self.host.cpuid().as_deref().map(text)),
            (feature::CMDLINE, Some(command.0)),
            (feature::PMU_MAPPINGS, Some(mappings.0)),
        ]
        .into_iter()
        .filter_map(|(bit, section)| Some((bit, section?)))
        .collect()
    }
}
