// Accepts a proposal when more than half of the active members have voted for it (9.1). Votes of members who
// left, or who have not acknowledged yet, do not count. A proposal is never rejected: it can still gain votes.

export function resolve(proposal, proposerId, votes) {
  const active = new Set();
  ccf.kv["public:ccf.gov.members.info"].forEach((value, id) => {
    if (ccf.bufToJsonCompatible(value).status === "Active") {
      active.add(ccf.bufToStr(id));
    }
  });
  const inFavour = votes.filter(({ member_id, vote }) => vote && active.has(member_id)).length;
  return inFavour > Math.floor(active.size / 2) ? "Accepted" : "Open";
}
