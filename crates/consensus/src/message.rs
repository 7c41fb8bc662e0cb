//! Messages between replicas and their bytes (section 6). All numbers are little-endian `u64`, booleans one byte.
//!
//! | type | message | size |
//! |---|---|---|
//! | 0 | append entries: idx, prev_idx, term, prev_term, leader_commit_idx, term_of_idx, contains_new_view | 57 |
//! | 1 | its response: term, last_log_idx, success (0 is success) | 25 |
//! | 3, 6 | request vote, request pre-vote: term, last committable index, its term | 32 |
//! | 4, 7 | their responses: term, granted | 17 |
//! | 5 | propose request vote: term | 16 |
//!
//! Older releases send types 3 and 4 with a trailing `u32` election type; both forms are read.

use ccf_types::{SeqNo, TxId, View};

/// Entries follow a message of this type; which, it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendEntries {
    /// The last entry that follows, and its view, which is that of all of them.
    pub last: TxId,
    /// The entry before those that follow, and its view in the sender's log.
    pub previous: TxId,
    /// The sender's view.
    pub view: View,
    /// The sender's commit.
    pub commit: SeqNo,
}

/// The answer to append entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendEntriesResponse {
    /// On success the responder's view; else the view of its estimate, or its own.
    pub view: View,
    /// On success the last entry of the request; else where the sender should try.
    pub last: SeqNo,
    /// Whether the log of the responder now holds everything up to `last` as the sender has it.
    pub success: bool,
}

/// A candidate asks for a vote or sounds out whether it would get one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestVote {
    /// The candidate's view.
    pub view: View,
    /// The candidate's last signature.
    pub last_committable: TxId,
}

/// The answer to a request for a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteResponse {
    /// The responder's view.
    pub view: View,
    /// Whether the vote is given.
    pub granted: bool,
}

/// A message of consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Type 0.
    AppendEntries(AppendEntries),
    /// Type 1.
    AppendEntriesResponse(AppendEntriesResponse),
    /// Type 3.
    RequestVote(RequestVote),
    /// Type 4.
    RequestVoteResponse(VoteResponse),
    /// Type 5: stand for election now, in this view.
    ProposeRequestVote(View),
    /// Type 6.
    RequestPreVote(RequestVote),
    /// Type 7.
    RequestPreVoteResponse(VoteResponse),
}

/// How votes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ElectionForm {
    /// Pre-votes have message types of their own.
    #[default]
    Release,
    /// Development versions of 7.0: an election type behind types 3 and 4.
    Dev5,
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Fewer bytes than the type has, or more.
    #[error("a consensus message of type {0} cannot have {1} bytes")]
    Length(u64, usize),
    /// No such type.
    #[error("unknown consensus message type {0}")]
    UnknownType(u64),
    /// A boolean that is neither 0 nor 1, or an unknown election type.
    #[error("a field of a consensus message has an impossible value")]
    Value,
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u64(&mut self) -> u64 {
        let (head, rest) = self.0.split_first_chunk::<8>().expect("the length was checked");
        self.0 = rest;
        u64::from_le_bytes(*head)
    }

    fn bool(&mut self) -> Result<bool, MessageError> {
        let (head, rest) = self.0.split_first().expect("the length was checked");
        self.0 = rest;
        match head {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(MessageError::Value),
        }
    }

    fn is_pre_vote(&mut self) -> Result<bool, MessageError> {
        match self.0 {
            [] | [1, 0, 0, 0] => Ok(false),
            [0, 0, 0, 0] => Ok(true),
            _ => Err(MessageError::Value),
        }
    }

    fn vote_request(&mut self) -> RequestVote {
        let view = View(self.u64());
        let seqno = SeqNo(self.u64());
        RequestVote { view, last_committable: TxId { view: View(self.u64()), seqno } }
    }

    fn vote_response(&mut self) -> Result<VoteResponse, MessageError> {
        Ok(VoteResponse { view: View(self.u64()), granted: self.bool()? })
    }
}

impl Message {
    /// The bytes of the longest message.
    pub const BYTES_MAX: usize = 57;

