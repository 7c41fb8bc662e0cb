// For a sandbox on one machine: every valid proposal is accepted at once, without votes (section 10).

export function resolve(proposal, proposerId, votes) {
  return "Accepted";
}
