//! How bytes become fields: each line of the input is a field line, if it can be one.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Field lines of one name.
#[must_use]
pub fn lines_of(name: &HeaderName, data: &[u8]) -> HeaderMap {
    let values = data.split(|&b| b == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.map(|value| (name.clone(), value)).collect()
}

/// Fields with their names before a colon.
#[must_use]
pub fn fields(data: &[u8]) -> HeaderMap {
    let field = |line: &[u8]| {
        let colon = line.iter().position(|&b| b == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    };
    data.split(|&b| b == b'\n').filter_map(field).collect()
}
