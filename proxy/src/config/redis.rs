//! `store.redis`: a URL, or a map that says where Redis is and how to be let in.

use std::path::PathBuf;

use super::{
    keys::{Absent, Key, Keys, Kind, Text, words},
    problem::Wrong,
    reader::{At, Entries, Reader},
    scalar::{count, switch},
};
use crate::address::{RedisAccess, RedisLogin, RedisNode, RedisPlace, RedisTls, RedisUrl};

pub(super) const URL: Text =
    Text { is: "a URL, redis://host:6379", like: r"redis(s?://[^\s]+|\+unix:///?[^\s]+)", bare: false };
/// Of a file.
pub(super) const PATH: Text = Text { is: "the path of a file, /run/secrets/redis", like: "/.+", bare: false };
const NODE: Text = Text {
    is: "a host, redis:6379",
    like: r"[A-Za-z0-9._~-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?",
    bare: true,
};
const NAME: Text = Text { is: "a name, mymaster", like: "[!-~]{1,256}", bare: true };
const NAME_OR_NONE: Kind = Kind::Either(&[Kind::Text(&NAME), Kind::Empty]);
const PATH_OR_NONE: Kind = Kind::Either(&[Kind::Text(&PATH), Kind::Empty]);
/// Sentinels that are asked.
const MAX_NODES: usize = 16;
/// Bytes of a name.
const MAX_NAME: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Single,
    Sentinel,
    Cluster,
}

const MODES: [(&str, Mode); 3] =
    [("single", Mode::Single), ("sentinel", Mode::Sentinel), ("cluster", Mode::Cluster)];

pub(super) const KEYS: Keys = Keys {
    known: &[
        Key::new(
            "mode",
            Absent::Is("single"),
            Kind::Words(&words(&MODES)),
            "`single`; `sentinel`: which server is the master is asked of sentinels; or `cluster`: \
             several masters share the keys",
        ),
        Key::new(
            "url",
            Absent::Means("none"),
            Kind::Text(&URL),
            "of a single Redis: `redis://`, `rediss://` or `redis+unix://`",
        ),
        Key::new(
            "nodes",
            Absent::Means("none"),
            Kind::List { of: &Kind::Text(&NODE), least: 1, most: MAX_NODES },
            "the sentinels, `[a:26379, b:26379, c:26379]`; some nodes of a cluster, `[a:6379, b:6379]`; \
             of a single Redis `[host:6379]`, instead of a URL",
        ),
        Key::new("user", Absent::Means("none"), NAME_OR_NONE, "the ACL user, where the URL has none"),
        Key::new(
            "password_file",
            Absent::Means("none"),
            PATH_OR_NONE,
            "the file that holds the password; read for each new connection, so that it can be replaced",
        ),
        Key::new(
            "database",
            Absent::Is("0"),
            Kind::Count { least: 0, most: u16::MAX as usize },
            "the number of the database; a cluster has no other",
        ),
        Key::new(
            "tls",
            Absent::Is("false"),
            Kind::Either(&[Kind::Switch, Kind::Map(&TLS_KEYS)]),
            "`true`: TLS, verified by the system's certificates, as with a `rediss://` URL; or a map of \
             files in PEM form, read for each new connection. Sentinels speak it too, and all nodes of a \
             cluster",
        ),
        Key::new(
            "sentinel",
            Absent::Means("none; required with `mode: sentinel`"),
            Kind::Map(&SENTINEL_KEYS),
            "how the sentinels are asked",
        ),
    ],
    foreign: &[
        ("node", "did you mean `nodes`?"),
        ("host", "did you mean `nodes`?"),
        ("hosts", "did you mean `nodes`?"),
        ("address", "did you mean `nodes`?"),
        ("addresses", "did you mean `nodes`?"),
        ("sentinels", "did you mean `nodes`? With mode: sentinel they are the sentinels"),
        ("db", "did you mean `database`?"),
        ("username", "did you mean `user`?"),
        ("password", "write password_file: /path/of/a/file, or url: redis://:password@host:6379"),
        ("master", "`master` belongs in `sentinel`"),
        ("master_name", "write sentinel: { master: … }"),
        ("service_name", "write sentinel: { master: … }"),
        ("ca", "`ca` belongs in `tls`"),
        ("cert", "`cert` belongs in `tls`"),
        ("key", "`key` belongs in `tls`"),
        ("prefix", "`prefix` belongs in `store`"),
    ],
};

const TLS_KEYS: Keys = Keys {
    known: &[
        Key::new("ca", Absent::Means("the system's"), Kind::Text(&PATH), "the authorities that are believed"),
        Key::new(
            "cert",
            Absent::Means("none"),
            Kind::Text(&PATH),
            "our own certificate, for a Redis that asks for one; with `key`",
        ),
        Key::new("key", Absent::Means("none"), Kind::Text(&PATH), "the key of `cert`"),
    ],
    foreign: &[
        ("ca_file", "did you mean `ca`?"),
        ("ca_cert", "did you mean `ca`?"),
        ("cert_file", "did you mean `cert`?"),
        ("certificate", "did you mean `cert`?"),
        ("key_file", "did you mean `key`?"),
        ("private_key", "did you mean `key`?"),
        ("insecure", "certificates are always verified: name the authority as `ca`"),
        ("verify", "certificates are always verified: name the authority as `ca`"),
    ],
};

