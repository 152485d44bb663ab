//! What happened to a resource, and to the fleet, around a read: a run is not repeated exactly, so what it
//! shows has to be enough to find the cause.

use std::time::Duration;

use crate::history::{History, Read, Span};

/// Before the read, and after it.
const AROUND: Duration = Duration::from_millis(1500);

/// In the order in which it began.
pub(crate) fn around(history: &History, read: &Read) -> Vec<String> {
    let time = Span { begun: read.span.begun.saturating_sub(AROUND), ended: read.span.ended + AROUND };
    let asked = history.reads.iter().map(|read| ("read", read));
    let asked = asked.chain(history.posts.iter().map(|post| ("POST", post)));
    let asked = asked.filter(|(_, other)| other.key == read.key).map(|(what, other)| {
        (other.span, format!("{} {what} by sidecar {}: {:?}", other.span, other.sidecar, other.got))
    });
    let purges = history.purges.iter().filter(|purge| purge.names.contains(&read.key)).map(|purge| {
        (purge.span, format!("{} {} on sidecar {}: {:?}", purge.span, purge.what, purge.via, purge.status))
    });
    let faults = history.faults.iter().map(|fault| (fault.span, fault.to_string()));
    let mut all: Vec<_> = asked.chain(purges).chain(faults).filter(|(span, _)| span.overlaps(time)).collect();
    all.sort_by_key(|(span, _)| span.begun);
    all.into_iter().map(|(_, event)| event).collect()
}
