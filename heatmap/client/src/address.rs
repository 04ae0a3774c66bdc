//! Where a listener listens and a client calls: `unix:PATH` or `tcp:HOST:PORT`.

use core::fmt;
use core::str::FromStr;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A host, without brackets, and a port.
    Tcp(String, u16),
}

/// Text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\": an address is unix:PATH or tcp:HOST:PORT")]
pub struct BadAddress(String);

/// The socket of the system's service.
const SYSTEM_SOCKET: &str = "/run/folioscope/folioscope.sock";

impl Address {
    /// The system's socket if its folder is there, else the user's.
    pub fn default_socket() -> Self {
        let system = PathBuf::from(SYSTEM_SOCKET);
        let user = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
        match user {
            Some(folder) if !system.parent().is_some_and(Path::is_dir) => {
                Self::Unix(PathBuf::from(folder).join("folioscope.sock"))
            }
            _ => Self::Unix(system),
        }
    }

    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(host, _) => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.trim_start_matches("//").into()));
        }
        let place = text.strip_prefix("tcp:").ok_or_else(bad)?;
        let (host, port) = place.rsplit_once(':').ok_or_else(bad)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| bad())?;
        if host.is_empty() { Err(bad()) } else { Ok(Self::Tcp(host.to_owned(), port)) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(host, port) if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "tcp:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, local) in [
            ("unix:/run/x.sock", true),
            ("tcp:localhost:1", true),
            ("tcp:127.0.0.9:65535", true),
            ("tcp:[::1]:80", true),
            ("tcp:0.0.0.0:80", false),
            ("tcp:[::]:80", false),
            ("tcp:host.example:80", false),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_local()), (text, local));
        }
        for text in
            ["", "unix:", "tcp:", "tcp::1", "tcp:host", "tcp:host:65536", "http://x", "/run/x"]
        {
            assert_eq!(text.parse::<Address>(), Err(BadAddress(text.to_owned())));
        }
    }
}