const SENTINEL_KEYS: Keys = Keys {
    known: &[
        Key::new(
            "master",
            Absent::Refused,
            Kind::Text(&NAME),
            "the name by which the sentinels know the master",
        ),
        Key::new("user", Absent::Means("none"), NAME_OR_NONE, "as whom the sentinels are asked"),
        Key::new(
            "password_file",
            Absent::Means("none"),
            PATH_OR_NONE,
            "the file that holds the password of that user",
        ),
    ],
    foreign: &[
        ("name", "did you mean `master`?"),
        ("master_name", "did you mean `master`?"),
        ("service_name", "did you mean `master`?"),
        ("nodes", "`nodes` belongs beside `sentinel`"),
        ("username", "did you mean `user`?"),
        ("password", "write password_file: /path/of/a/file"),
    ],
};

/// Reads it; empty (`${REDIS_URL:-}`) is none.
pub(super) fn redis(reader: &mut Reader<'_>, at: &At<'_>) -> Option<RedisAccess> {
    if at.is_null() {
        return None;
    }
    if at.is_map() {
        return map(reader, at);
    }
    let text = reader.text(at, URL.is).filter(|text| !text.is_empty())?;
    RedisUrl::parse(&text).map(RedisAccess::from).map_err(|error| reader.wrong(at, error.into())).ok()
}

fn map(reader: &mut Reader<'_>, at: &At<'_>) -> Option<RedisAccess> {
    let entries = reader.entries(at, "{ url: redis://host:6379 }", &KEYS)?;
    let found_before = reader.problems.len();
    let mode = match entries.get("mode") {
        Some(at) => reader.word(at, &MODES),
        None => Some(Mode::Single),
    };
    let login = login(reader, &entries);
    let database = entries.get("database").and_then(|at| reader.scalar(at, "a number, 0", database));
    let tls = entries.get("tls").and_then(|at| tls(reader, at));
    let place = match mode? {
        Mode::Single => server(reader, &entries, tls.is_some()),
        Mode::Sentinel => sentinels(reader, &entries),
        Mode::Cluster => cluster(reader, &entries, database),
    };
    let access = match place? {
        RedisPlace::Server(url) => {
            agree(reader, &entries, &url, tls.is_some());
            let tls = tls.or_else(|| url.is_tls().then(RedisTls::default));
            RedisAccess { place: RedisPlace::Server(url), login, database, tls }
        }
        place => RedisAccess { place, login, database, tls },
    };
    (reader.problems.len() == found_before).then_some(access)
}

/// `sentinel` without sentinels.
fn no_sentinel(reader: &mut Reader<'_>, entries: &Entries<'_>) {
    if let Some(at) = entries.get("sentinel") {
        reader
            .wrong_key(at, Wrong::new("`sentinel` has no effect here", "write mode: sentinel, or remove it"));
    }
}

/// The one server.
fn server(reader: &mut Reader<'_>, entries: &Entries<'_>, tls: bool) -> Option<RedisPlace> {
    no_sentinel(reader, entries);
    if let Some(at) = entries.get("nodes") {
        if entries.get("url").is_some() {
            reader.wrong_key(at, Wrong::new("`url` says where Redis is", "remove one of them"));
            return None;
        }
        let nodes = nodes(reader, at, RedisUrl::DEFAULT_PORT)?;
        let [node] = nodes.as_slice() else {
            let advice = "leave one, or add mode: cluster, or mode: sentinel if they are sentinels";
            reader.wrong(at, Wrong::new("a single Redis is one node", advice));
            return None;
        };
        return Some(RedisPlace::Server(RedisUrl::of(node, tls)));
    }
    let at = reader.require(entries, "url", "add url: redis://host:6379")?;
    reader.scalar(&at, URL.is, |text| Ok(RedisUrl::parse(text)?)).map(RedisPlace::Server)
}

/// Nothing is stated twice, in the URL and beside it.
fn agree(reader: &mut Reader<'_>, entries: &Entries<'_>, url: &RedisUrl, tls: bool) {
    let (twice, own) = ("the URL has one already", "remove user and password from the URL");
    for (key, stated, message, advice) in [
        ("user", url.holds_login(), twice, own),
        ("password_file", url.holds_login(), twice, own),
        ("database", url.holds_database(), twice, "remove one of them"),
        (
            "tls",
            tls && !url.is_tls(),
            "the URL does not ask for TLS",
            "write a rediss:// URL, or remove `tls`",
        ),
        ("tls", !tls && url.is_tls(), "the URL asks for TLS", "write a redis:// URL, or remove `tls`"),
    ] {
        let at = entries.get(key).filter(|at| stated && !at.is_null());
        if let Some(at) = at {
            reader.wrong_key(at, Wrong::new(message, advice));
        }
    }
}

