//! The queries. Each runs on the database's thread.

use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use crate::product::{Draft, Price, Product};

pub(super) fn products(connection: &Connection) -> Result<Vec<Product>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, name, description, price_cents, date_created, date_modified
         FROM products ORDER BY id",
    )?;
    statement.query_map([], read)?.collect()
}

pub(super) fn product(connection: &Connection, id: i64) -> Result<Option<Product>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, name, description, price_cents, date_created, date_modified
         FROM products WHERE id = ?1",
    )?;
    statement.query_row([id], read).optional()
}

pub(super) fn create(connection: &Connection, draft: &Draft) -> Result<Product> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO products (name, description, price_cents) VALUES (?1, ?2, ?3)
         RETURNING id, name, description, price_cents, date_created, date_modified",
    )?;
    statement.query_row(params![draft.name, draft.description, draft.price.cents()], read)
}

pub(super) fn replace(connection: &Connection, id: i64, draft: &Draft) -> Result<Option<Product>> {
    let mut statement = connection.prepare_cached(
        "UPDATE products SET name = ?2, description = ?3, price_cents = ?4,
                             date_modified = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
         WHERE id = ?1
         RETURNING id, name, description, price_cents, date_created, date_modified",
    )?;
    statement.query_row(params![id, draft.name, draft.description, draft.price.cents()], read).optional()
}

pub(super) fn delete(connection: &Connection, id: i64) -> Result<bool> {
    let rows = connection.prepare_cached("DELETE FROM products WHERE id = ?1")?.execute([id])?;
    Ok(rows > 0)
}

pub(super) fn ping(connection: &Connection) -> Result<()> {
    connection.prepare_cached("SELECT 1 FROM products LIMIT 1")?.exists([]).map(drop)
}

fn read(row: &Row<'_>) -> Result<Product> {
    Ok(Product {
        id: row.get("id")?,
        name: row.get("name")?,
        description: row.get("description")?,
        price: Price::from_cents(row.get("price_cents")?),
        date_created: row.get("date_created")?,
        date_modified: row.get("date_modified")?,
    })
}
