//! What an entry says of its body: how it is written, where, and by what it is known.

use bytes::Bytes;

use super::{
    Corrupt,
    packing::{Packing, unpacked},
    seal::{self, Proof, Seal},
};

/// A body that is written in so many bytes or more is apart from the entry: it is read by those who need it,
/// and not in the way of those who do not.
pub const APART: usize = 64 * 1024;

/// What the body is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// Bytes as it is served.
    pub(super) length: u64,
    /// Bytes as it is written.
    pub(super) written: u64,
    pub(super) packing: Packing,
    /// Of what is written.
    proof: Proof,
}

impl Told {
    /// Bytes that it takes itself.
    pub(super) const SIZE: usize = 8 + 8 + 1 + seal::SIZE;

    /// What is to be said of a body of this length that is written so.
    pub(super) fn of(length: usize, written: &[u8], packing: Packing, seal: &Seal) -> Self {
        let proof = seal.prove(written);
        Self { length: length as u64, written: written.len() as u64, packing, proof }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.written.to_le_bytes());
        out.push(self.packing as u8);
        out.extend_from_slice(&self.proof);
    }

    /// What these bytes say, and the rest of them.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), Corrupt> {
        let (length, rest) = bytes.split_first_chunk().ok_or(Corrupt::Length)?;
        let (written, rest) = rest.split_first_chunk().ok_or(Corrupt::Length)?;
        let (&[packing], rest) = rest.split_first_chunk::<1>().ok_or(Corrupt::Length)?;
        let (&proof, rest) = rest.split_first_chunk().ok_or(Corrupt::Length)?;
        let told = Self {
            length: u64::from_le_bytes(*length),
            written: u64::from_le_bytes(*written),
            packing: Packing::from_byte(packing).ok_or(Corrupt::Body)?,
            proof,
        };
        Ok((told, rest))
    }

    /// Whether it is somewhere else.
    pub(super) fn is_apart(&self) -> bool {
        self.written >= APART as u64
    }

    /// The body as it is served, if it is this one that is written there.
    pub(super) fn admit(&self, written: Bytes, seal: &Seal) -> Result<Bytes, Corrupt> {
        if written.len() as u64 != self.written {
            return Err(Corrupt::Length);
        }
        if !seal.proves(&written, &self.proof) {
            return Err(Corrupt::Proof);
        }
        unpacked(written, self.packing, usize::try_from(self.length).map_err(|_| Corrupt::Length)?)
    }
}
