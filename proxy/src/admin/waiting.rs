//! Room for what waits for others: a purge for the fleet, an explanation for the app. It is less than there are
//! connections, so that these requests cannot take the last of them.

use std::sync::Arc;

use axum::{
    extract::{Extension, FromRequestParts},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{AdminState, WAITING, problem::Problem};

/// The room of one listener.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

/// A place in it, free again when it is dropped. Who finds none is refused at once, and asked to come again.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WAITING)))
    }
}

impl FromRequestParts<AdminState> for Place {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, Response> {
        let Extension(Room(room)) =
            Extension::from_request_parts(parts, state).await.map_err(IntoResponse::into_response)?;
        match room.try_acquire_owned() {
            Ok(permit) => Ok(Self { _permit: permit }),
            Err(_) => Err(full().into_response()),
        }
    }
}

fn full() -> Problem {
    let detail =
        format!("{WAITING} purges and explanations are under way here, so nothing was done: ask again");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}
