//! Puts an edited file in force: all of it, or nothing.

use std::{path::Path, sync::Arc, time::SystemTime};

use super::state;
use crate::{
    app::App,
    config::{Config, restart_only_changes},
    reload::{Change, Reloader, status::Status},
    telemetry::metrics::Metrics,
};

/// What an edit acts on.
pub(super) struct Reloading {
    pub(super) app: Arc<App>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) status: Arc<Status>,
    /// What is in force.
    pub(super) config: Config,
}

impl Reloading {
    /// Applies every change, for ever.
    pub(super) async fn run(mut self, mut reloader: Reloader, file: &Path) {
        loop {
            let change = reloader.next().await;
            let result = self.apply(&change, file);
            let (file, rules) = (file.display(), self.config.rules.iter().count());
            match &result {
                Ok(()) => tracing::info!(%file, rules, "the configuration is in force"),
                Err(error) => {
                    tracing::error!("the configuration is not taken, the one before stays in force: {error}");
                }
            }
            self.status.record(result, SystemTime::now());
        }
    }

    fn apply(&mut self, change: &Change, file: &Path) -> Result<(), String> {
        let text = change.text.as_ref().map_err(|error| format!("{}: {error}", file.display()))?;
        let name = file.display().to_string();
        let config = Config::parse(text, &name, &super::environment).map_err(|errors| errors.to_string())?;
        for needs_restart in restart_only_changes(&self.config, &config) {
            tracing::warn!("{needs_restart}");
        }
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let before = self.app.live();
        let live = state::live(&config, Some((&self.config, &before))).map_err(|error| error.to_string())?;
        self.metrics.follow(&live.rules.names());
        self.app.swap(live);
        self.config = config;
        Ok(())
    }
}
