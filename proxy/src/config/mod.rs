//! The file: YAML in, one validated [`Config`] out, or every error it has.
//!
//! Nothing here reads the environment or the clock, and only [`Config::load`] touches the disk.

mod access_log;
mod bounds;
mod cache;
mod cache_key;
pub(crate) mod describe;
mod expand;
mod keys;
mod mask;
mod network;
mod problem;
mod purge_on;
mod reader;
mod redis;
mod reference;
mod reload;
mod route;
mod scalar;
mod schema;
mod snippet;
mod store;
mod suggest;
mod tags;
mod targeted;
mod tls;
mod yaml;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
    time::Duration,
};

use http::HeaderName;
use ipnet::IpNet;

pub(crate) use self::suggest::nearest;
pub use self::{
    describe::Description, expand::Env, problem::ConfigErrors, reference::reference,
    reload::restart_only_changes, schema::schema, store::StoreConfig,
};
use self::{
    keys::{ANY, Absent, Key, Keys, Kind, words},
    problem::Wrong,
    reader::{At, Reader},
};
use crate::{
    address::{Listen, TlsPair, UpstreamUrl},
    limits::{Limits, Timeouts},
    policy::rule::CacheRule,
    routes::{PurgeOn, Rules},
    telemetry::access::AccessLog,
};

/// What a file says, checked as a whole.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data ports; at least one.
    pub listen: Vec<Listen>,
    /// What those of them that speak TLS present; none where none does.
    pub tls: Vec<TlsPair>,
    /// Where health, metrics and purges are; absent: nowhere.
    pub admin: Option<Listen>,
    /// The app.
    pub upstream: UpstreamUrl,
    /// Where responses are kept.
    pub store: StoreConfig,
    /// The authorities answered, as [`crate::routes::host_matches`] has it; absent: all.
    pub hosts: Option<Vec<String>>,
    /// Whose `X-Forwarded-*` and `Forwarded` are kept.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether each connection of these, and of a unix socket, begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Sizes and counts.
    pub limits: Limits,
    /// Waits.
    pub timeouts: Timeouts,
    /// The fields that govern before `Cache-Control`; each rule has them too.
    pub targeted_cache_control: Arc<[HeaderName]>,
    /// What is cached.
    pub rules: Rules,
    /// Which writes purge more than their own URL.
    pub purge_on: Vec<PurgeOn>,
    /// Which requests get a line in the log.
    pub access_log: AccessLog,
    /// Whether a trace begins here where none comes with a request.
    pub begins_traces: bool,
    /// What is allowed but seldom meant; for the log, at start and after a reload.
    pub warnings: Vec<String>,
}

