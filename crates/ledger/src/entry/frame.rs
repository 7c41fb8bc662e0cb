//! The frame that entries and snapshots share: header, tag, IV, length of the public domain.

use ccf_types::{SeqNo, TxId, View};

use super::EntryError;
use crate::limits::{ENTRY_BYTES_MAX, SEQNO_MAX, SNAPSHOT_BYTES_MAX, VIEW_MAX};

/// Bytes of the header: version, flags, size.
pub const HEADER_BYTES: usize = 8;
/// Bytes of the authentication tag.
pub(crate) const TAG_BYTES: usize = 16;
/// Bytes of the initialisation vector.
pub(crate) const IV_BYTES: usize = 12;
/// Where the public domain begins.
pub(crate) const PUBLIC_AT: usize = HEADER_BYTES + FIXED_BYTES;
/// Bytes between the header and the public domain.
pub(crate) const FIXED_BYTES: usize = TAG_BYTES + IV_BYTES + 8;

/// Where the seqno stands in the IV.
pub(crate) const SEQNO_AT: usize = HEADER_BYTES + TAG_BYTES;

/// The seqno that an entry claims in its IV, if there are bytes enough.
pub(crate) fn seqno_at(entry: &[u8]) -> Option<SeqNo> {
    let bytes = entry.get(SEQNO_AT..)?.first_chunk::<8>()?;
    Some(SeqNo(u64::from_le_bytes(*bytes)))
}

const VERSION: u8 = 1;
const SNAPSHOT_BIT: u32 = 1 << 31;

/// Where a chunk of the ledger ends, as the primary decided (section 11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// Nothing special.
    pub const NONE: Flags = Flags(0);
    /// The chunk ends with this entry, which is a signature.
    pub const CHUNK_AFTER: Flags = Flags(1);
    /// The chunk ends before this entry, the first of a recovered service.
    pub const CHUNK_BEFORE: Flags = Flags(2);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The byte in the header.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// The first eight bytes of an entry, which say how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// Chunk flags.
    pub flags: Flags,
    /// Bytes after the header.
    pub size: u64,
}

impl EntryHeader {
    /// Reads a header and checks that an entry of this size can exist.
    ///
    /// # Errors
    /// [`EntryError`] on another version, unknown flags or an impossible size.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, EntryError> {
        Self::parse_up_to(bytes, ENTRY_BYTES_MAX)
    }

    /// The same with another bound: snapshots are larger than any entry.
    fn parse_up_to(bytes: &[u8; HEADER_BYTES], bytes_max: u64) -> Result<Self, EntryError> {
        let [version, flags, rest @ ..] = bytes;
        if *version != VERSION {
            return Err(EntryError::Version(*version));
        }
        if *flags & !3 != 0 {
            return Err(EntryError::UnknownFlags(*flags));
        }
        let mut size = [0; 8];
        size[..6].copy_from_slice(rest);
        let size = u64::from_le_bytes(size);
        if size < FIXED_BYTES as u64 || size > bytes_max - HEADER_BYTES as u64 {
            return Err(EntryError::ImpossibleSize(size));
        }
        Ok(Self { flags: Flags(*flags), size })
    }

    /// Bytes of the whole entry, header included.
    #[must_use]
    pub fn entry_bytes(&self) -> u64 {
        self.size + HEADER_BYTES as u64
    }

    /// The header's bytes. `size` is below 2^48 by construction.
    pub(super) fn encode(flags: Flags, size: u64) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[2..].copy_from_slice(&size.to_le_bytes()[..6]);
        bytes[0] = VERSION;
        bytes[1] = flags.bits();
        bytes
    }
}

/// The IV of the entry at `tx_id`; `None` if the view does not fit.
pub(crate) fn entry_iv(tx_id: TxId) -> Option<[u8; IV_BYTES]> {
    let view = u32::try_from(tx_id.view.0).ok().filter(|view| view & SNAPSHOT_BIT == 0)?;
    let mut iv = [0; IV_BYTES];
    iv[..8].copy_from_slice(&tx_id.seqno.0.to_le_bytes());
    iv[8..].copy_from_slice(&view.to_le_bytes());
    Some(iv)
}

/// The IV of the snapshot at `seqno`: view 0 with the top bit.
pub(crate) fn snapshot_iv(seqno: SeqNo) -> [u8; IV_BYTES] {
    let mut iv = [0; IV_BYTES];
    iv[..8].copy_from_slice(&seqno.0.to_le_bytes());
    iv[8..].copy_from_slice(&SNAPSHOT_BIT.to_le_bytes());
    iv
}

/// What stands before the public domain of a snapshot; `None` if it is larger than a frame can say.
pub(crate) fn snapshot_head(
    seqno: SeqNo,
    tag: &[u8; TAG_BYTES],
    public_bytes: u64,
    private_bytes: u64,
) -> Option<[u8; PUBLIC_AT]> {
    let size = (FIXED_BYTES as u64).checked_add(public_bytes)?.checked_add(private_bytes)?;
    if size >> 48 != 0 {
        return None;
    }
    let mut head = [0; PUBLIC_AT];
    let (header, rest) = head.split_at_mut(HEADER_BYTES);
    header.copy_from_slice(&EntryHeader::encode(Flags::NONE, size));
    rest[..TAG_BYTES].copy_from_slice(tag);
    rest[TAG_BYTES..TAG_BYTES + IV_BYTES].copy_from_slice(&snapshot_iv(seqno));
    rest[TAG_BYTES + IV_BYTES..].copy_from_slice(&public_bytes.to_le_bytes());
    Some(head)
}

