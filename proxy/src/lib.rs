//! Sidecache: a caching sidecar in front of an HTTP app.
//!
//! # The life of a request
//!
//! | station | module | what happens |
//! |---|---|---|
//! | 1 accept | [`server`], [`places`], [`tls`], [`http1`], [`http2`] | a connection is taken, a head is read |
//! | 2 admit | [`admit`] | what must never be forwarded is refused |
//! | 3 route | [`routes`] | the first matching rule |
//! | 4 key | [`key`] | what the request may share with others |
//! | 5 lookup | [`store`] | what is stored for it |
//! | 6 decide | [`policy`] | RFC 9111, as pure functions |
//! | – the story | [`handler`] | one `match` on the decision |
//! | – | [`pass`], [`miss`], [`shadow`] | the ways of what the store has no part in, of what it could not answer, and of what it may not answer yet |
//! | 7 serve | [`respond`] | a stored response becomes an answer |
//! | 8 fetch | [`forward`], [`siblings`], [`upstream`] | the origin is asked |
//! | 9 collapse | [`flight`], [`spool`] | one asks, the others wait |
//! | 10 store | [`fill`], [`arrivals`] | what may be stored is, when it is whole |
//!
//! Beside the path: [`config`] reads the file and [`reload`] notices its edits, [`app`] holds what
//! it says, [`tags`], [`epoch`] and [`purge`] are the words of a purge and [`purges`] what is known of
//! them, [`status`] names the outcomes, [`error`] writes the proxy's own answers, `reply` is what an answer
//! says in every version of HTTP, [`identity`] is what a request is called in logs and traces, [`observe`] is
//! told of every exchange, [`telemetry`] logs and counts it, [`outcomes`] remembers the last ones, [`advice`] says what to do about them and [`explain`] why,
//! [`admin`] shows it, [`cli`], [`run`] and [`wrap`] are the command.

pub mod address;
pub mod admin;
pub mod admit;
pub mod advice;
pub mod app;
pub mod arrivals;
pub mod ask;
pub mod cli;
pub mod clock;
mod complaint;
pub mod config;
pub mod connection;
pub mod epoch;
pub mod error;
pub mod explain;
pub mod fill;
pub mod flight;
pub mod forward;
pub mod handler;
pub mod headers;
pub mod histogram;
pub mod http1;
pub mod http2;
pub mod identity;
pub mod interim;
pub mod invalidations;
pub mod key;
pub mod lately;
pub mod limits;
pub mod message;
pub mod miss;
pub mod observe;
pub mod obsolete;
pub mod outcomes;
pub mod pass;
pub mod places;
pub mod policy;
pub mod purge;
pub mod purges;
pub mod refreshes;
pub mod reload;
mod reply;
pub mod respond;
pub mod routes;
pub mod run;
pub mod sabotage;
pub mod server;
pub mod shadow;
pub mod siblings;
pub mod spool;
pub mod status;
pub mod store;
pub mod stored;
pub mod tags;
pub mod tally;
pub mod telemetry;
pub mod tls;
pub mod upstream;
pub mod way;
pub mod wrap;