const KEYS: Keys = Keys {
    known: &[
        Key::new(
            "listen",
            Absent::Refused,
            Kind::List { of: &Kind::Text(&network::LISTENER), least: 1, most: ANY },
            "where clients connect: `127.0.0.1:8080`, `[::]:8080`, `tls://[::]:8443` for HTTPS, \
             `unix:/path`, or a list",
        ),
        Key::new(
            "tls",
            Absent::Means("none"),
            Kind::Either(&[Kind::Map(&tls::KEYS), tls::PAIRS, Kind::Empty]),
            "with a `tls://` listener: the certificate, or a list of them, of which a client gets the \
             first that is valid for the name which it asks for, else the first",
        ),
        Key::new(
            "admin",
            Absent::Means("none"),
            Kind::Either(&[Kind::Text(&network::ADMIN), Kind::Empty]),
            "the listener for health, metrics and purges: `127.0.0.1:9090` or `unix:/path`. One that \
             other machines reach opens only with a token",
        ),
        Key::new(
            "upstream",
            Absent::Refused,
            Kind::Text(&network::UPSTREAM),
            "the app: `http://host:port`, `https://host:port` (verified by the system's certificates, or, \
             if the variable `SSL_CERT_FILE` of the environment names a file in PEM form, by those in it \
             alone; one that the app has signed itself must not be an authority, `CA:FALSE`), \
             `unix:/path`; in HTTP/2 `h2c://host:port`, `h2://host:port` (verified, by ALPN), as gRPC \
             needs it",
        ),
        Key::new("store", Absent::Means("memory alone"), Kind::Map(&store::KEYS), "where responses are kept"),
        Key::new(
            "routes",
            Absent::Refused,
            Kind::Maps { of: &route::KEYS, least: 0, most: Rules::MAX },
            "the rules, the first match wins; `[]` caches nothing",
        ),
        Key::new(
            "purge_on",
            Absent::Is("[]"),
            Kind::Maps { of: &purge_on::KEYS, least: 0, most: PurgeOn::MAX },
            "which writes, when the app answers them with 2xx or 3xx, purge more than their own URL",
        ),
        Key::new(
            "hosts",
            Absent::Means("all"),
            Kind::List { of: &Kind::Text(&network::HOST), least: 1, most: ANY },
            "the hosts that are answered; others get 421",
        ),
        Key::new(
            "trusted_proxies",
            Absent::Means("none"),
            Kind::List { of: &Kind::Text(&network::NETWORK), least: 0, most: ANY },
            "addresses or networks of proxies in front, whose `X-Forwarded-For`, `-Proto` and `-Host`, \
             `Forwarded` and `X-Request-Id` are kept, and all but the last added to. Of one that sends only \
             `X-Forwarded-*`, or only `Forwarded`, the app gets only that: the other would name the proxy in \
             the place of its client. A request for the cache tells by which scheme and host such a proxy was \
             asked in the words of the key, `https` for `https, http`, and no more of what `Forwarded` says",
        ),
        Key::new(
            "proxy_protocol",
            Absent::Is("false"),
            Kind::Switch,
            "`true`: every connection of a trusted proxy, or over a unix socket, begins with a PROXY \
             header (version 1 or 2), which says whose requests follow",
        ),
        Key::new("limits", Absent::Means("those below"), Kind::Map(&bounds::LIMITS), "sizes and counts"),
        Key::new("timeouts", Absent::Means("those below"), Kind::Map(&bounds::TIMEOUTS), "waits"),
        Key::new(
            "targeted_cache_control",
            Absent::Is("[Sidecache-Cache-Control, CDN-Cache-Control]"),
            targeted::FIELDS,
            "fields of responses (RFC 9213) of which the first that is there counts instead of \
             `Cache-Control` and `Expires`; `[]` for none",
        ),
        Key::new(
            "access_log",
            Absent::Means("a line for each request"),
            Kind::Map(&access_log::KEYS),
            "which requests get a line in the log",
        ),
        Key::new(
            "traceparent",
            Absent::Is("pass"),
            Kind::Words(&words(&access_log::TRACEPARENT)),
            "`pass`: a trace is passed on to the app; `create`: and begins here where none comes with a \
             request",
        ),
    ],
    foreign: &[
        ("port", "did you mean `listen`?"),
        ("bind", "did you mean `listen`?"),
        ("address", "did you mean `listen`?"),
        ("https", "write listen: tls://[::]:8443 and tls: { cert: …, key: … }"),
        ("ssl", "did you mean `tls`?"),
        ("cert", "write tls: { cert: …, key: … }"),
        ("certificate", "write tls: { cert: …, key: … }"),
        ("backend", "did you mean `upstream`?"),
        ("backends", "did you mean `upstream`?"),
        ("upstreams", "did you mean `upstream`? There is one"),
        ("origin", "did you mean `upstream`?"),
        ("target", "did you mean `upstream`?"),
        ("proxy_pass", "did you mean `upstream`?"),
        ("app", "did you mean `upstream`?"),
        ("rules", "did you mean `routes`?"),
        ("paths", "did you mean `routes`?"),
        ("locations", "did you mean `routes`?"),
        ("redis", "write store: { redis: …, prefix: … }"),
        ("memory", "write store: { memory: … }"),
        ("prefix", "write store: { prefix: … }"),
        ("cache", "`cache` belongs in a rule of `routes`"),
        ("ttl", "`ttl` belongs in a rule of `routes`"),
        ("tags", "`tags` belongs in `cache` of a rule, or in `purge_on`"),
        ("purge", "did you mean `purge_on`?"),
        ("purges", "did you mean `purge_on`?"),
        ("send_proxy", "did you mean `proxy_protocol`?"),
        ("accept_proxy", "did you mean `proxy_protocol`?"),
        ("timeout", "did you mean `timeouts`?"),
        ("cdn_cache_control", "did you mean `targeted_cache_control`?"),
        ("trusted", "did you mean `trusted_proxies`?"),
        ("metrics", "did you mean `admin`?"),
        ("log", "did you mean `access_log`? The rest is set on the command line"),
        ("logging", "did you mean `access_log`? The rest is set on the command line"),
        ("access", "did you mean `access_log`?"),
        ("trace", "did you mean `traceparent`?"),
        ("traces", "did you mean `traceparent`?"),
        ("tracing", "did you mean `traceparent`?"),
    ],
};

/// A duration as the file writes it, `1m30s`; at most ten years.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn duration(text: &str) -> Result<Duration, String> {
    scalar::duration(text).map_err(|Wrong { message, advice }| format!("{message}: {advice}"))
}

