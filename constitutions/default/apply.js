// Carries out an accepted proposal: its actions in order; the first that throws undoes them all (9.1).

export function apply(proposal, proposalId) {
  for (const { name, args } of JSON.parse(proposal).actions) {
    const action = actions.get(name);
    if (action === undefined) {
      throw new Error(`${name}: no such action`);
    }
    action.apply(args, proposalId);
  }
}
