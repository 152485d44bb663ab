//! Which of a resource's stored responses a request selects.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header::COOKIE};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128;

use super::{KeyPolicy, length_bytes, meaning};

/// Long enough for the fields of most browsers; more costs an allocation.
pub(super) type Material = SmallVec<[u8; 128]>;

/// Before a value that is compared byte by byte: a field line, or a cookie's value.
pub(super) const AS_SENT: u8 = b'=';
/// After the last value of a field.
const END: u8 = b';';

/// The values of the selecting fields of one request: what the rule keys, then what `Vary` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantKey {
    id: u128,
    material: Bytes,
}

impl VariantKey {
    /// RFC 9111 §4.1: selects by the fields that the rule keys and the stored response nominates.
    ///
    /// Values are compared by what they surely mean, and byte by byte where that is not known; a
    /// field that is absent differs from one that is empty.
    #[must_use]
    pub fn new(headers: &HeaderMap, keyed: &KeyPolicy, nominated: &[HeaderName]) -> Self {
        if keyed.headers.is_empty() && keyed.cookies.is_empty() && nominated.is_empty() {
            return Self::only();
        }
        let mut material = Material::new();
        for name in keyed.headers.iter().chain(nominated) {
            push_name(&mut material, b'h', name.as_str());
            meaning::write(name, &headers.get_all(name), &mut material);
            material.push(END);
        }
        for name in &keyed.cookies {
            push_name(&mut material, b'c', name);
            for (_, value) in cookies(headers).filter(|cookie| cookie.0 == name.as_bytes()) {
                push_value(&mut material, AS_SENT, value);
            }
            material.push(END);
        }
        Self { id: xxh3_128(&material), material: Bytes::copy_from_slice(&material) }
    }

    /// The variant of a resource on which no field selects.
    #[must_use]
    pub fn only() -> Self {
        Self { id: 0, material: Bytes::new() }
    }

    /// From the bytes of [`VariantKey::material`].
    #[must_use]
    pub fn from_material(material: Bytes) -> Self {
        let id = if material.is_empty() { 0 } else { xxh3_128(&material) };
        Self { id, material }
    }

    /// A wide hash of the material, to find a place by; never to compare by.
    #[must_use]
    pub fn id(&self) -> u128 {
        self.id
    }

    /// Names and values, injective.
    #[must_use]
    pub fn material(&self) -> &Bytes {
        &self.material
    }
}

fn push_name(out: &mut Material, tag: u8, name: &str) {
    push_value(out, tag, name.as_bytes());
}

/// A mark, a length, and so many bytes: no value can be taken for what follows it.
pub(super) fn push_value(out: &mut Material, mark: u8, value: &[u8]) {
    out.push(mark);
    out.extend_from_slice(&length_bytes(value.len()));
    out.extend_from_slice(value);
}

/// The cookies of a request, in order: name and value, both as sent (RFC 6265 §4.2.1).
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|&b| b == b';')).filter_map(|pair| {
        let pair = pair.trim_ascii();
        let mut halves = pair.splitn(2, |&b| b == b'=');
        let name = halves.next().filter(|_| !pair.is_empty())?;
        Some((name, halves.next().unwrap_or_default()))
    })
}

#[cfg(test)]
pub(super) mod tests;