/// What stands before the public domain of a snapshot, whose lengths agree with each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SnapshotFrame {
    pub(crate) tag: [u8; TAG_BYTES],
    pub(crate) iv: [u8; IV_BYTES],
    pub(crate) public_bytes: u64,
    pub(crate) private_bytes: u64,
}

impl SnapshotFrame {
    pub(crate) fn parse(head: &[u8; PUBLIC_AT]) -> Result<Self, EntryError> {
        let truncated = EntryError::Truncated { actual: head.len() };
        let (header, rest) = head.split_first_chunk::<HEADER_BYTES>().ok_or(truncated.clone())?;
        let (tag, rest) = rest.split_first_chunk::<TAG_BYTES>().ok_or(truncated.clone())?;
        let (iv, rest) = rest.split_first_chunk::<IV_BYTES>().ok_or(truncated.clone())?;
        let public_bytes = u64::from_le_bytes(*rest.first_chunk::<8>().ok_or(truncated)?);
        let domains = EntryHeader::parse_up_to(header, SNAPSHOT_BYTES_MAX)?.size - FIXED_BYTES as u64;
        let private_bytes =
            domains.checked_sub(public_bytes).ok_or(EntryError::PublicLength(public_bytes))?;
        Ok(Self { tag: *tag, iv: *iv, public_bytes, private_bytes })
    }

    /// Whether the IV is that of a snapshot at `seqno`.
    pub(crate) fn is_of(&self, seqno: SeqNo) -> bool {
        seqno.0 != 0 && seqno.0 <= SEQNO_MAX && self.iv == snapshot_iv(seqno)
    }

    /// Bytes of the whole frame.
    pub(crate) fn bytes(&self) -> u64 {
        PUBLIC_AT as u64 + self.public_bytes + self.private_bytes
    }
}

/// The parts of a frame whose lengths agree with each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) flags: Flags,
    pub(crate) tag: &'a [u8; TAG_BYTES],
    pub(crate) iv: &'a [u8; IV_BYTES],
    pub(crate) public: &'a [u8],
    pub(crate) private: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Cuts `bytes`, which hold exactly one frame, into its parts.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let truncated = EntryError::Truncated { actual: bytes.len() };
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(truncated);
        };
        let header = EntryHeader::parse(header)?;
        if header.size != rest.len() as u64 {
            return Err(EntryError::Size { stated: header.size, actual: rest.len() as u64 });
        }
        let parts = rest
            .split_first_chunk::<TAG_BYTES>()
            .and_then(|(tag, rest)| rest.split_first_chunk::<IV_BYTES>().map(|(iv, rest)| (tag, iv, rest)))
            .and_then(|(tag, iv, rest)| {
                rest.split_first_chunk::<8>().map(|(len, rest)| (tag, iv, len, rest))
            });
        let Some((tag, iv, public_len, domains)) = parts else {
            return Err(truncated);
        };
        let public_len = u64::from_le_bytes(*public_len);
        let split = usize::try_from(public_len).ok().and_then(|len| domains.split_at_checked(len));
        let Some((public, private)) = split else {
            return Err(EntryError::PublicLength(public_len));
        };
        Ok(Self { flags: header.flags, tag, iv, public, private })
    }

    /// Seqno and view of the IV, the snapshot bit masked.
    pub(crate) fn tx_id(&self) -> Result<TxId, EntryError> {
        let (seqno, view) = self.iv.split_first_chunk::<8>().expect("an IV has 12 bytes");
        let view = u32::from_le_bytes(view.try_into().expect("four bytes follow the seqno")) & !SNAPSHOT_BIT;
        let tx_id = TxId { view: View(view.into()), seqno: SeqNo(u64::from_le_bytes(*seqno)) };
        if tx_id.seqno.0 == 0 || tx_id.seqno.0 > SEQNO_MAX { Err(EntryError::TxId(tx_id)) } else { Ok(tx_id) }
    }

    /// Whether the IV is one of a snapshot.
    pub(crate) fn is_snapshot(&self) -> bool {
        self.iv[11] & 0x80 != 0
    }
}

const _: () = assert!(VIEW_MAX == (SNAPSHOT_BIT - 1) as u64);

#[cfg(test)]
mod tests {
    use super::*;

    /// V1 of the ledger specification.
    #[test]
    fn headers_of_the_specification() {
        let parse = |hex: &str| {
            let bytes: [u8; 8] = hex::decode(hex).expect("hex").try_into().expect("eight bytes");
            EntryHeader::parse(&bytes)
        };
        let header = |flags, size| Ok(EntryHeader { flags, size });
        assert_eq!(parse("0100bb0000000000"), header(Flags::NONE, 187));
        assert_eq!(parse("0102b63200000000"), header(Flags::CHUNK_BEFORE, 12982));
        assert_eq!(parse("0101620100000000"), header(Flags::CHUNK_AFTER, 354));
        assert_eq!(parse("0100509702000000"), header(Flags::NONE, 169_808));
        assert_eq!(parse("0200000000000000"), Err(EntryError::Version(2)));
        assert_eq!(parse("0104bb0000000000"), Err(EntryError::UnknownFlags(4)));
        assert_eq!(parse("0100230000000000"), Err(EntryError::ImpossibleSize(35)));
        assert!(matches!(parse("0100ffffffffffff"), Err(EntryError::ImpossibleSize(_))));
        assert!(matches!(
            Frame::parse(&hex::decode("01000000000000").expect("hex")),
            Err(EntryError::Truncated { .. })
        ));
        assert_eq!(
            EntryHeader::encode(Flags::CHUNK_BEFORE, 12982).as_slice(),
            hex::decode("0102b63200000000").expect("hex")
        );
    }
}