    /// Reads one message from exactly its bytes.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Message, MessageError> {
        let Some(kind) = bytes.first_chunk::<8>().map(|head| u64::from_le_bytes(*head)) else {
            return Err(MessageError::Length(u64::MAX, bytes.len()));
        };
        let fits = match kind {
            0 => bytes.len() == 57,
            1 => bytes.len() == 25,
            3 => matches!(bytes.len(), 32 | 36),
            4 => matches!(bytes.len(), 17 | 21),
            5 => bytes.len() == 16,
            6 => bytes.len() == 32,
            7 => bytes.len() == 17,
            _ => return Err(MessageError::UnknownType(kind)),
        };
        if !fits {
            return Err(MessageError::Length(kind, bytes.len()));
        }
        let mut fields = Fields(&bytes[8..]);
        Ok(match kind {
            0 => {
                let (last, previous) = (SeqNo(fields.u64()), SeqNo(fields.u64()));
                let (view, previous_view) = (View(fields.u64()), View(fields.u64()));
                let commit = SeqNo(fields.u64());
                let last = TxId { view: View(fields.u64()), seqno: last };
                fields.bool()?;
                let previous = TxId { view: previous_view, seqno: previous };
                Message::AppendEntries(AppendEntries { last, previous, view, commit })
            }
            1 => Message::AppendEntriesResponse(AppendEntriesResponse {
                view: View(fields.u64()),
                last: SeqNo(fields.u64()),
                success: !fields.bool()?,
            }),
            3 => {
                let request = fields.vote_request();
                if fields.is_pre_vote()? {
                    Message::RequestPreVote(request)
                } else {
                    Message::RequestVote(request)
                }
            }
            4 => {
                let response = fields.vote_response()?;
                if fields.is_pre_vote()? {
                    Message::RequestPreVoteResponse(response)
                } else {
                    Message::RequestVoteResponse(response)
                }
            }
            5 => Message::ProposeRequestVote(View(fields.u64())),
            6 => Message::RequestPreVote(fields.vote_request()),
            _ => Message::RequestPreVoteResponse(fields.vote_response()?),
        })
    }

    /// Writes the message.
    #[must_use]
    pub fn encode(&self, form: ElectionForm) -> Vec<u8> {
        let mut out = Vec::with_capacity(Message::BYTES_MAX);
        let mut put = |value: u64| out.extend_from_slice(&value.to_le_bytes());
        match self {
            Message::AppendEntries(ae) => {
                put(0);
                put(ae.last.seqno.0);
                put(ae.previous.seqno.0);
                put(ae.view.0);
                put(ae.previous.view.0);
                put(ae.commit.0);
                put(ae.last.view.0);
                out.push(0);
            }
            Message::AppendEntriesResponse(response) => {
                put(1);
                put(response.view.0);
                put(response.last.0);
                out.push(u8::from(!response.success));
            }
            Message::RequestVote(request) | Message::RequestPreVote(request) => {
                let pre_vote = matches!(self, Message::RequestPreVote(_));
                put(if pre_vote && form == ElectionForm::Release { 6 } else { 3 });
                put(request.view.0);
                put(request.last_committable.seqno.0);
                put(request.last_committable.view.0);
                if form == ElectionForm::Dev5 {
                    out.extend_from_slice(&u32::from(!pre_vote).to_le_bytes());
                }
            }
            Message::RequestVoteResponse(response) | Message::RequestPreVoteResponse(response) => {
                let pre_vote = matches!(self, Message::RequestPreVoteResponse(_));
                put(if pre_vote && form == ElectionForm::Release { 7 } else { 4 });
                put(response.view.0);
                out.push(u8::from(response.granted));
                if form == ElectionForm::Dev5 {
                    out.extend_from_slice(&u32::from(!pre_vote).to_le_bytes());
                }
            }
            Message::ProposeRequestVote(view) => {
                put(5);
                put(view.0);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: Message, form: ElectionForm, hex: &str) {
        let bytes = message.encode(form);
        let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(text, hex.replace(' ', ""));
        assert_eq!(Message::decode(&bytes), Ok(message));
        for cut in 0..bytes.len() {
            if let Ok(other) = Message::decode(&bytes[..cut]) {
                // Cutting the election type off leaves the release form of the regular message.
                assert!(form == ElectionForm::Dev5 && cut + 4 == bytes.len(), "{other:?}");
            }
        }
    }

    #[test]
    fn vectors_of_the_specification() {
        use ElectionForm::{Dev5, Release};
        let request = |view| RequestVote { view: View(view), last_committable: TxId::new(2, 6) };
        let granted = |view| VoteResponse { view: View(view), granted: true };
        let response = |last, success| {
            Message::AppendEntriesResponse(AppendEntriesResponse {
                view: View(2),
                last: SeqNo(last),
                success,
            })
        };
        check(
            Message::AppendEntries(AppendEntries {
                last: TxId::new(2, 7),
                previous: TxId::new(2, 5),
                view: View(2),
                commit: SeqNo(4),
            }),
            Release,
            "0000000000000000 0700000000000000 0500000000000000 0200000000000000 0200000000000000 0400000000000000 0200000000000000 00",
        );
        check(response(7, true), Release, "0100000000000000 0200000000000000 0700000000000000 00");
        check(response(3, false), Release, "0100000000000000 0200000000000000 0300000000000000 01");
        let vote = "0300000000000000 0300000000000000 0600000000000000 0200000000000000";
        check(Message::RequestVote(request(3)), Release, vote);
        check(
            Message::RequestPreVote(request(2)),
            Release,
            "0600000000000000 0200000000000000 0600000000000000 0200000000000000",
        );
        check(Message::RequestVoteResponse(granted(3)), Release, "0400000000000000 0300000000000000 01");
        check(Message::RequestPreVoteResponse(granted(2)), Release, "0700000000000000 0200000000000000 01");
        check(Message::RequestVote(request(3)), Dev5, &format!("{vote} 01000000"));
        check(
            Message::RequestPreVote(request(2)),
            Dev5,
            "0300000000000000 0200000000000000 0600000000000000 0200000000000000 00000000",
        );
        check(
            Message::RequestVoteResponse(granted(3)),
            Dev5,
            "0400000000000000 0300000000000000 01 01000000",
        );
        check(Message::ProposeRequestVote(View(4)), Release, "0500000000000000 0400000000000000");
    }

    #[test]
    fn unknown_and_odd_messages_are_refused() {
        for kind in [2u64, 8, u64::MAX] {
            let mut bytes = kind.to_le_bytes().to_vec();
            bytes.resize(32, 0);
            assert_eq!(Message::decode(&bytes), Err(MessageError::UnknownType(kind)));
        }
        let mut granted = Message::RequestVoteResponse(VoteResponse { view: View(1), granted: true })
            .encode(ElectionForm::Release);
        granted[16] = 2;
        assert_eq!(Message::decode(&granted), Err(MessageError::Value));
        assert!(Message::decode(&[]).is_err());
    }
}
