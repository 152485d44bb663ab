//! `listen`, `tls`, `admin`, `upstream`, `hosts`, `trusted_proxies`, `proxy_protocol`: who talks to whom.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    keys::Text,
    problem::Wrong,
    reader::{At, Entries, Reader},
    scalar::switch,
    tls,
};
use crate::{
    address::{AddressError, Listen, TlsPair, UpstreamUrl},
    admit::{Scheme, normalise_authority},
};

/// The addresses of a file.
pub(super) struct Network {
    pub(super) listen: Vec<Listen>,
    pub(super) tls: Vec<TlsPair>,
    pub(super) admin: Option<Listen>,
    pub(super) upstream: UpstreamUrl,
}

impl From<AddressError> for Wrong {
    fn from(error: AddressError) -> Self {
        Self::new(error.what, error.advice)
    }
}

const LISTEN: &str = "127.0.0.1:8080, [::]:8080, tls://[::]:8443, unix:/path or a list of them";

pub(super) const LISTENER: Text = Text {
    is: "127.0.0.1:8080, [::]:8080, tls://[::]:8443 or unix:/path",
    like: r"(tls://)?([0-9.]+|\[[0-9A-Fa-f:.%]+\]):[0-9]+|unix:/.+",
    bare: false,
};

pub(super) const ADMIN: Text = Text {
    is: "127.0.0.1:9090 or unix:/path",
    like: r"([0-9.]+|\[[0-9A-Fa-f:.%]+\]):[0-9]+|unix:/.+",
    bare: false,
};

pub(super) const UPSTREAM: Text = Text {
    is: "http://app:8000, https://app:443, h2c://app:50051, h2://app:443 or unix:/path",
    like: r"([hH][tT][tT][pP][sS]?|[hH]2[cC]?)://[^/?#@\s]+/?|unix:/.+",
    bare: false,
};

pub(super) const HOST: Text = Text {
    is: "a host, example.org or example.org:8080",
    like: r"[A-Za-z0-9._~-]+(:[0-9]*)?|\[[0-9A-Fa-f:.]+\](:[0-9]*)?",
    bare: true,
};

/// Of an item of `trusted_proxies`.
pub(super) const NETWORK: Text = Text {
    is: "an address or a network, 10.0.0.0/8",
    like: r"([0-9]+(\.[0-9]+){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)(/[0-9]+)?",
    bare: false,
};

/// Reads the addresses, and refuses those that would answer themselves.
pub(super) fn network(reader: &mut Reader<'_>, top: &Entries<'_>) -> Option<Network> {
    let listen_at = reader.require(top, "listen", "add listen: 127.0.0.1:8080");
    let listen = listen_at.and_then(|at| listeners(reader, &at));
    let tls = certificates(reader, top, listen.as_deref());
    let admin = admin(reader, top.get("admin"), listen.as_deref().unwrap_or_default());
    let upstream_at =
        reader.require(top, "upstream", "add upstream: http://127.0.0.1:8000 (where the app listens)")?;
    let upstream = reader.scalar(&upstream_at, UPSTREAM.is, |text| Ok(UpstreamUrl::parse(text)?))?;
    let listen = listen?;
    if listen.iter().chain(&admin).any(|ours| ours.accepts(&upstream)) {
        let wrong = Wrong::new(
            "this is our own address: requests would go round in circles",
            "write the app's address",
        );
        reader.wrong(&upstream_at, wrong);
        return None;
    }
    Some(Network { listen, tls: tls?, admin, upstream })
}