/// Reads the text of a file of at most 1 MiB.
///
/// # Errors
/// It cannot be read, or is no text.
pub fn read(path: &Path) -> Result<String, ConfigErrors> {
    let unreadable = |reason: String| ConfigErrors::unreadable(&path.display().to_string(), reason);
    let mut bytes = Vec::new();
    let reason = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file: --config names another".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    File::open(path)
        .and_then(|file| file.take(yaml::MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(reason(error)))?;
    String::from_utf8(bytes).map_err(|error| unreadable(format!("is not UTF-8: {}", error.utf8_error())))
}

/// The admin listener that a file names, whatever else is wrong in it.
///
/// # Errors
/// It cannot be read, is no YAML, or is wrong there.
pub fn admin(path: &Path, env: Env<'_>) -> Result<Option<Listen>, ConfigErrors> {
    let (text, file_name) = (read(path)?, path.display().to_string());
    let tree = tree(&text, &file_name)?;
    let mut reader = Reader::new(env);
    let top = reader.any_entries(&At::root(&tree), "a map with the key admin");
    let admin = top.and_then(|top| network::admin(&mut reader, top.get("admin"), &[]));
    reader.problems.retain(|problem| matches!(problem.path.as_str(), "" | "admin"));
    match reader.problems.is_empty() {
        true => Ok(admin),
        false => Err(ConfigErrors::new(&file_name, without_mark(&text), reader.problems)),
    }
}

/// Without the mark by which some editors say that it is UTF-8.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn tree(text: &str, file_name: &str) -> Result<yaml::Node, ConfigErrors> {
    if text.len() > yaml::MAX_BYTES {
        return Err(ConfigErrors::unreadable(file_name, "is larger than 1 MiB"));
    }
    let text = without_mark(text);
    yaml::parse(text).map_err(|problem| ConfigErrors::new(file_name, text, vec![problem]))
}

impl Config {
    /// Reads and checks a file of at most 1 MiB.
    ///
    /// # Errors
    /// All that is wrong with it, in its order; nothing of it holds then.
    pub fn load(path: &Path, env: Env<'_>) -> Result<Self, ConfigErrors> {
        Self::parse(&read(path)?, &path.display().to_string(), env)
    }

    /// Checks the text of a file. `file_name` is for the errors, `env` is asked for `${NAME}`.
    ///
    /// # Errors
    /// All that is wrong with it, in its order; a text that is no YAML has one error.
    pub fn parse(text: &str, file_name: &str, env: Env<'_>) -> Result<Self, ConfigErrors> {
        let tree = tree(text, file_name)?;
        let mut reader = Reader::new(env);
        let config = config(&mut reader, &At::root(&tree));
        match config {
            Some(config) if reader.problems.is_empty() => Ok(Self { warnings: reader.warnings, ..config }),
            _ => Err(ConfigErrors::new(file_name, without_mark(text), reader.problems)),
        }
    }
}

fn config(reader: &mut Reader<'_>, root: &At<'_>) -> Option<Config> {
    if root.is_null() {
        reader.wrong(root, Wrong::new("the file is empty", "it needs listen, upstream and routes"));
        return None;
    }
    let top = reader.entries(root, "keys: listen, upstream and routes", &KEYS)?;
    let network = network::network(reader, &top);
    let store = match top.get("store") {
        Some(at) => store::store(reader, at),
        None => Some(StoreConfig::default()),
    };
    let hosts = top.get("hosts").and_then(|at| network::hosts(reader, at));
    let trusted_proxies = top.get("trusted_proxies").and_then(|at| network::trusted_proxies(reader, at));
    let proxy_protocol = network::proxy_protocol(reader, &top, network.as_ref(), trusted_proxies.as_deref());
    let limits = top.get("limits").and_then(|at| bounds::limits(reader, at));
    let timeouts = top.get("timeouts").and_then(|at| bounds::timeouts(reader, at));
    let targeted = top.get("targeted_cache_control").and_then(|at| targeted::targeted(reader, at));
    let targeted = targeted.map_or_else(|| CacheRule::new(None).targeted, Arc::from);
    let largest_body = store.clone().unwrap_or_default().largest_body();
    let found_before = reader.problems.len();
    let rules = reader
        .require(&top, "routes", "add routes: with a rule for each path, or routes: [] to cache nothing")
        .and_then(|at| route::rules(reader, &at, largest_body, &targeted));
    // Of rules that are wrong the names may be too; and `routes: []` switches all of them off at once.
    let right = rules.as_ref().filter(|_| reader.problems.len() == found_before);
    let named = right.filter(|rules| rules.iter().len() > 0);
    let purge_on = match top.get("purge_on") {
        Some(at) => purge_on::purge_on(reader, at, named),
        None => Some(Vec::new()),
    };
    let access_log = top.get("access_log").and_then(|at| access_log::access_log(reader, at));
    let begins_traces = top.get("traceparent").and_then(|at| reader.word(at, &access_log::TRACEPARENT));
    let network = network?;
    Some(Config {
        listen: network.listen,
        tls: network.tls,
        admin: network.admin,
        upstream: network.upstream,
        store: store?,
        hosts,
        trusted_proxies: trusted_proxies.unwrap_or_default(),
        proxy_protocol,
        limits: limits.unwrap_or_default(),
        timeouts: timeouts.unwrap_or_default(),
        targeted_cache_control: targeted,
        rules: rules?,
        purge_on: purge_on?,
        access_log: access_log.unwrap_or_default(),
        begins_traces: begins_traces.unwrap_or_default(),
        warnings: Vec::new(),
    })
}
