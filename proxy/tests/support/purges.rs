//! What operators ask for.

use sidecache::{
    epoch::Mode,
    purge::{PurgeRequest, PurgeUrl},
};

/// All variants of these.
pub fn urls(texts: &[&str]) -> PurgeRequest {
    let urls = texts.iter().map(|text| PurgeUrl::parse(text).unwrap()).collect();
    PurgeRequest { urls, ..nothing() }
}

/// All that carries one of these.
pub fn tags(names: &[&str]) -> PurgeRequest {
    PurgeRequest { tags: names.iter().map(ToString::to_string).collect(), ..nothing() }
}

/// All that one of these rules stored.
pub fn rules(names: &[&str]) -> PurgeRequest {
    PurgeRequest { rules: names.iter().map(ToString::to_string).collect(), ..nothing() }
}

/// All there is.
pub fn all() -> PurgeRequest {
    PurgeRequest { everything: true, ..nothing() }
}

/// The same, but it is only marked.
pub fn softly(request: PurgeRequest) -> PurgeRequest {
    PurgeRequest { mode: Mode::Soft, ..request }
}

fn nothing() -> PurgeRequest {
    PurgeRequest {
        urls: Vec::new(),
        tags: Vec::new(),
        rules: Vec::new(),
        everything: false,
        mode: Mode::Hard,
        wait: true,
    }
}
