//! The settings of the daemon: command line before environment before file before default.
//!
//! Every setting has one name, in four spellings: `--cooling-interval`, `FOLIOSCOPE_COOLING_INTERVAL`,
//! `cooling-interval = "10s"` in the file, and the row of [`DEFAULTS`]. Values are text until they
//! are read into [`Config`], so that all of them are checked by the same rules.

use core::fmt::Display;
use core::str::FromStr;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use client::Address;
use decoder::live::{self as capture, EventChoice};
use heatmap::MaxColdShare;
use heatmap::PageSize;
use heatmap::live;
use heatmap::query::{Duration, Percent, RingSize, Size};
use heatmap::{ChunkOrder, HotThreshold};
use toml::Spanned;

/// Defaults that follow from the host.
#[derive(Clone, Copy, Debug)]
pub struct HostDefaults {
    /// Bytes of memory that are free. Half of them are the budget unless another one is set.
    pub available_memory: u64,
    /// The sampling period that suits an event on this host, if one is known.
    pub advised_period: fn(&EventChoice) -> Option<u64>,
}

/// A name and its default; empty is none.
type Row = (&'static str, &'static str);

/// A field's name, which may be a word of the language.
const fn name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

macro_rules! settings {
    (
        optional { $($(#[doc = $optional_doc:literal])+ $optional:ident $choice:literal;)* }
        text { $($(#[doc = $text_doc:literal])+ $text:ident $value:literal = $default:literal;)* }
        list { $($(#[doc = $list_doc:literal])+ $list:ident $item:literal;)* }
        switch { $($(#[doc = $switch_doc:literal])+ $switch:ident;)* }
    ) => {
        /// Settings as options of the command line.
        #[derive(Clone, Debug, Default, Args)]
        pub struct Flags {
            $($(#[doc = $optional_doc])+
            #[arg(long, value_name = $choice, num_args = 0..=1, require_equals = true,
                default_missing_value = "true")]
            $optional: Option<String>,)*
            $($(#[doc = $text_doc])+ #[arg(long, value_name = $value)] $text: Option<String>,)*
            $($(#[doc = $list_doc])+ #[arg(long, value_name = $item)] $list: Vec<String>,)*
            $($(#[doc = $switch_doc])+ #[arg(long)] $switch: bool,)*
        }

        /// Settings as a file has them.
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        struct Table {
            $($optional: Option<Spanned<toml::Value>>,)*
            $($text: Option<Spanned<toml::Value>>,)*
            $($list: Option<Spanned<toml::Value>>,)*
            $($switch: Option<Spanned<toml::Value>>,)*
        }

        /// All settings with their defaults, in the order in which they are shown.
        const DEFAULTS: &[Row] = &[
            $((name(stringify!($optional)), ""),)*
            $((name(stringify!($text)), $default),)*
            $((name(stringify!($list)), ""),)*
            $((name(stringify!($switch)), "false"),)*
        ];

        /// Settings that may be given several times.
        const LISTS: &[&str] = &[$(name(stringify!($list)),)*];

        impl Flags {
            fn given(&self) -> Vec<(&'static str, Vec<String>)> {
                let mut given = Vec::new();
                $(if let Some(value) = &self.$optional {
                    given.push((name(stringify!($optional)), vec![value.clone()]));
                })*
                $(if let Some(value) = &self.$text {
                    given.push((name(stringify!($text)), vec![value.clone()]));
                })*
                $(if !self.$list.is_empty() {
                    given.push((name(stringify!($list)), self.$list.clone()));
                })*
                $(if self.$switch {
                    given.push((name(stringify!($switch)), vec!["true".to_owned()]));
                })*
                given
            }
        }

        impl Table {
            fn given(self) -> Vec<(&'static str, Spanned<toml::Value>)> {
                let mut given = Vec::new();
                $(given.extend(self.$optional.map(|value| (name(stringify!($optional)), value)));)*
                $(given.extend(self.$text.map(|value| (name(stringify!($text)), value)));)*
                $(given.extend(self.$list.map(|value| (name(stringify!($list)), value)));)*
                $(given.extend(self.$switch.map(|value| (name(stringify!($switch)), value)));)*
                given
            }
        }
    };
}

settings! {
    optional {
        /// Capture without perf, in the place of INPUT: the best unit of this host, or spe, ibs,
        /// pebs, faults, mem:ADDR/LEN:rw, a software event. With --pid and one process, that alone
        live "EVENT";
    }
    text {
        /// Of --live: events between two samples, as the unit counts them [default: what
        /// `folioscope doctor` advises]
        period "N" = "";
        /// Of --live: most of the CPUs' time that capturing may take, for example 1%: periods get
        /// longer where it would be more
        max_overhead "PERCENT" = "";
        /// Of --live: memory of each CPU's AUX ring, a power of two [default: 4MiB]
        aux_size "SIZE" = "";
        /// Length of an epoch of the trace's clock [default: 1s]
        epoch "DURATION" = "1s";
        /// Time after which all counters are halved; 0s: never [default: 10s]
        cooling_interval "DURATION" = "10s";
        /// Time without accesses after which a block is forgotten; 0s: never [default: 30s]
        ttl "DURATION" = "30s";
        /// Memory for counters, snapshots included [default: half of what this process may use]
        max_memory "SIZE" = "";
        /// Bytes that may be saved, below TMPDIR, of a perf.data file that comes through a pipe or
        /// is compressed [default: 4GiB]
        max_spool "SIZE" = "4GiB";
        /// Threads that decode a stream; any number gives the same answers [default: 1]
        threads "N" = "1";
        /// Percent of hot chunks below which a block is a candidate for splitting, where a
        /// question names none [default: 30]
        hot_threshold "PCT" = "30";
        /// Chunk order of the page and of metrics [default: 0]
        order "N" = "0";
        /// Time that the accesses of a sparse block must span [default: 1s or a tenth of what was
        /// seen, the lesser]
        min_span "DURATION" = "";
        /// Greatest cold share of a block that is proposed: percent of its visits that lie outside of
        /// its hot chunks [default: 20]
        max_cold_share "PCT" = "20";
        /// The kernel's base page: 4KiB, 16KiB or 64KiB [default: as the stream says, else 4KiB]
        page_size "SIZE" = "";
        /// Take a recording in at this many times its own speed; 0: as fast as possible
        replay "SPEED" = "";
        /// Certificate chain of TCP listeners, PEM; with it they speak TLS
        tls_cert "FILE" = "";
        /// Its private key, PEM
        tls_key "FILE" = "";
        /// Only clients with a certificate of these authorities, PEM, are let in by TLS listeners
        client_ca "FILE" = "";
        /// Group whose members may ask for everything on Unix sockets
        group "NAME" = "";
        /// Keep the token of the HTTP listeners in this file; it is made if it is missing
        http_token_file "FILE" = "";
        /// Most connections at a time, of each listener [default: 1024]
        max_connections "N" = "1024";
        /// Most watchers of decisions at a time [default: 1024]
        max_watchers "N" = "1024";
    }
    list {
        /// Listen for gRPC: unix:PATH or tcp:HOST:PORT [default:
        /// unix:/run/folioscope/folioscope.sock, else unix:$XDG_RUNTIME_DIR/folioscope.sock]
        grpc "ADDR";
        /// Listen for HTTP: unix:PATH or tcp:HOST:PORT [default: none]
        http "ADDR";
        /// Names that HTTP requests may be addressed to beside localhost
        http_host "NAME";
    }
    switch {
        /// Of --live: give way to others who use the unit
        r#yield;
        /// End when the input has ended, and do not go on answering
        exit_on_eof;
        /// Read a file on as it grows: a stream that `record -o -` or perf saves there, no perf.data
        /// file
        follow;
        /// Judge as if nothing had been left out
        assume_complete;
        /// Let everybody who reaches a listener ask for everything
        allow_unprivileged;
        /// Listen on addresses beyond loopback without TLS: everybody on the network can read
        /// physical addresses
        insecure_plain_tcp;
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Default,
    /// The file and the line.
    File(PathBuf, usize),
    Environment,
    CommandLine,
}

/// What a value is called where it comes from.
struct Named<'a>(&'a str, &'a Origin);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self(name, origin) = self;
        let kebab = name.replace('_', "-");
        match origin {
            Origin::Default => write!(f, "{kebab}"),
            Origin::File(path, line) => write!(f, "{}:{line}: {kebab}", path.display()),
            Origin::Environment => write!(f, "{}", variable(name)),
            Origin::CommandLine => write!(f, "--{kebab}"),
        }
    }
}

/// The environment variable of a setting.
fn variable(name: &str) -> String {
    format!("FOLIOSCOPE_{}", name.to_uppercase())
}

/// The settings of the daemon.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to count.
    pub live: live::Settings,
    /// Decoding threads.
    pub threads: core::num::NonZeroUsize,
    /// Chunk order where a page or metric needs one.
    pub order: ChunkOrder,
    /// Threshold of questions that name none.
    pub hot_threshold: HotThreshold,
    /// gRPC listeners.
    pub grpc: Vec<Address>,
    /// HTTP listeners.
    pub http: Vec<Address>,
    /// Names that HTTP requests may be addressed to beside localhost.
    pub http_hosts: Vec<String>,
    /// Certificate chain, private key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Authorities of client certificates.
    pub client_ca: Option<PathBuf>,
    /// Group whose members may ask for everything.
    pub group: Option<String>,
    /// File of the HTTP token.
    pub http_token_file: Option<PathBuf>,
    /// Most connections of a listener.
    pub max_connections: usize,
    /// Most watchers.
    pub max_watchers: usize,
    /// End with the input.
    pub exit_on_eof: bool,
    /// Bytes that may be saved of a file that comes through a pipe or is compressed.
    pub max_spool: u64,
    /// Read files on as they grow.
    pub follow: bool,
    /// What to capture, if the input is what this host does.
    pub capture: Option<decoder::live::Options>,
    /// Everybody may ask for everything.
    pub allow_unprivileged: bool,
    /// Plain TCP beyond loopback.
    pub insecure_plain_tcp: bool,
}

impl Config {
    /// Refuses addresses from where others could read what only this machine should.
    pub(super) fn may_listen(&self, address: &Address) -> anyhow::Result<()> {
        // A certificate of the server hides what is sent; who may ask is another question.
        if !address.is_local() && self.tls.is_none() && !self.insecure_plain_tcp {
            bail!(
                "{address} is reached from other machines, and physical addresses must not be: set \
                 tls-cert, tls-key and client-ca, or --insecure-plain-tcp"
            );
        }
        Ok(())
    }
}

/// Settings as text, each with its origin.
#[derive(Debug)]
pub struct Given(BTreeMap<&'static str, (Vec<String>, Origin)>);

impl Given {
    /// Brings together what was given.
    ///
    /// # Errors
    /// If the file cannot be read or has something that is no setting.
    pub fn new(flags: &Flags, file: Option<&Path>) -> anyhow::Result<Self> {
        Self::with(flags, file, |name| std::env::var(name).ok())
    }

    fn with(
        flags: &Flags,
        file: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        let split = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let mut given: BTreeMap<_, _> = DEFAULTS
            .iter()
            .map(|(name, default)| (*name, (split(default), Origin::Default)))
            .collect();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{}: cannot read", path.display()))?;
            let table: Table = toml::from_str(&text).map_err(|error| {
                let line = error.span().map_or(1, |span| line_of(&text, span.start));
                anyhow::anyhow!("{}:{line}: {}", path.display(), error.message())
            })?;
            for (name, value) in table.given() {
                let origin = Origin::File(path.to_owned(), line_of(&text, value.span().start));
                let texts = texts(value.get_ref()).with_context(|| {
                    format!(
                        "{}: expected text, a number, true or false, or a list of texts",
                        Named(name, &origin)
                    )
                })?;
                if texts.len() > 1 && !LISTS.contains(&name) {
                    bail!("{}: expected one value, found {}", Named(name, &origin), texts.len());
                }
                given.insert(name, (texts, origin));
            }
        }
        for (name, _) in DEFAULTS {
            if let Some(text) = environment(&variable(name)) {
                given.insert(name, (split(&text), Origin::Environment));
            }
        }
        for (name, values) in flags.given() {
            given.insert(name, (values, Origin::CommandLine));
        }
        Ok(Self(given))
    }

    fn values<T: FromStr<Err: Display>>(&self, name: &str) -> anyhow::Result<Vec<T>> {
        let Some((values, origin)) = self.0.get(name) else { return Ok(Vec::new()) };
        let parse = |text: &String| {
            text.parse().map_err(|error| anyhow::anyhow!("{}: {error}", Named(name, origin)))
        };
        values.iter().map(parse).collect()
    }

    fn value<T: FromStr<Err: Display>>(&self, name: &str) -> anyhow::Result<Option<T>> {
        Ok(self.values(name)?.pop())
    }

    fn switch(&self, name: &str) -> anyhow::Result<bool> {
        Ok(self.value(name)?.unwrap_or(false))
    }

    /// The settings as a file that would give the same, each with where it comes from.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for (name, _) in DEFAULTS {
            let (values, origin) = &self.0[name];
            let kebab = name.replace('_', "-");
            let quoted: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
            let value = match &quoted[..] {
                [] => format!("# {kebab} ="),
                _ if LISTS.contains(name) => format!("{kebab} = [{}]", quoted.join(", ")),
                [value] if value == "\"true\"" || value == "\"false\"" => {
                    format!("{kebab} = {}", value.trim_matches('"'))
                }
                _ => format!("{kebab} = {}", quoted.join(" ")),
            };
            let from = match origin {
                Origin::Default => "default".to_owned(),
                Origin::File(path, line) => format!("{}:{line}", path.display()),
                Origin::Environment => variable(name),
                Origin::CommandLine => "command line".to_owned(),
            };
            text.push_str(&format!("{value:<48} # {from}\n"));
        }
        text
    }

    /// The settings, each checked.
    ///
    /// # Errors
    /// What is wrong, and where it stands.
    pub fn config(&self, host: &HostDefaults, live: bool) -> anyhow::Result<Config> {
        let ns = |name: &str| Ok::<_, anyhow::Error>(self.value::<Duration>(name)?.map(|d| d.ns));
        let origin = |name: &'static str| Named(name, &self.0[name].1);
        let bytes =
            self.value::<Size>("max_memory")?.map_or(host.available_memory / 2, |size| size.bytes);
        let mut live = live::Settings {
            epoch_ns: ns("epoch")?.unwrap_or(1_000_000_000),
            cooling_ns: ns("cooling_interval")?.unwrap_or(0),
            ttl_ns: ns("ttl")?.unwrap_or(0),
            memory: usize::try_from(bytes).unwrap_or(usize::MAX),
            min_span_ns: ns("min_span")?,
            assume_complete: self.switch("assume_complete")?,
            max_cold_share: self.value::<MaxColdShare>("max_cold_share")?.unwrap_or_default(),
            page_size: self.value::<PageSize>("page_size")?,
            speed: self.value::<f64>("replay")?,
            live,
        };
        if live.epoch_ns == 0 {
            bail!("{}: must be longer than 0s", origin("epoch"));
        }
        if !live.cooling_ns.is_multiple_of(live.epoch_ns) {
            bail!("{}: must be a multiple of the epoch", origin("cooling_interval"));
        }
        if live.speed.is_some_and(|speed| !speed.is_finite() || speed < 0.0) {
            bail!("{}: must be 0 or more", origin("replay"));
        }
        if live.memory < 1 << 20 {
            bail!("{}: must be at least 1MiB", origin("max_memory"));
        }
        let tls = match (self.value("tls_cert")?, self.value("tls_key")?) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => bail!("{}: needs tls-key too", origin("tls_cert")),
            (None, Some(_)) => bail!("{}: needs tls-cert too", origin("tls_key")),
        };
        let client_ca: Option<PathBuf> = self.value("client_ca")?;
        if client_ca.is_some() && tls.is_none() {
            bail!("{}: needs tls-cert and tls-key", origin("client_ca"));
        }
        let grpc: Vec<Address> = self.values("grpc")?;
        let http: Vec<Address> = self.values("http")?;
        let insecure_plain_tcp = self.switch("insecure_plain_tcp")?;
        let capture = self.capture(live.epoch_ns, host)?;
        if capture.is_some() {
            live.page_size = live.page_size.or_else(PageSize::of_this_host);
        }
        let config = Config {
            live,
            capture,
            threads: self.value("threads")?.unwrap_or(core::num::NonZeroUsize::MIN),
            order: self.value("order")?.unwrap_or_default(),
            hot_threshold: self.value("hot_threshold")?.unwrap_or_default(),
            grpc: if grpc.is_empty() { vec![Address::default_socket()] } else { grpc },
            http,
            http_hosts: self.values("http_host")?,
            tls,
            client_ca,
            group: self.value("group")?,
            http_token_file: self.value("http_token_file")?,
            max_connections: self.value("max_connections")?.unwrap_or(1024),
            max_watchers: self.value("max_watchers")?.unwrap_or(1024),
            exit_on_eof: self.switch("exit_on_eof")?,
            max_spool: self
                .value::<Size>("max_spool")?
                .map_or(decoder::MAX_SPOOL, |size| size.bytes),
            follow: self.switch("follow")?,
            allow_unprivileged: self.switch("allow_unprivileged")?,
            insecure_plain_tcp,
        };
        for (name, addresses) in [("grpc", &config.grpc), ("http", &config.http)] {
            for address in addresses {
                config.may_listen(address).with_context(|| origin(name).to_string())?;
            }
        }
        Ok(config)
    }
}

impl Given {
    /// What to capture, if anything.
    fn capture(
        &self,
        epoch_ns: u64,
        host: &HostDefaults,
    ) -> anyhow::Result<Option<capture::Options>> {
        let event = self.value::<Event>("live")?.and_then(|Event(event)| event);
        let Some(event) = event else {
            for name in ["period", "max_overhead", "aux_size", "yield"] {
                let (_, origin) = &self.0[name];
                if *origin == Origin::CommandLine {
                    bail!("{}: is for --live", Named(name, origin));
                }
            }
            return Ok(None);
        };
        let defaults = capture::Options::default();
        let period = self.value::<core::num::NonZeroU64>("period")?.map(Into::into);
        Ok(Some(capture::Options {
            period: period.or_else(|| (host.advised_period)(&event)),
            event,
            max_overhead: self.value::<Percent>("max_overhead")?.map(|Percent(part)| part),
            aux_len: self
                .value::<RingSize>("aux_size")?
                .map_or(defaults.aux_len, |size| size.bytes),
            give_way: self.switch("yield")?,
            // What a unit holds back is there before its epoch closes.
            flush_every: core::time::Duration::from_nanos(epoch_ns / 4).max(LEAST_FLUSH),
            ..defaults
        }))
    }
}

/// Units are not told more often to publish what they hold.
const LEAST_FLUSH: core::time::Duration = core::time::Duration::from_millis(50);

/// What is captured: an event, or the best one if there is only a yes.
struct Event(Option<EventChoice>);

impl FromStr for Event {
    type Err = decoder::live::UnknownEvent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text {
            "false" => None,
            "true" => Some(EventChoice::Best),
            name => Some(name.parse()?),
        }))
    }
}

/// The line of a place in a text, from 1 on.
fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).matches('\n').count() + 1
}

/// A value as text, or a list of values.
fn texts(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::Array(values) => {
            let lists: Option<Vec<_>> = values.iter().map(texts).collect();
            Some(lists?.concat())
        }
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Float(number) => Some(vec![number.to_string()]),
        toml::Value::Boolean(truth) => Some(vec![truth.to_string()]),
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const HOST: HostDefaults = HostDefaults { available_memory: 1 << 30, advised_period: |_| None };

    fn given(flags: &Flags, file: &str, environment: &[(&str, &str)]) -> anyhow::Result<Given> {
        let mut path = tempfile::NamedTempFile::new()?;
        path.write_all(file.as_bytes())?;
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Given::with(flags, Some(path.path()), variable)
    }

    fn refusal(file: &str) -> String {
        let given = given(&Flags::default(), file, &[]);
        let error = given.and_then(|given| given.config(&HOST, false)).unwrap_err();
        let text = format!("{error:#}");
        // The file's name is made up by the test.
        text.split_once(':').map(|(_, rest)| rest.to_owned()).unwrap_or(text)
    }

    #[test]
    fn the_nearer_setting_wins() {
        let file =
            "epoch = \"2s\"\nttl = \"60s\"\ngrpc = [\"unix:/a\", \"unix:/b\"]\nthreads = 3\n";
        let flags = Flags { epoch: Some("5s".to_owned()), ..Flags::default() };
        let environment = [("FOLIOSCOPE_EPOCH", "4s"), ("FOLIOSCOPE_TTL", "90s")];
        let given = given(&flags, file, &environment).unwrap();
        let config = given.config(&HOST, false).unwrap();
        assert_eq!(config.live.epoch_ns, 5_000_000_000);
        assert_eq!(config.live.ttl_ns, 90_000_000_000);
        assert_eq!(config.threads.get(), 3);
        assert_eq!(config.grpc.len(), 2);
        assert_eq!(config.live.memory, 1 << 29);
        let shown = given.to_toml();
        assert!(shown.contains("epoch = \"5s\"") && shown.contains("# command line"), "{shown}");
        assert!(shown.contains("# FOLIOSCOPE_TTL"), "{shown}");
    }

    #[test]
    fn what_is_shown_gives_the_same() {
        let file = "epoch = \"2s\"\nexit-on-eof = true\nhttp = [\"tcp:127.0.0.1:0\"]\n";
        let first = given(&Flags::default(), file, &[]).unwrap();
        let second = given(&Flags::default(), &first.to_toml(), &[]).unwrap();
        let show = |given: &Given| format!("{:?}", given.config(&HOST, true).unwrap());
        assert_eq!(show(&first), show(&second));
    }

    #[test]
    fn refusals_say_where_and_what() {
        let cases = [
            ("\nepohc = \"1s\"", "2: unknown field `epohc`"),
            ("epoch = \"1 fortnight\"", "1: epoch: "),
            ("\n\nepoch = \"0s\"", "3: epoch: must be longer than 0s"),
            (
                "epoch = \"3s\"\ncooling-interval = \"10s\"",
                "2: cooling-interval: must be a multiple",
            ),
            ("epoch = [\"1s\", \"2s\"]", "1: epoch: expected one value, found 2"),
            ("tls-key = \"k\"", "1: tls-key: needs tls-cert too"),
            ("http = \"tcp:0.0.0.0:80\"", "1: http: tcp:0.0.0.0:80 is reached from other machines"),
            ("grpc = \"here\"", "1: grpc: "),
            ("replay = -1.0", "1: replay: must be 0 or more"),
        ];
        for (file, wanted) in cases {
            let found = refusal(file);
            assert!(found.starts_with(wanted), "{file:?}: {found}");
        }
    }
}
