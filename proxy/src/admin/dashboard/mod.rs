//! The dashboard: a page for whoever is on call, with its style and its scripts. It is the same for
//! everybody and holds no secret, so it needs no token; whatever it shows it asks of the other paths, as
//! any program does, with the token that its user gives it.

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, Method, StatusCode,
    header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, VARY},
};

use super::problem::Problem;

/// Where its files are.
pub(super) const FILES: &str = "/dashboard/{file}";

/// What the page may do: load its own files and ask this listener. Nothing in its markup is a script or a
/// style, and text cannot become either.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'",
);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const PAGE: &str = include_str!("index.html");

/// What the page loads: name, type, text.
const LOADED: [(&str, &str, &str); 16] = [
    ("api.js", SCRIPT, include_str!("api.js")),
    ("configuration.js", SCRIPT, include_str!("configuration.js")),
    ("icon.svg", SVG, include_str!("icon.svg")),
    ("lookup.js", SCRIPT, include_str!("lookup.js")),
    ("main.js", SCRIPT, include_str!("main.js")),
    ("numbers.js", SCRIPT, include_str!("numbers.js")),
    ("page.js", SCRIPT, include_str!("page.js")),
    ("plots.js", SCRIPT, include_str!("plots.js")),
    ("purge.js", SCRIPT, include_str!("purge.js")),
    ("scales.js", SCRIPT, include_str!("scales.js")),
    ("state.js", SCRIPT, include_str!("state.js")),
    ("strokes.js", SCRIPT, include_str!("strokes.js")),
    ("style.css", CSS, include_str!("style.css")),
    ("tables.js", SCRIPT, include_str!("tables.js")),
    ("token.js", SCRIPT, include_str!("token.js")),
    ("words.js", SCRIPT, include_str!("words.js")),
];

/// The page.
pub(super) fn page() -> Response {
    ([(VARY, "accept")], sent(HTML, PAGE)).into_response()
}

/// One of its files.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    match LOADED.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => sent(kind, text),
        None => Problem::new(StatusCode::NOT_FOUND, "the dashboard has no such file").into_response(),
    }
}

fn sent(kind: &'static str, text: &'static str) -> Response {
    let same_origin = HeaderValue::from_static("same-origin");
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (HeaderName::from_static("cross-origin-opener-policy"), same_origin.clone()),
        (HeaderName::from_static("cross-origin-resource-policy"), same_origin),
    ];
    (headers, text).into_response()
}

/// Whether a request is for the page, as a browser that goes to `/` asks, or for one of its files.
pub(super) fn is_asked_for<B>(request: &http::Request<B>) -> bool {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    reads && (path.starts_with("/dashboard/") || path == "/" && wants_page(request.headers()))
}

/// Whether who asks names HTML, as every browser does and curl does not.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let kind = range.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/html")
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_file_is_served_and_loaded_from_here() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/dashboard");
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let there: BTreeSet<String> = names.filter(|name| name != "mod.rs" && name != "index.html").collect();
        let served: BTreeSet<String> = LOADED.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(there, served);
        let texts = LOADED.map(|(.., text)| text).join("\n") + PAGE;
        for name in served {
            let imported = texts.contains(&format!("\"./{name}\""));
            assert!(imported || PAGE.contains(&format!("\"dashboard/{name}\"")), "nothing loads {name}");
        }
    }

    #[test]
    fn only_text_gets_into_the_page() {
        for (name, _, text) in LOADED {
            for way in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
            {
                assert!(!text.contains(way), "{name} uses {way}");
            }
        }
        for inline in ["<script>", "<style", " style=", " onclick=", "javascript:", "http-equiv", "//"] {
            let at = PAGE.replace("http://shop.example", "");
            assert!(!at.contains(inline), "index.html has {inline}");
        }
    }

    #[test]
    fn the_page_is_for_browsers() {
        let wants = |accept: &str| {
            let request = http::Request::get("/").header(ACCEPT, accept).body(()).unwrap();
            is_asked_for(&request)
        };
        for accept in ["text/html", "text/html,application/xhtml+xml,*/*;q=0.8", "a/b, TEXT/HTML;q=0.9"] {
            assert!(wants(accept), "{accept}");
        }
        for accept in ["*/*", "", "text/*", "application/json", "text/htmlx"] {
            assert!(!wants(accept), "{accept}");
        }
    }
}
