// Where the bank keeps its data, and how keys and values become bytes.
//
// Tables whose names begin with "public:" stand in the ledger in clear; this one does not, so balances are
// encrypted and only the service can read them.

const accounts = ccf.kv["bank.accounts"];

/** How many movements an account remembers. */
const MOVEMENTS_MAX = 20;

/** Accounts are found by owner and name, so nobody can reach another user's account by its name alone. */
function key(owner, name) {
  return ccf.jsonCompatibleToBuf([owner, name]);
}

/** The account, or undefined if there is none. */
export function find(owner, name) {
  const stored = accounts.get(key(owner, name));
  return stored === undefined ? undefined : ccf.bufToJsonCompatible(stored);
}

/** Stores an account. */
export function save(owner, name, account) {
  accounts.set(key(owner, name), ccf.jsonCompatibleToBuf(account));
}

/** A new account without money. */
export function empty() {
  return { balance: 0, movements: [] };
}

/** Books a change of the balance, with the party on the other side. */
export function book(account, change, party) {
  account.balance += change;
  account.movements.unshift({ change, party, balance: account.balance });
  account.movements.length = Math.min(account.movements.length, MOVEMENTS_MAX);
}

/** Whether a user of this ID is known to the service. */
export function isUser(id) {
  return ccf.kv["public:ccf.gov.users.certs"].has(ccf.strToBuf(id));
}
