//! Station 8, fetch, for a request that selects nothing of what is stored: it tells the origin what
//! other requests got (RFC 9111 §4.1), and if that is the answer once more, no body need come.

use std::sync::Arc;

use http::{
    StatusCode,
    header::{IF_MODIFIED_SINCE, IF_NONE_MATCH},
};

use crate::{
    fill::Fill,
    message::RequestBody,
    policy::{
        freshening::is_about,
        siblings::{Seeker, ask, identified},
    },
    store::Store,
    stored::Stored,
    upstream::{FetchError, Fetched, without_body},
};

impl Fill {
    /// Asks the origin: its answer, and which sibling its 304 is about. What a 304 is about that names
    /// none of them nobody knows (§4.3.4): then it is asked once more, for the whole.
    pub(crate) async fn ask(
        &self,
        request: http::Request<RequestBody>,
    ) -> Result<(Fetched, Option<Arc<Stored>>), FetchError> {
        let siblings = self.siblings().await;
        if !siblings.is_empty() {
            let mut conditional = without_body(&request);
            ask(conditional.headers_mut(), siblings.iter().map(AsRef::as_ref));
            let fetched = self.live.upstream.send(conditional).await?;
            if fetched.head.status != StatusCode::NOT_MODIFIED {
                return Ok((fetched, None));
            }
            if let Some(sibling) = identified(&siblings, &fetched.head.headers).map(Arc::clone) {
                return Ok((fetched, Some(sibling)));
            }
        }
        let again = self.before.renews.is_some().then(|| without_body(&request));
        let fetched = self.live.upstream.send(request).await?;
        match (&self.before.renews, again) {
            (Some(stored), Some(mut again))
                if fetched.head.status == StatusCode::NOT_MODIFIED
                    && !is_about(&stored.fields(), &fetched.head.headers) =>
            {
                again.headers_mut().remove(IF_NONE_MATCH);
                again.headers_mut().remove(IF_MODIFIED_SINCE);
                Ok((self.live.upstream.send(again).await?, None))
            }
            _ => Ok((fetched, None)),
        }
    }

    /// What other requests got and this one may have. A store that does not say it in time costs the
    /// body that comes then.
    async fn siblings(&self) -> Vec<Arc<Stored>> {
        let Some(within) = self.before.siblings else { return Vec::new() };
        let mut siblings = self.app.store.tagged(&self.key, within).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the stored variants could not be asked about");
            Vec::new()
        });
        let Self { asked: headers, admission, rule, fingerprint, .. } = self;
        let seeker = Seeker { headers, admission, rule, fingerprint: *fingerprint };
        siblings.retain(|stored| seeker.may_have(stored));
        siblings
    }
}
