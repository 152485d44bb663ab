//! Routes and their handlers.

use std::time::{Duration, Instant};

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::{debug, info};

use crate::database::Database;
use crate::error::ApiError;
use crate::product::{Draft, Product};

/// The largest request body, in bytes: several times what a valid product needs.
pub const BODY_LIMIT: usize = 64 * 1024;

const HEALTHZ: &str = "/healthz";

#[derive(Clone)]
struct Service {
    database: Database,
    delay: Duration,
}

/// The whole service. Each list query takes `delay` longer than it would.
pub fn router(database: Database, delay: Duration) -> Router {
    Router::new()
        .route("/products", get(list).post(create))
        .route("/cached_products", get(list))
        .route("/products/{id}", get(show).put(replace).delete(remove))
        .route(HEALTHZ, get(healthz))
        .fallback(async || ApiError::UnknownPath)
        .method_not_allowed_fallback(async || ApiError::WrongMethod)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(log))
        .with_state(Service { database, delay })
}

async fn list(State(service): State<Service>) -> Result<Json<Vec<Product>>, ApiError> {
    // Not on the database's thread: a slow answer should not hold up the others.
    sleep(service.delay).await;
    Ok(Json(service.database.products().await?))
}

async fn show(State(service): State<Service>, id: ProductId) -> Result<Json<Product>, ApiError> {
    let product = service.database.product(id.0).await?;
    product.map(Json).ok_or_else(|| id.missing())
}

async fn create(State(service): State<Service>, body: JsonBody) -> Result<Response, ApiError> {
    let product = service.database.create(draft(body)?).await?;
    let location = format!("/products/{}", product.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(product)).into_response())
}

async fn replace(
    State(service): State<Service>,
    id: ProductId,
    body: JsonBody,
) -> Result<Json<Product>, ApiError> {
    let product = service.database.replace(id.0, draft(body)?).await?;
    product.map(Json).ok_or_else(|| id.missing())
}

async fn remove(State(service): State<Service>, id: ProductId) -> Result<StatusCode, ApiError> {
    let existed = service.database.delete(id.0).await?;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(id.missing()) }
}

async fn healthz(State(service): State<Service>) -> Result<Json<Value>, ApiError> {
    service.database.ping().await.map_err(ApiError::Unhealthy)?;
    Ok(Json(json!({ "status": "ok" })))
}

type JsonBody = Result<Json<Value>, JsonRejection>;

fn draft(body: JsonBody) -> Result<Draft, ApiError> {
    let Json(value) = body?;
    Ok(Draft::from_json(value)?)
}

/// The id in the path. One product has one URL: what is not an id exactly as we print it, `+7` or
/// `07`, names no product.
struct ProductId(i64);

impl ProductId {
    fn missing(&self) -> ApiError {
        ApiError::NoProduct(self.0.to_string())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ProductId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text): Path<String> =
            Path::from_request_parts(parts, state).await.map_err(|_| ApiError::UnknownPath)?;
        match text.parse::<i64>() {
            Ok(id) if id.to_string() == text => Ok(Self(id)),
            _ => Err(ApiError::NoProduct(text)),
        }
    }
}

/// One line a request, so that one sees which requests reach the service. Health checks would
/// drown the rest.
async fn log(request: Request, next: Next) -> Response {
    let (method, path, start) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), start.elapsed());
    if path == HEALTHZ {
        debug!(%method, path, status, ?took, "request");
    } else {
        info!(%method, path, status, ?took, "request");
    }
    response
}
