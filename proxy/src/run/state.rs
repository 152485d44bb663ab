//! Builds what a request finds out of what the file says.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

use super::RunError;
use crate::{
    app::Live,
    clock::Clock,
    config::{Config, StoreConfig},
    headers::PSEUDONYM,
    store::{
        memory::MemoryStore,
        redis::{RedisStore, Settings as RedisSettings},
        tiers::{Fleet, TierSettings, Tiers},
    },
    upstream::{Settings as UpstreamSettings, SetupError, Upstream},
};

/// The stores; Redis is connected to in the background, however long that takes.
pub(super) fn stores(config: &StoreConfig, clock: Clock) -> Result<Tiers, RunError> {
    Ok(match redis(config)? {
        None => Tiers::Memory(MemoryStore::new(config.memory.unwrap_or_default(), Arc::default())),
        Some(settings) => {
            let redis = RedisStore::start(settings, clock);
            Tiers::Redis(Box::new(Fleet::start(redis, tiers(config), Vec::new())))
        }
    })
}

/// How Redis is reached and what is believed there, by the file and by those that it names.
pub(super) fn redis(config: &StoreConfig) -> Result<Option<RedisSettings>, RunError> {
    let Some(access) = &config.redis else { return Ok(None) };
    let prefix = config.prefix.as_deref().unwrap_or_default();
    let settings = RedisSettings::of(access, prefix)?.with_compression(config.compress);
    Ok(Some(match &config.hmac_key_file {
        Some(path) => settings.with_keys(path).map_err(RunError::Keys)?,
        None => settings,
    }))
}

/// What the memory before Redis may do.
fn tiers(config: &StoreConfig) -> TierSettings {
    TierSettings {
        memory: config.memory.unwrap_or_default(),
        untracked_max_age: config.untracked_max_age,
        on_outage: config.on_outage,
        shed_above: config.shed_above,
    }
}

/// What can change while the proxy runs. The client to the origin is kept, with its connections,
/// where nothing that concerns it has changed.
pub(super) fn live(config: &Config, before: Option<(&Config, &Live)>) -> Result<Live, SetupError> {
    let settings =
        |config: &Config| UpstreamSettings::new(config.upstream.clone(), &config.limits, &config.timeouts);
    let kept = before.filter(|(old, _)| settings(old) == settings(config));
    let upstream = match kept {
        Some((_, live)) => Arc::clone(&live.upstream),
        None => Arc::new(Upstream::new(settings(config))?),
    };
    Ok(Live {
        rules: config.rules.clone(),
        purge_on: config.purge_on.clone(),
        upstream,
        hosts: config.hosts.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        limits: config.limits.clone(),
        timeouts: config.timeouts.clone(),
        begins_traces: config.begins_traces,
        pseudonym: before.map_or_else(pseudonym, |(_, live)| Arc::clone(&live.pseudonym)),
    })
}

/// A name that no other process has.
fn pseudonym() -> Arc<str> {
    let random = RandomState::new().build_hasher().finish();
    format!("{PSEUDONYM}-{:08x}", random >> 32).into()
}
