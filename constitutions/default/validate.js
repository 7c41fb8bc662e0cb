// Decides whether a proposal can be accepted at all (9.1). A text that is not JSON is an exception, which the
// framework reports; everything else that is wrong is gathered, so that one answer names every mistake.

export function validate(input) {
  const { actions: steps } = JSON.parse(input);
  const errors = [];
  let position = 0;
  for (const { name, args } of steps) {
    const action = actions.get(name);
    if (action === undefined) {
      errors.push(`${name}: no such action`);
    } else {
      try {
        action.validate(args);
      } catch (e) {
        errors.push(`${name} at position ${position} failed validation: ${e}\n${e?.stack}`);
      }
    }
    position++;
  }
  return { valid: errors.length === 0, description: errors.join(", ") };
}
