//! Settings, schema and migrations.

use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::{DatabaseError, seed};

/// How long to wait for another process that is writing to the same file.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// The version that this program reads and writes.
const VERSION: u32 = 1;

/// `MIGRATIONS[n]` leads from version n to n + 1. What was released is never changed.
///
/// AUTOINCREMENT, so that the URL of a deleted product is never given to another.
const MIGRATIONS: [&str; VERSION as usize] = ["
    CREATE TABLE products (
        id            INTEGER PRIMARY KEY AUTOINCREMENT,
        name          TEXT NOT NULL UNIQUE,
        description   TEXT NOT NULL,
        price_cents   INTEGER NOT NULL CHECK (price_cents >= 0),
        date_created  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
        date_modified TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
    ) STRICT;
"];

/// Whether there was a database before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Was {
    Absent,
    Present,
}

/// Sets what SQLite does not remember in the file, and write-ahead logging, which it does.
pub(super) fn configure(connection: &Connection) -> Result<(), DatabaseError> {
    connection.busy_timeout(BUSY_LIMIT)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(DatabaseError::NoWriteAheadLog(mode));
    }
    // With write-ahead logging this loses no consistency, only the last writes in a power cut.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(())
}

/// Brings the schema up to date, and seeds a database that is new. All in one transaction: there
/// is never a database half migrated or half seeded, and two processes do not do it twice.
pub(super) fn migrate(connection: &mut Connection, products: u32) -> Result<Was, DatabaseError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        return Err(DatabaseError::NewerSchema { found, known: VERSION });
    }
    for migration in MIGRATIONS.iter().skip(found as usize) {
        transaction.execute_batch(migration)?;
    }
    let was = if found == 0 { Was::Absent } else { Was::Present };
    if was == Was::Absent {
        seed::plant(&transaction, products)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(was)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM products", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_new_database_is_seeded_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(migrate(&mut connection, 3).unwrap(), Was::Absent);
        connection.execute("DELETE FROM products", []).unwrap();
        assert_eq!(migrate(&mut connection, 3).unwrap(), Was::Present);
        assert_eq!(count(&connection), 0);
    }

    #[test]
    fn a_newer_schema_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = migrate(&mut connection, 3).unwrap_err();
        assert_eq!(error.to_string(), "the schema is version 99, and this program knows only 1");
    }

    #[test]
    fn a_place_without_write_ahead_log_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        assert!(
            matches!(configure(&connection), Err(DatabaseError::NoWriteAheadLog(mode)) if mode == "memory")
        );
    }
}
