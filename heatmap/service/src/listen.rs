//! Listeners: Unix sockets and TCP, plain or with TLS, as connections that know their peer.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use client::Address;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use super::config::Config;
use super::place::Place;
use super::state::State;
use super::tls::Tls;

/// How long a TLS handshake may take, and after it the first word of HTTP/2, which only then has
/// time limits of its own: else whoever connects and says nothing takes a place for ever.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// HTTP/2, as it is called in TLS, and the length of the preface that its clients begin with
/// (RFC 9113, 3.4).
pub(super) const HTTP2: &[u8] = b"h2";
const PREFACE: usize = 24;
/// Connections that are accepted before somebody takes them.
const BACKLOG: usize = 16;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A process on this machine, by the kernel's word.
    Process {
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Somebody over TCP, with or without a certificate of our authorities.
    Network {
        /// With one.
        certified: bool,
    },
}

/// A connection. It counts among its listener's as long as it lives.
#[derive(Debug)]
pub(super) struct Connection {
    io: Io,
    /// Who is at its other end.
    pub(super) peer: Peer,
    /// Bytes that are still to come until a time.
    opening: Option<(usize, Pin<Box<Sleep>>)>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Io {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connections as they come.
#[derive(Debug)]
pub(super) struct Incoming {
    connections: mpsc::Receiver<Connection>,
    address: String,
}

enum Bound {
    Unix { listener: UnixListener, _socket: Option<Socket> },
    Tcp(TcpListener),
}

/// A socket in the file system, which goes with its listener.
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Incoming {
    /// Listens at a place. With TLS, the protocol is the one that clients are offered.
    ///
    /// # Errors
    /// If that is not possible, and why.
    pub(super) async fn listen(
        place: Place,
        protocol: &'static [u8],
        state: &Arc<State>,
        tasks: &TaskTracker,
    ) -> anyhow::Result<Self> {
        let address = place.address()?;
        let bound = match place {
            Place::Address(Address::Unix(path)) => {
                unix(&path, state.config.group.as_deref()).await?
            }
            Place::Address(Address::Tcp(host, port)) => tcp(&host, port).await?,
            Place::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Bound::Unix { listener: UnixListener::from_std(listener)?, _socket: None }
            }
            Place::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Bound::Tcp(TcpListener::from_std(listener)?)
            }
        };
        let shown = match &bound {
            Bound::Unix { .. } => address.to_string(),
            Bound::Tcp(listener) => format!("tcp:{}", listener.local_addr()?),
        };
        let (sender, connections) = mpsc::channel(BACKLOG);
        let permits = Arc::new(Semaphore::new(state.config.max_connections));
        tasks.spawn(accept(bound, protocol, permits, sender, Arc::clone(state)));
        Ok(Self { connections, address: shown })
    }

    /// Where it listens, with the port that was given out.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The next connection; none once the daemon ends.
    pub(super) async fn next(&mut self) -> Option<Connection> {
        self.connections.recv().await
    }
}

/// Makes a socket in the file system. One that nobody listens at any more goes.
async fn unix(path: &Path, group: Option<&str>) -> anyhow::Result<Bound> {
    let shown = path.display();
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            bail!("unix:{shown}: is in the way and no socket: remove it, or listen elsewhere");
        }
        match UnixStream::connect(path).await {
            Ok(_) => bail!("unix:{shown}: somebody listens there already: is folioscope running?"),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).with_context(|| {
                    format!("unix:{shown}: cannot remove what is left of a former run")
                })?;
            }
            Err(error) => {
                return Err(error)
                    .context(format!("unix:{shown}: cannot tell whether somebody listens there"));
            }
        }
    }
    let listener = UnixListener::bind(path).with_context(|| {
        format!(
            "unix:{shown}: cannot listen; is its folder there, and may this user write to it? Or \
             name another place: unix:PATH"
        )
    })?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .with_context(|| format!("unix:{shown}: cannot set its mode"))?;
    if let Some(name) = group {
        let gid = group_id(name).with_context(|| format!("no group is called {name}"))?;
        std::os::unix::fs::chown(path, None, Some(gid))
            .with_context(|| format!("unix:{shown}: cannot give it to group {name}"))?;
    }
    Ok(Bound::Unix { listener, _socket: Some(Socket(path.to_owned())) })
}