fn listeners(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Vec<Listen>> {
    let listen = reader.list(at, LISTEN, |text| Ok(Listen::parse(text)?))?;
    if listen.is_empty() {
        reader.wrong(at, Wrong::new("an empty list accepts nobody", format!("write {LISTEN}")));
        return None;
    }
    for (place, second) in listen.iter().enumerate() {
        if listen.iter().take(place).any(|first| first.collides(second)) {
            let message = format!("{second} has the address of another listener");
            reader.wrong(at, Wrong::new(message, "give each its own port"));
        }
    }
    Some(listen)
}

/// Certificates, and a listener for them: neither is of use without the other. None, for none of both.
fn certificates(
    reader: &mut Reader<'_>,
    top: &Entries<'_>,
    listen: Option<&[Listen]>,
) -> Option<Vec<TlsPair>> {
    let speaks_tls = listen?.iter().any(|listen| matches!(listen, Listen::Tls(_)));
    match top.get("tls").filter(|at| !at.is_null()) {
        Some(at) if !speaks_tls => {
            let advice = "write tls:// before a listener, listen: tls://[::]:8443, or remove `tls`";
            reader.wrong_key(at, Wrong::new("no listener speaks TLS", advice));
            None
        }
        Some(at) => tls::tls(reader, at),
        None if speaks_tls => {
            let advice = "add tls: { cert: /path/of/cert.pem, key: /path/of/key.pem }";
            reader
                .wrong(top.get("listen")?, Wrong::new("a listener with tls:// needs a certificate", advice));
            None
        }
        None => Some(Vec::new()),
    }
}

/// An address that other machines can reach takes a token, which the listener asks for when it opens.
pub(super) fn admin(reader: &mut Reader<'_>, at: Option<&At<'_>>, listen: &[Listen]) -> Option<Listen> {
    let at = at.filter(|at| !at.is_null())?;
    let text = reader.text(at, ADMIN.is).filter(|text| !text.is_empty())?;
    let admin = Listen::parse(&text).map_err(|error| reader.wrong(at, error.into())).ok()?;
    if matches!(admin, Listen::Tls(_)) {
        reader
            .wrong(at, Wrong::new("the admin listener speaks no TLS", "write 127.0.0.1:9090 or unix:/path"));
        return None;
    }
    if listen.iter().any(|listen| listen.collides(&admin)) {
        reader.wrong(at, Wrong::new("`listen` has this address already", "write another port"));
        return None;
    }
    Some(admin)
}

/// `hosts`: the authorities that are answered.
pub(super) fn hosts(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Vec<String>> {
    let hosts = reader.list(at, "a list of hosts, [example.org]", host)?;
    if hosts.is_empty() {
        reader.wrong(at, Wrong::new("an empty list answers nobody", "remove `hosts` to answer all"));
        return None;
    }
    Some(hosts)
}

/// A host with an optional port, normalised as a request's authority is.
pub(super) fn host(text: &str) -> Result<String, Wrong> {
    normalise_authority(text.as_bytes(), Scheme::Http).ok_or_else(|| {
        let advice = match text {
            _ if text.contains("://") => "write it without the scheme, example.org",
            _ if text.contains('*') => "write each host: wildcards are not known here",
            _ => "write example.org, example.org:8080 or [::1]",
        };
        Wrong::new(format!("`{text}` is not a host"), advice)
    })
}

/// `trusted_proxies`: whose `X-Forwarded-*` and `Forwarded` are kept.
pub(super) fn trusted_proxies(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Vec<IpNet>> {
    reader.list(at, "a list of addresses or networks, [10.0.0.0/8]", network_of)
}

/// `proxy_protocol`: whether trusted proxies say whom they speak for before anything else. Of no use where
/// there are none: it is only believed from them, and from unix sockets.
pub(super) fn proxy_protocol(
    reader: &mut Reader<'_>,
    top: &Entries<'_>,
    network: Option<&Network>,
    trusted: Option<&[IpNet]>,
) -> bool {
    let Some(at) = top.get("proxy_protocol") else { return false };
    let on = reader.scalar(at, "true or false", switch).unwrap_or_default();
    let is_read = |network: &Network| {
        !trusted.unwrap_or_default().is_empty()
            || network.listen.iter().any(|listen| matches!(listen, Listen::Unix(_)))
    };
    if on
        && network.is_some_and(|network| !is_read(network))
        && top.get("trusted_proxies").is_none_or(|_| trusted.is_some())
    {
        let advice = "add trusted_proxies: with the addresses of those that send the header";
        reader.wrong_key(at, Wrong::new("a PROXY header is read from trusted proxies only", advice));
    }
    on
}

fn network_of(text: &str) -> Result<IpNet, Wrong> {
    let net = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().map_err(|_| {
            Wrong::new(
                format!("`{text}` is neither an address nor a network"),
                "write 10.0.0.7 or 10.0.0.0/8",
            )
        })?,
    };
    if net != net.trunc() {
        return Err(Wrong::new(
            format!("`{text}` has bits set beyond its prefix"),
            format!("write {}", net.trunc()),
        ));
    }
    Ok(net)
}
