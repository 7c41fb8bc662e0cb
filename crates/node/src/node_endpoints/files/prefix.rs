//! Copies of the committed entries of a chunk that is not complete (node specification, section 13.6, of 7.0.x): a file
//! that exists for the download only and never changes, since what is committed does not.

use super::{CHUNK_NAME, Files, answer, content::Content, unreadable};
use ccf_endpoints::{EndpointContext, ErrorCode, ErrorResponse};
use ccf_ledger::files::{ChunkPath, PrefixName, list_chunks};
use ccf_types::SeqNo;
use std::sync::Arc;

/// The query that asks for them.
pub(super) const INCLUDE: &str = "include_committed_prefix";

/// The copy that holds `since`: of the file in progress that it is in, all that is committed. `chunks` are the files of
/// the main directory.
pub(super) fn holding(chunks: &[ChunkPath], since: u64, committed: SeqNo) -> Option<PrefixName> {
    let start = start_of(chunks, SeqNo(since))?;
    (since <= committed.0).then_some(PrefixName { start, end: committed })
}

pub(super) fn get_prefix(files: &Files, ctx: &mut EndpointContext<'_>) -> Result<(), ErrorResponse> {
    let name = ctx.param("prefix_name")?;
    let Some(prefix) = PrefixName::parse(&name) else {
        let text = format!("{name} is not a valid committed ledger prefix name");
        return Err(ErrorResponse::new(ErrorCode::InvalidResourceName, text));
    };
    let unknown = format!("This node cannot provide committed ledger prefix {name}");
    let content = if prefix.end <= files.committed() { find(files, prefix)? } else { None };
    answer::respond(ctx, content, &name, CHUNK_NAME, &unknown, &files.digests)
}

fn find(files: &Files, prefix: PrefixName) -> Result<Option<Content>, ErrorResponse> {
    let chunks = list_chunks(&files.directories.ledger).map_err(|e| unreadable(&e))?;
    // Both ends in one file, of which it is the beginning: nobody can ask for the whole ledger at once.
    let starts = [prefix.start, prefix.end].map(|seqno| start_of(&chunks, seqno));
    if starts != [Some(prefix.start); 2] {
        return Ok(None);
    }
    let found = files.directories.reader.prefix(prefix.start, prefix.end).map_err(|e| unreadable(&e))?;
    Ok(found.map(|found| Content::Prefix(Arc::new(found), prefix)))
}

/// The first entry of the file that holds a position, or would.
fn start_of(chunks: &[ChunkPath], seqno: SeqNo) -> Option<SeqNo> {
    let before = chunks.iter().filter(|chunk| chunk.name.start <= seqno && !chunk.name.recovery);
    let last = before.max_by_key(|chunk| chunk.name.start)?;
    last.name.end.is_none_or(|end| seqno <= end).then_some(last.name.start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ccf_ledger::files::ChunkName;

    #[test]
    fn a_prefix_begins_with_its_file_and_ends_with_the_commit() {
        let chunk =
            |name: &str| ChunkPath { name: ChunkName::parse(name).expect("a name"), path: name.into() };
        let chunks = [chunk("ledger_1-10.committed"), chunk("ledger_11"), chunk("ledger_30")];
        let holding = |since, committed| {
            holding(&chunks, since, SeqNo(committed)).map(|name| name.to_string()).unwrap_or_default()
        };
        assert_eq!(holding(12, 20), "ledger_11-20.committed_prefix");
        assert_eq!(holding(20, 20), "ledger_11-20.committed_prefix");
        assert_eq!(holding(21, 20), "");
        assert_eq!(holding(30, 31), "ledger_30-31.committed_prefix");
    }
}
