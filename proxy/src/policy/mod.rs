//! Station 6: RFC 9111 as pure functions. No I/O, no await, no clock, no failure.
//!
//! | file | section | question |
//! |---|---|---|
//! | [`cache_control`] | §5.2 | what do the directives say? |
//! | [`targeted`] | RFC 9213 | what do they say to this cache alone? |
//! | [`facts`] | §5 | what matters in a response? |
//! | [`request`] | §4, §5.2.1 | may the store be asked for this request? |
//! | [`vary`] | §4.1 | which fields select? |
//! | [`statuses`] | §3, §5.2.2.3 | what does a status code let a cache do? |
//! | [`freshness`] | §4.2 | how long is it fresh, and how old is it? |
//! | [`stale`] | §4.2.4 | for how long may it be served after its lifetime? |
//! | [`reuse`] | §4 | may what was found answer? |
//! | [`shadow`] | – | what is only said of it, in shadow? |
//! | [`sharing`] | §3.5 | may credentials meet it? |
//! | [`storable`] | §3 | may the answer be stored? |
//! | [`blame`] | – | is an error the request's own fault? |
//! | [`media`] | RFC 9110 §8.3 | is it of a type that the rule stores? |
//! | [`validation`] | §4.3.2 | does the client have it already? |
//! | [`freshening`] | §4.3.1, §4.3.4 | how is the origin asked whether it still holds, and what does a 304 change? |
//! | [`range`] | RFC 9110 §14 | which bytes are asked for? |
//! | [`partial`] | §3.3, §3.4 | what does a stored part answer, and what completes it? |
//! | [`strong`] | RFC 9110 §8.8 | does it change whenever a byte may? |
//! | [`siblings`] | §4.1, §4.3.1, §4.3.4 | may what others got be the answer? |
//! | [`invalidation`] | §4.4 | what does a success make obsolete? |
//! | [`tags`] | RFC 9875 | by what can it be purged, and which groups does a success make obsolete? |
//! | [`posted`] | RFC 9110 §9.3.3 | may a POST's answer serve a GET? |
//! | [`rule`] | – | what does the operator say? |

pub mod blame;
pub mod cache_control;
pub mod facts;
pub mod freshening;
pub mod freshness;
pub mod invalidation;
pub mod media;
pub mod partial;
pub mod posted;
pub mod range;
pub mod request;
pub mod reuse;
pub mod rule;
pub mod shadow;
pub mod sharing;
pub mod siblings;
pub mod stale;
pub mod statuses;
pub mod storable;
pub mod strong;
pub mod tags;
pub mod targeted;
pub mod validation;
pub mod vary;
