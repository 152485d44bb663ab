//! What the admin listener answers.

use std::time::{Duration, SystemTime};

use axum::{
    Extension, Json, Router,
    extract::State,
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, VARY},
};
use serde::{Deserialize, Serialize};

use super::{
    AdminState, Health, dashboard,
    explain::explain,
    guard,
    problem::Problem,
    purge::purge,
    stats::{resources, stats},
    waiting::Room,
};
use crate::{reload::status::Report, telemetry::exposition::Exposition};

const INDEX: &str = concat!(
    "sidecache ",
    env!("CARGO_PKG_VERSION"),
    "

/         in a browser, the dashboard
/livez    the process runs
/readyz   200 when requests should be sent here, else 503, with reasons
/config   which configuration is in force, and what became of the last edit
/metrics  for Prometheus
/stats    how it fares, and fared in the last ten minutes
/resources  what is asked for most, and what has to be fetched most, and why
/purge    POST {\"urls\": [\"http://host/path\"]}, or tags, rules, all: it goes on every sidecar
/explain  POST {\"url\": \"http://host/path\"}: why it is a hit or not, and what to change
/openapi.json  all of this, for programs
"
);

/// OpenAPI 3.1.
const DESCRIPTION: &str = include_str!("openapi.json");

/// `get` answers `HEAD` too, and anything else 405 with `Allow`.
pub(super) fn router(state: AdminState) -> Router {
    let router = routes().into_iter().fold(Router::new(), |all, (path, route)| all.route(path, route));
    router
        .route(dashboard::FILES, get(dashboard::file))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing here; / says what there is"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "not by this method; Allow says by which")
        })
        .layer(Extension(Room::default()))
        .layer(middleware::from_fn(guard::check))
        .with_state(state)
}

/// Every path, and what answers there.
fn routes() -> [(&'static str, MethodRouter<AdminState>); 10] {
    [
        ("/", get(index)),
        ("/livez", get("live\n")),
        ("/readyz", get(ready)),
        ("/config", get(config)),
        ("/metrics", get(scrape)),
        ("/stats", get(stats)),
        ("/resources", get(resources)),
        ("/purge", post(purge)),
        ("/explain", post(explain)),
        ("/openapi.json", get(([(CONTENT_TYPE, "application/json")], DESCRIPTION))),
    ]
}

/// The dashboard for browsers, and for others a line for each path.
async fn index(headers: HeaderMap) -> Response {
    if dashboard::wants_page(&headers) {
        dashboard::page()
    } else {
        ([(VARY, "accept")], INDEX).into_response()
    }
}

/// Whether requests should come here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Readiness {
    /// `ready`, `degraded` or `not ready`.
    pub status: String,
    /// Why it is not just `ready`.
    pub reasons: Vec<String>,
}

impl From<Health> for Readiness {
    fn from(health: Health) -> Self {
        let (status, reasons) = match health {
            Health::Ready => ("ready", Vec::new()),
            Health::Degraded(reasons) => ("degraded", reasons),
            Health::NotReady(reasons) => ("not ready", reasons),
        };
        Self { status: status.to_owned(), reasons }
    }
}

async fn ready(State(state): State<AdminState>) -> Response {
    let health = (state.health)();
    let code = match health {
        Health::Ready | Health::Degraded(_) => StatusCode::OK,
        Health::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Json(Readiness::from(health))).into_response()
}

/// The state of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Configuration {
    /// Its path.
    pub file: String,
    /// 1, and one more with each edit that was applied.
    pub generation: u64,
    /// Since when what is in force is so.
    pub loaded: String,
    /// What of it takes a restart, a sentence each.
    pub needs_restart: Vec<String>,
    /// What became of the last edit.
    pub last_reload: Option<LastReload>,
}

/// An edit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastReload {
    /// When it was read.
    pub at: String,
    /// `applied` or `refused`.
    pub result: String,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

async fn config(State(state): State<AdminState>) -> Json<Configuration> {
    Json((state.config)().into())
}

impl From<Report> for Configuration {
    fn from(report: Report) -> Self {
        let last_reload = report.last_reload.map(|attempt| LastReload {
            at: rfc3339(attempt.at),
            result: if attempt.result.is_ok() { "applied" } else { "refused" }.to_owned(),
            error: attempt.result.err(),
        });
        Self {
            file: report.file.display().to_string(),
            generation: report.generation,
            loaded: rfc3339(report.loaded),
            needs_restart: report.needs_restart,
            last_reload,
        }
    }
}

/// The time in UTC, to the second.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day since 1970. Years are counted from March, so that the leap day is
/// their last, and in spans of 400, after which the calendar repeats itself.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 1 March of year 0
    let (span, day_of_span) = (days / 146_097, days % 146_097);
    let year_of_span =
        (day_of_span - day_of_span / 1_460 + day_of_span / 36_524 - day_of_span / 146_096) / 365;
    let day_of_year = day_of_span - (365 * year_of_span + year_of_span / 4 - year_of_span / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (span * 400 + year_of_span + u64::from(month <= 2), month, day)
}

async fn scrape(State(state): State<AdminState>, headers: HeaderMap) -> Response {
    let exposition = Exposition::preferred(&headers);
    match (state.metrics)() {
        Ok(page) => {
            let fields = [(CONTENT_TYPE, exposition.content_type()), (VARY, "accept")];
            (fields, exposition.format(page)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "cannot write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_path_is_described_and_no_other() {
        let described: Value = serde_json::from_str(DESCRIPTION).unwrap();
        let described: Vec<&String> = described["paths"].as_object().unwrap().keys().collect();
        let mut paths = routes().map(|(path, _)| path);
        paths.sort_unstable();
        assert_eq!(described, paths);
        for path in paths {
            assert!(INDEX.contains(&format!("\n{path} ")) || path == "/", "{path}");
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
