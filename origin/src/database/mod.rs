//! The products in SQLite.
//!
//! One thread owns the only connection, because SQLite's calls block and a connection serves one
//! caller at a time anyway. [`Database`] is a handle to it: each method sends the thread a job and
//! awaits the answer.

mod queries;
mod schema;
mod seed;

use std::io;
use std::path::Path;
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, ffi};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

use crate::product::{Draft, Product};

/// How many queries may wait for the thread; who comes later waits to be let in.
const QUEUE_LIMIT: usize = 256;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// Why the database could not be opened or asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Another product has the name.
    #[error("the name is taken")]
    DuplicateName,
    /// The file was written by a later version of this program.
    #[error("the schema is version {found}, and this program knows only {known}")]
    NewerSchema {
        /// The version in the file.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// The place does not allow write-ahead logging; `:memory:`, for one.
    #[error("write-ahead logging is needed, but the journal mode is {0}")]
    NoWriteAheadLog(String),
    /// SQLite failed.
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    /// The thread could not be started.
    #[error("the database thread did not start")]
    Thread(#[source] io::Error),
    /// The thread ended before it answered.
    #[error("the database thread is gone")]
    Gone,
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        // The name is the only unique column that a client writes.
        match error.sqlite_extended_error_code() {
            Some(ffi::SQLITE_CONSTRAINT_UNIQUE) => Self::DuplicateName,
            _ => Self::Sqlite(error),
        }
    }
}

/// Opens the database in `file` and starts its thread. A new database gets the schema and
/// `products` products; an older one is migrated, and keeps what it has.
///
/// # Errors
///
/// When the file cannot be opened, migrated or seeded, or the thread cannot be started.
pub fn open(file: &Path, products: u32) -> Result<(Database, DatabaseThread), DatabaseError> {
    let mut connection = Connection::open(file)?;
    schema::configure(&connection)?;
    match schema::migrate(&mut connection, products)? {
        schema::Was::Absent => info!(file = %file.display(), products, "created the database"),
        schema::Was::Present => info!(file = %file.display(), "opened the database"),
    }
    let (jobs, queue) = mpsc::channel(QUEUE_LIMIT);
    let thread = thread::Builder::new().name("database".to_owned());
    let thread = thread.spawn(move || work(connection, queue)).map_err(DatabaseError::Thread)?;
    Ok((Database { jobs }, DatabaseThread { thread }))
}

/// The thread: does the jobs in turn until the last handle is gone, then closes the database.
fn work(connection: Connection, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        job(&connection);
    }
    if let Err((_, error)) = connection.close() {
        error!(%error, "the database was not closed cleanly");
    }
}

/// The running thread of a database.
#[derive(Debug)]
pub struct DatabaseThread {
    thread: JoinHandle<()>,
}

impl DatabaseThread {
    /// Blocks until every [`Database`] handle is dropped, the queue is done and the file closed.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Gone`] if the thread panicked.
    pub fn join(self) -> Result<(), DatabaseError> {
        self.thread.join().map_err(|_| DatabaseError::Gone)
    }
}

/// A handle to the database; clones share its thread.
///
/// Every method fails with [`DatabaseError::Gone`] when the thread has ended, and with
/// [`DatabaseError::Sqlite`] when SQLite fails.
#[derive(Debug, Clone)]
pub struct Database {
    jobs: mpsc::Sender<Job>,
}

impl Database {
    /// All products, by id.
    pub async fn products(&self) -> Result<Vec<Product>, DatabaseError> {
        self.ask(queries::products).await
    }

    /// The product with this id.
    pub async fn product(&self, id: i64) -> Result<Option<Product>, DatabaseError> {
        self.ask(move |connection| queries::product(connection, id)).await
    }

    /// Adds a product; [`DatabaseError::DuplicateName`] when its name is taken.
    pub async fn create(&self, draft: Draft) -> Result<Product, DatabaseError> {
        self.ask(move |connection| queries::create(connection, &draft)).await
    }

    /// Overwrites the product with this id and returns it as it is now, or `None` where there is
    /// none; [`DatabaseError::DuplicateName`] when another has the name.
    pub async fn replace(&self, id: i64, draft: Draft) -> Result<Option<Product>, DatabaseError> {
        self.ask(move |connection| queries::replace(connection, id, &draft)).await
    }

    /// Removes the product with this id, and says whether there was one.
    pub async fn delete(&self, id: i64) -> Result<bool, DatabaseError> {
        self.ask(move |connection| queries::delete(connection, id)).await
    }

    /// Asks something trivial, to see that answers come.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        self.ask(queries::ping).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (reply, answer) = oneshot::channel();
        let job = move |connection: &Connection| {
            // Who left while waiting in the queue needs nothing done; who leaves during the query
            // does not need its answer.
            if !reply.is_closed() {
                reply.send(query(connection)).ok();
            }
        };
        self.jobs.send(Box::new(job)).await.map_err(|_| DatabaseError::Gone)?;
        Ok(answer.await.map_err(|_| DatabaseError::Gone)??)
    }
}
