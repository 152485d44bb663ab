//! `POST /explain`: a request that was never sent, and what would become of it.

use axum::{
    Json,
    extract::{Request, State},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{AdminState, body::whole, problem::Problem, waiting::Place};
use crate::explain::{Question, QuestionError, Report};

/// Bytes of a question: a URL and the fields of a request.
const QUESTION_BYTES: usize = 64 * 1024;

/// A question that has an answer.
const EXAMPLE: &str = r#"{"url": "http://shop.example/products?page=2"}"#;

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    pub(crate) url: String,
    #[serde(default = "get")]
    pub(crate) method: String,
    /// Name and value of each field.
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    /// Whether the app is asked.
    #[serde(default)]
    pub(crate) ask_origin: bool,
}

fn get() -> String {
    "GET".to_owned()
}

/// What is wrong with a body.
#[derive(Debug, Error)]
enum BodyError {
    #[error("{0}; write for example {EXAMPLE}")]
    Json(#[from] serde_json::Error),
    #[error("it is no JSON object: write for example {EXAMPLE}")]
    NoObject,
    #[error("{0}")]
    Question(#[from] QuestionError),
}

impl Body {
    fn read(bytes: &[u8]) -> Result<Question, BodyError> {
        // A list would be taken for the members in their order.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(BodyError::NoObject);
        }
        let Self { url, method, headers, ask_origin } = serde_json::from_slice(bytes)?;
        Ok(Question::new(&method, &url, &headers, ask_origin)?)
    }
}

pub(super) async fn explain(
    State(state): State<AdminState>,
    _place: Place,
    request: Request,
) -> Result<Json<Report>, Problem> {
    let bytes = whole(request, QUESTION_BYTES, "a question is at most 65536 bytes").await?;
    let question =
        Body::read(&bytes).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    Ok(Json((state.explain)(question).await))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_members_are_those_described() {
        let description: Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        let schema = &description["components"]["schemas"]["Question"];
        let described: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        let body = Body { url: String::new(), method: get(), headers: vec![], ask_origin: false };
        let body = serde_json::to_value(body).unwrap();
        let mut members: Vec<&String> = body.as_object().unwrap().keys().collect();
        members.sort();
        let mut described = described;
        described.sort();
        assert_eq!(members, described);
        for (name, value) in body.as_object().unwrap().iter().filter(|(name, _)| *name != "url") {
            assert_eq!(&schema["properties"][name]["default"], value, "{name}");
        }
        let media = &description["paths"]["/explain"]["post"]["requestBody"]["content"]["application/json"];
        for example in media["examples"].as_object().unwrap().values() {
            Body::read(example["value"].to_string().as_bytes()).unwrap();
        }
        Body::read(EXAMPLE.as_bytes()).unwrap();
    }

    #[test]
    fn says_what_is_wrong_where() {
        for (body, told) in [
            (json!({}), "missing field `url`"),
            (json!({ "urls": [] }), "unknown field `urls`"),
            (json!(["http://a/"]), "no JSON object"),
            (json!({ "url": "/a" }), "url: `/a` names no host"),
            (json!({ "url": "http://a/", "method": "G T" }), "method: "),
            (json!({ "url": "http://a/", "headers": { "a": "b" } }), "expected a sequence"),
            (json!({ "url": "http://a/", "headers": [["a"]] }), "invalid length 1"),
            (json!({ "url": "http://a/", "headers": [["a b", "c"]] }), "headers: `a b`"),
        ] {
            let error = Body::read(body.to_string().as_bytes()).unwrap_err().to_string();
            assert!(error.contains(told), "{body}: {error}");
        }
    }
}
