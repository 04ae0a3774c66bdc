//! Where to listen: at addresses, or at sockets that the service manager has opened (see
//! `sd_listen_fds(3)`), which are named `grpc` or `http` and take the place of those addresses.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use anyhow::{Context, bail};
use client::Address;
use listenfd::ListenFd;

use super::config::Config;

/// Where to listen.
#[derive(Debug)]
pub(super) enum Place {
    /// At an address.
    Address(Address),
    /// At a Unix socket that is open already.
    Unix(UnixListener),
    /// At a TCP socket that is open already.
    Tcp(TcpListener),
}

impl Place {
    /// Its address.
    pub(super) fn address(&self) -> anyhow::Result<Address> {
        Ok(match self {
            Self::Address(address) => address.clone(),
            Self::Unix(listener) => {
                let place = listener.local_addr()?;
                let path = place.as_pathname().map(PathBuf::from);
                Address::Unix(path.unwrap_or_else(|| PathBuf::from("@")))
            }
            Self::Tcp(listener) => {
                let place = listener.local_addr()?;
                Address::Tcp(place.ip().to_string(), place.port())
            }
        })
    }
}

/// Where to listen for gRPC, and for HTTP.
///
/// # Errors
/// If a socket that was handed over cannot be used, and why.
pub(super) fn places(config: &Config) -> anyhow::Result<(Vec<Place>, Vec<Place>)> {
    let (mut grpc, mut http) = (Vec::new(), Vec::new());
    let names: Vec<_> = sd_notify::listen_fds_with_names()
        .context("cannot tell which sockets were handed over")?
        .map(|(_, name)| name)
        .collect();
    let mut sockets = ListenFd::from_env();
    for (index, name) in names.into_iter().enumerate() {
        let list = match name.as_str() {
            "grpc" => &mut grpc,
            "http" => &mut http,
            _ => bail!(
                "a socket was handed over with the name {name:?}, expected \"grpc\" or \"http\": set \
                 FileDescriptorName= in its unit"
            ),
        };
        let place = match sockets.take_unix_listener(index) {
            Ok(listener) => listener.map(Place::Unix),
            Err(_) => sockets
                .take_tcp_listener(index)
                .with_context(|| format!("socket {name:?} that was handed over"))?
                .map(Place::Tcp),
        };
        let place = place.context("a socket was handed over that is not open")?;
        if let Place::Tcp(_) = &place {
            let address = place.address()?;
            config.may_listen(&address).with_context(|| format!("socket {name:?}"))?;
        }
        list.push(place);
    }
    let or = |handed: Vec<Place>, addresses: &[Address]| match handed.is_empty() {
        true => addresses.iter().cloned().map(Place::Address).collect(),
        false => handed,
    };
    Ok((or(grpc, &config.grpc), or(http, &config.http)))
}
