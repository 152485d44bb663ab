//! Bodies that are apart from what is looked up: they come over a connection of their own, because whatever is
//! behind one on a connection waits for it.
//!
//! Such a body is known by its length and checksum, which the entry tells. So it does not matter when it is
//! read, nor from which server: it is the one that belongs to the entry, or none.

use std::{sync::Arc, time::Duration};

use super::{
    cluster::{Links, Nodes, Spot},
    layout::{self, Place},
    link::Role,
    lookup::values,
    write::LARGEST_BODY,
};
use crate::{
    store::StoreError,
    stored::{Apart, Seal, Stored},
};

/// The way of bodies from Redis.
#[derive(Debug)]
pub(super) struct Bodies {
    links: Links,
    seal: Seal,
}

impl Bodies {
    /// From these.
    pub(super) fn new(nodes: &Arc<Nodes>) -> Self {
        Self { links: Links::new(nodes, Role::Bodies), seal: nodes.settings().seal.clone() }
    }

    /// These entries of one resource with their bodies, in their order; nothing for one whose body is not there,
    /// or is another.
    pub(super) async fn join(
        &self,
        place: &Place,
        entries: Vec<Apart>,
        within: Duration,
    ) -> Result<Vec<Option<Stored>>, StoreError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = entries.iter().map(Apart::written).fold(0, u64::saturating_add);
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= LARGEST_BODY);
        // Such an entry is none of ours.
        let Some(bytes) = bytes else { return Ok(entries.iter().map(|_| None).collect()) };
        let weight = u32::try_from(bytes.div_ceil(1024)).map_err(|_| StoreError::TooLarge)?;
        let fields: Vec<_> =
            entries.iter().map(|entry| layout::body_field(&entry.stored().variant)).collect();
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        let ask = async |mut connection| values(&mut connection, &place.name, &fields).await;
        let found =
            self.links.run_in_turn(Spot::Of(place.hash), weight, within, ask).await?.unwrap_or_default();
        let found = found.into_iter().chain(std::iter::repeat(None));
        Ok(entries
            .into_iter()
            .zip(found)
            .map(|(entry, body)| entry.with(body?.into(), &self.seal).ok())
            .collect())
    }
}
