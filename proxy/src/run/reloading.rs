//! Puts an edited file in force: all of it, or nothing.

use std::{path::Path, sync::Arc, time::SystemTime};

use super::{manager::Manager, state};
use crate::{
    app::App,
    config::{Config, restart_only_changes},
    reload::{Change, Reloader, status::Status},
    telemetry::{Telemetry, metrics::Metrics},
};

/// What an edit acts on.
pub(super) struct Reloading {
    pub(super) app: Arc<App>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) status: Arc<Status>,
    pub(super) manager: Manager,
    /// What is in force.
    pub(super) config: Config,
    /// The configuration of the start, of which some things stay in force until the end.
    pub(super) started: Config,
}

impl Reloading {
    /// Applies every change, for ever.
    pub(super) async fn run(mut self, mut reloader: Reloader, file: &Path) {
        loop {
            let change = reloader.next().await;
            self.manager.reloading();
            let result = self.apply(&change, file);
            self.status.record(result.clone(), SystemTime::now());
            let (file, rules) = (file.display(), self.config.rules.iter().count());
            match &result {
                Ok(_) => {
                    self.manager.ready("the rules of the file are in force");
                    tracing::info!(%file, rules, "the configuration is in force");
                }
                Err(error) => {
                    self.manager.ready("the last edit was refused; the rules before it are in force");
                    tracing::error!("the configuration is not taken, the one before stays in force: {error}");
                }
            }
        }
    }

    /// Gives what of it takes a restart.
    fn apply(&mut self, change: &Change, file: &Path) -> Result<Vec<String>, String> {
        let text = change.text.as_ref().map_err(|error| format!("{}: {error}", file.display()))?;
        let name = file.display().to_string();
        let config = Config::parse(text, &name, &super::environment).map_err(|errors| errors.to_string())?;
        let needs_restart = restart_only_changes(&self.started, &config);
        for change in &needs_restart {
            tracing::warn!("{change}");
        }
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let before = self.app.live();
        let live = state::live(&config, Some((&self.config, &before))).map_err(|error| error.to_string())?;
        self.metrics.follow(&live.rules.names());
        self.telemetry.follow(config.access_log.clone());
        self.app.swap(live);
        self.config = config;
        Ok(needs_restart)
    }
}
