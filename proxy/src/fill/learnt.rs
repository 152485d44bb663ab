//! What the answer to a HEAD says of a stored response (RFC 9111 §4.3.5).

use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Empty};
use tokio::sync::oneshot;

use super::Fill;
use crate::{
    flight::Phase,
    message::StreamBody,
    purges::Begun,
    upstream::{Fetched, Framing, Timing},
};

impl Fill {
    /// Renews what is stored by what the answer to a HEAD says of it, or forgets it.
    pub async fn learn(mut self, told: HeaderMap, begun: Begun) {
        if self.before.renews.is_none() {
            return self.forget_superseded(StatusCode::OK).await;
        }
        if !self.is_as_found().await {
            return self.end(Phase::Elsewhere);
        }
        let mut head = http::Response::new(()).into_parts().0;
        (head.status, head.headers) = (StatusCode::NOT_MODIFIED, told);
        let body: StreamBody = Box::pin(Empty::new().map_err(Into::into));
        let told = Fetched { head, body, upgraded: None, ends: Framing::Empty, timing: Timing::default() };
        self.settle(told, None, begun, oneshot::channel().0).await;
    }
}