/// Whom to ask where Redis is, instead of a URL.
fn asked(
    reader: &mut Reader<'_>,
    entries: &Entries<'_>,
    port: u16,
    message: &str,
    [instead, missing]: [&'static str; 2],
) -> Option<Vec<RedisNode>> {
    if let Some(at) = entries.get("url") {
        reader.wrong_key(at, Wrong::new(message, instead));
        return None;
    }
    let at = reader.require(entries, "nodes", missing)?;
    nodes(reader, &at, port)
}

/// Some nodes of a cluster, which know the others.
fn cluster(reader: &mut Reader<'_>, entries: &Entries<'_>, database: Option<u16>) -> Option<RedisPlace> {
    no_sentinel(reader, entries);
    if let Some(at) = entries.get("database").filter(|_| database.is_some_and(|number| number != 0)) {
        reader.wrong(at, Wrong::new("a cluster has database 0 alone", "remove `database`"));
    }
    let words = [
        "write nodes: [host:6379, …], some of the cluster",
        "add nodes: [host:6379, …], some of the cluster",
    ];
    let nodes =
        asked(reader, entries, RedisUrl::DEFAULT_PORT, "the nodes of a cluster say where Redis is", words)?;
    Some(RedisPlace::Cluster { nodes })
}

fn sentinels(reader: &mut Reader<'_>, entries: &Entries<'_>) -> Option<RedisPlace> {
    let words = ["write nodes: [host:26379, …], the sentinels", "add nodes: [host:26379, …], the sentinels"];
    let nodes = asked(reader, entries, RedisNode::SENTINEL_PORT, "the sentinels say where Redis is", words);
    let at = reader.require(entries, "sentinel", "add sentinel: { master: mymaster }")?;
    let entries = reader.entries(&at, "{ master: mymaster }", &SENTINEL_KEYS)?;
    let login = login(reader, &entries);
    let master =
        reader.require(&entries, "master", "add master: with the name that the sentinels know it by");
    let master = reader.scalar(&master?, NAME.is, name)?;
    Some(RedisPlace::Sentinels { nodes: nodes?, master, login })
}

fn nodes(reader: &mut Reader<'_>, at: &At<'_>, port: u16) -> Option<Vec<RedisNode>> {
    let nodes = reader.list(at, "a list of hosts, [redis:6379]", |text| Ok(RedisNode::parse(text, port)?))?;
    if nodes.is_empty() || nodes.len() > MAX_NODES {
        let message = if nodes.is_empty() { "an empty list leads nowhere" } else { "too many nodes" };
        reader.wrong(at, Wrong::new(message, format!("write 1 to {MAX_NODES} of them, host:{port}")));
        return None;
    }
    Some(nodes)
}

/// Empty values are none.
fn login(reader: &mut Reader<'_>, entries: &Entries<'_>) -> RedisLogin {
    let mut given = |key, wanted, parse: fn(&str) -> Result<String, Wrong>| {
        let at = entries.get(key).filter(|at| !at.is_null())?;
        let text = reader.text(at, wanted).filter(|text| !text.is_empty())?;
        parse(&text).map_err(|wrong| reader.wrong(at, wrong)).ok()
    };
    RedisLogin {
        user: given("user", "the name of a user", name),
        password_file: given("password_file", PATH.is, path).map(PathBuf::from),
    }
}

fn tls(reader: &mut Reader<'_>, at: &At<'_>) -> Option<RedisTls> {
    if !at.is_map() {
        let on = reader.scalar(at, "true, or { ca: /path, cert: /path, key: /path }", switch)?;
        return on.then(RedisTls::default);
    }
    let entries = reader.entries(at, "{ ca: /path }", &TLS_KEYS)?;
    let mut file = |key| {
        let at = entries.get(key)?;
        reader.scalar(at, "the path of a file in PEM form", path).map(PathBuf::from)
    };
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if let (Some(at), None) = (entries.get(one), entries.get(other)) {
            let message = format!("`{one}` needs `{other}`");
            reader.wrong_key(at, Wrong::new(message, format!("add {other}: /path/of/a/file")));
        }
    }
    Some(RedisTls { ca, identity: cert.zip(key) })
}

fn database(text: &str) -> Result<u16, Wrong> {
    u16::try_from(count(text)?)
        .map_err(|_| Wrong::new(format!("`{text}` is too large"), "write the number of a database, 0"))
}

fn name(text: &str) -> Result<String, Wrong> {
    if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let advice = format!("1 to {MAX_NAME} visible ASCII letters without blanks");
        return Err(Wrong::new("not a name", advice));
    }
    Ok(text.to_owned())
}

/// What it holds is no business of the file's.
pub(super) fn path(text: &str) -> Result<String, Wrong> {
    if !text.starts_with('/') || text.len() == 1 || text.contains('\0') {
        return Err(Wrong::new("not the absolute path of a file", "write one that begins with `/`"));
    }
    Ok(text.to_owned())
}
