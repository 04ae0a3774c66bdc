//! What the programs here have in common: a daemon's address, a connection to it, messages and logs, man pages.
#![forbid(unsafe_code)]

mod address;
pub mod manual;
pub mod messages;

use std::time::Duration;

use anyhow::Context;
use proto::v1::heatmap_service_client::HeatmapServiceClient;
use tonic::transport::{Channel, Endpoint};

pub use address::{Address, BadAddress};

/// How long a daemon may take to answer.
pub const ANSWER: Duration = Duration::from_secs(2);

/// A connection to a daemon.
///
/// # Errors
/// If nobody answers there.
pub async fn connect(address: &Address) -> anyhow::Result<Channel> {
    let endpoint = match address {
        Address::Unix(path) => format!("unix://{}", path.display()),
        Address::Tcp(host, port) if host.contains(':') => format!("http://[{host}]:{port}"),
        Address::Tcp(host, port) => format!("http://{host}:{port}"),
    };
    Endpoint::from_shared(endpoint)?
        .connect_timeout(ANSWER)
        .timeout(ANSWER)
        .connect()
        .await
        .with_context(|| {
            format!("{address}: no daemon answers; is `folioscope serve` running, and may you reach its socket?")
        })
}

/// Whether the daemon says that it is well: its health service's word.
///
/// # Errors
/// If it does not answer, or does not say so.
pub async fn check_health(address: &Address) -> anyhow::Result<()> {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let mut client = HealthClient::new(connect(address).await?);
    let request = HealthCheckRequest { service: String::new() };
    let answer = client.check(request).await.with_context(|| address.to_string())?;
    let status = answer.into_inner().status();
    anyhow::ensure!(
        status == ServingStatus::Serving,
        "{address}: the daemon is {}: it has no answers yet, or is ending",
        status.as_str_name()
    );
    Ok(())
}

/// The interface of the daemon at a connection.
pub fn heatmap(channel: Channel) -> HeatmapServiceClient<Channel> {
    HeatmapServiceClient::new(channel).max_decoding_message_size(64 << 20)
}
