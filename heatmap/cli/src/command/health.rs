//! `folioscope health`.

use anyhow::Context;
use clap::Args;
use client::{self, Address};

use super::outcome::Outcome;

#[derive(Debug, Args)]
pub(super) struct ServiceOptions {
    /// The daemon: unix:PATH or tcp:HOST:PORT [default: unix:/run/folioscope/folioscope.sock, else
    /// unix:$XDG_RUNTIME_DIR/folioscope.sock]
    #[arg(long, value_name = "ADDR", env = "FOLIOSCOPE_SERVICE")]
    service: Option<Address>,
}

impl ServiceOptions {
    pub(super) fn address(&self) -> Address {
        self.service.clone().unwrap_or_else(Address::default_socket)
    }
}

#[derive(Debug, Args)]
pub(super) struct Health {
    #[command(flatten)]
    service: ServiceOptions,
}

impl Health {
    pub(super) fn run(&self) -> anyhow::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start")?;
        runtime.block_on(client::check_health(&self.service.address()))?;
        println!("SERVING");
        Ok(Outcome::Done)
    }
}
