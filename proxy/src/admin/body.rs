//! The JSON that comes with a request.

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::problem::Problem;
use crate::policy::media::essence;

/// The body, if it is JSON and has at most so many bytes, beyond which `advice` says what to do.
pub(super) async fn whole(request: Request<Body>, most: usize, advice: &str) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        let advice = "the body must be JSON, with Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, advice));
    }
    let too_long = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, advice);
    let body = request.into_body();
    // One that is too long by its own account is not even asked for (`Expect: 100-continue`).
    if body.size_hint().lower() > most as u64 {
        return Err(too_long());
    }
    let body = Limited::new(body, most).collect().await.map_err(|error| {
        match error.downcast_ref::<LengthLimitError>() {
            Some(_) => too_long(),
            None => Problem::new(StatusCode::BAD_REQUEST, format!("the body did not arrive: {error}")),
        }
    })?;
    Ok(body.to_bytes())
}

/// Other pages cannot send this type without asking first, and are told no then.
fn is_json(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(CONTENT_TYPE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    essence(field.as_bytes()).eq_ignore_ascii_case(b"application/json")
}