async fn tcp(host: &str, port: u16) -> anyhow::Result<Bound> {
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .with_context(|| format!("tcp:{host}:{port}: cannot find this host"))?
        .collect();
    let listener = TcpListener::bind(&addresses[..]).await.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => ": another program listens there: choose another port",
            io::ErrorKind::PermissionDenied => ": ports below 1024 are not for every user",
            io::ErrorKind::AddrNotAvailable => ": this machine does not have the address",
            _ => "",
        };
        anyhow::anyhow!("tcp:{host}:{port}: cannot listen: {error}{remedy}")
    })?;
    Ok(Bound::Tcp(listener))
}

async fn accept(
    bound: Bound,
    protocol: &'static [u8],
    permits: Arc<Semaphore>,
    connections: mpsc::Sender<Connection>,
    state: Arc<State>,
) {
    loop {
        // Who finds no room waits outside: the kernel keeps a few, and refuses the rest.
        let permit = tokio::select! {
            () = state.ending.cancelled() => break,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            () = state.ending.cancelled() => break,
            accepted = bound.accept() => accepted,
        };
        match accepted {
            Ok((io, peer)) => {
                let (connections, tls) = (connections.clone(), state.tls.clone());
                tokio::spawn(async move {
                    if let Some((io, peer)) = secured(io, peer, tls, protocol).await {
                        let opening = (protocol == HTTP2)
                            .then(|| (PREFACE, Box::pin(tokio::time::sleep(HANDSHAKE))));
                        let connection = Connection { io, peer, opening, _permit: permit };
                        let _ = connections.send(connection).await;
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, say: it may get better.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Bound {
    async fn accept(&self) -> io::Result<(Io, Peer)> {
        match self {
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred()?;
                Ok((Io::Unix(stream), Peer::Process { uid: peer.uid(), gid: peer.gid() }))
            }
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Io::Tcp(stream), Peer::Network { certified: false }))
            }
        }
    }
}

/// Shakes hands where there is TLS.
async fn secured(io: Io, peer: Peer, tls: Tls, protocol: &[u8]) -> Option<(Io, Peer)> {
    let (stream, tls) = match (io, tls) {
        (Io::Tcp(stream), Some(tls)) => (stream, tls),
        (io, _) => return Some((io, peer)),
    };
    let mut tls = rustls::ServerConfig::clone(&tls.load());
    tls.alpn_protocols = vec![protocol.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certified = stream.get_ref().1.peer_certificates().is_some();
            Some((Io::Tls(Box::new(stream)), Peer::Network { certified }))
        }
        Ok(Err(error)) => {
            tracing::info!(%error, ?peer, "a client was refused");
            None
        }
        Err(_) => None,
    }
}

impl Peer {
    /// Whether it may see page frames, counters and everything else of single blocks.
    pub(super) fn may_see_all(self, config: &Config) -> bool {
        match self {
            _ if config.allow_unprivileged => true,
            Self::Process { uid: 0, .. } => true,
            Self::Process { uid, gid } => match &config.group {
                Some(group) => is_member(uid, gid, group),
                // Without a name it is the group that the socket has.
                None => gid == rustix::process::getegid().as_raw(),
            },
            Self::Network { certified } => certified,
        }
    }
}

/// The lines of a file of the system's accounts, cut at colons.
fn accounts(path: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
}

fn group_id(name: &str) -> Option<u32> {
    let groups = accounts("/etc/group");
    groups.iter().find(|group| group[0] == name)?.get(2)?.parse().ok()
}

/// Whether a user is in a group: by its first group, or by the group's list.
fn is_member(uid: u32, gid: u32, group: &str) -> bool {
    if group_id(group) == Some(gid) {
        return true;
    }
    let users = accounts("/etc/passwd");
    let is_user = |user: &&Vec<String>| user.get(2).and_then(|id| id.parse().ok()) == Some(uid);
    let Some(user) = users.iter().find(is_user) else { return false };
    accounts("/etc/group").iter().any(|line| {
        line[0] == group
            && line.get(3).is_some_and(|members| members.split(',').any(|name| name == user[0]))
    })
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, opening, .. } = self.get_mut();
        let before = buffer.filled().len();
        let polled = match io {
            Io::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Io::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Io::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if let Some((missing, limit)) = opening {
            *missing = missing.saturating_sub(buffer.filled().len() - before);
            if *missing == 0 {
                *opening = None;
            } else if polled.is_pending() && limit.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Io::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Io::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Unix(stream) => Pin::new(stream).poll_flush(context),
            Io::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Io::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Io::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl tonic::transport::server::Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}
