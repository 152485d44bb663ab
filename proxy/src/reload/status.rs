//! Which configuration is in force, and what became of the last attempt to change it.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use crate::telemetry::metrics::{Scrape, unix_seconds};

/// What the admin listener and the metrics tell of the configuration.
#[derive(Debug)]
pub struct Status(Mutex<Report>);

/// One reading of a [`Status`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The file.
    pub file: PathBuf,
    /// 1 for the configuration of the start, one more with each that replaced it.
    pub generation: u64,
    /// Since when that is in force.
    pub loaded: SystemTime,
    /// What it says that takes a restart, a sentence each.
    pub needs_restart: Vec<String>,
    /// The last attempt to replace it; nothing before the first.
    pub last_reload: Option<Attempt>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When.
    pub at: SystemTime,
    /// The whole text of the error, if it was refused.
    pub result: Result<(), String>,
}

impl Status {
    /// The start, with a configuration in force since `loaded`.
    #[must_use]
    pub fn new(file: &Path, loaded: SystemTime) -> Self {
        Self(Mutex::new(Report {
            file: file.to_owned(),
            generation: 1,
            loaded,
            needs_restart: Vec::new(),
            last_reload: None,
        }))
    }

    /// Remembers an attempt, with what of it takes a restart.
    pub fn record(&self, result: Result<Vec<String>, String>, at: SystemTime) {
        let mut report = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = result.map(|needs_restart| {
            report.generation += 1;
            report.loaded = at;
            report.needs_restart = needs_restart;
        });
        report.last_reload = Some(Attempt { at, result });
    }

    /// How things stand.
    #[must_use]
    pub fn report(&self) -> Report {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds it to a scrape.
    pub fn write(&self, scrape: &mut Scrape<'_>) {
        let report = self.report();
        let success = report.last_reload.as_ref().is_none_or(|attempt| attempt.result.is_ok());
        scrape.gauge(
            "sidecache_config_last_reload_success",
            "Whether the configuration, as last read, was accepted",
            u64::from(success),
        );
        scrape.gauge(
            "sidecache_config_last_reload_success_timestamp_seconds",
            "Since when the configuration in force is so, in Unix time",
            unix_seconds(report.loaded),
        );
        let generation = report.generation;
        scrape.gauge(
            "sidecache_config_generation",
            "Counts the configurations that were in force",
            generation,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, UNIX_EPOCH},
    };

    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn a_refused_edit_leaves_what_is_in_force() {
        let second = |n| UNIX_EPOCH + Duration::from_secs(n);
        let status = Arc::new(Status::new(Path::new("config.yaml"), second(1)));
        let mut metrics = Metrics::new(UNIX_EPOCH);
        let told = Arc::clone(&status);
        metrics.register(move |scrape| told.write(scrape));
        let shows = |line: &str| {
            let page = metrics.render().unwrap();
            assert!(page.lines().any(|have| have == line), "{line} not in\n{page}");
        };
        shows("sidecache_config_last_reload_success 1");

        let restart = vec!["`listen` changed".to_owned()];
        status.record(Ok(restart.clone()), second(2));
        assert_eq!((status.report().generation, status.report().loaded), (2, second(2)));

        status.record(Err("line 3: no".to_owned()), second(3));
        let report = status.report();
        assert_eq!((report.generation, report.loaded), (2, second(2)));
        assert_eq!(report.needs_restart, restart);
        assert_eq!(report.last_reload, Some(Attempt { at: second(3), result: Err("line 3: no".to_owned()) }));
        shows("sidecache_config_last_reload_success 0");
        shows("sidecache_config_last_reload_success_timestamp_seconds 2.0");
        shows("sidecache_config_generation 2");
    }
}
