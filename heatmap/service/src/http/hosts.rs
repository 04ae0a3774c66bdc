//! Names that requests may be addressed to. A page of somebody else's can make a browser ask us by a name of its own.

use std::net::IpAddr;

use client::Address;

/// Names that requests may be addressed to.
pub(super) struct Hosts {
    names: Vec<String>,
    /// It listens at all addresses of this machine. Only names can be made to mean something else
    /// than they did, so that any address will do.
    any_address: bool,
}

impl Hosts {
    /// Those of a listener, and more that were asked for.
    pub(super) fn new(address: &Address, shown: &str, more: &[String]) -> Self {
        let mut hosts = Self {
            names: ["localhost", "127.0.0.1", "[::1]"].map(String::from).to_vec(),
            any_address: false,
        };
        hosts.names.extend(more.iter().map(|name| plain(name)));
        if let Address::Tcp(host, _) = address {
            hosts.names.push(plain(host));
        }
        if let Some(place) = shown.strip_prefix("tcp:") {
            hosts.names.push(plain(place));
            hosts.any_address = ip(host_of(place)).is_some_and(|ip| ip.is_unspecified());
        }
        hosts
    }

    /// Whether one of them is meant.
    pub(super) fn has(&self, authority: &str) -> bool {
        let name = plain(authority);
        self.names.contains(&name) || self.any_address && ip(&name).is_some()
    }
}

/// A host as names are compared: without port, in lower case, without the dot that ends names.
fn plain(authority: &str) -> String {
    host_of(authority).trim_end_matches('.').to_ascii_lowercase()
}

fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The host of an address without its port.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => &authority[..end + 2],
        None => authority.split(':').next().unwrap_or(authority),
    }
}
