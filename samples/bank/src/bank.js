// A bank. Members (the banks of a consortium) open accounts and pay in; users read and move their own money.
//
// Balances are in private tables, one per user: nobody can read them in the ledger, yet everybody can verify that the
// ledger is whole. Each request is one transaction: what it reads cannot change under it, and when it fails nothing
// of it remains.

const BALANCE_MAX = 4294967295;

const done = { statusCode: 204 };
const notFound = { statusCode: 404 };

export function open_account(request) {
  const { user_id, account_name } = request.params;
  if (!isUser(user_id)) {
    return notFound;
  }
  const accounts = accountsOf(user_id);
  if (!accounts.has(key(account_name))) {
    write(accounts, account_name, 0);
  }
  return done;
}

export function deposit(request) {
  const body = jsonOf(request);
  if (!body || !isAmount(body.value)) {
    return refused("The value must be a positive whole number");
  }
  const { user_id, account_name } = request.params;
  if (!isUser(user_id)) {
    return notFound;
  }
  const accounts = accountsOf(user_id);
  const before = read(accounts, account_name);
  if (before === undefined) {
    return notFound;
  }
  if (before + body.value > BALANCE_MAX) {
    return refused("The balance would be too large");
  }
  write(accounts, account_name, before + body.value);
  return done;
}

export function balance(request) {
  const found = read(accountsOf(request.caller.id), request.params.account_name);
  return found === undefined ? notFound : { body: { balance: found } };
}

export function transfer(request) {
  const body = jsonOf(request);
  if (!body || !isAmount(body.value)) {
    return refused("The value must be a positive whole number");
  }
  const from = accountsOf(request.caller.id);
  const name = request.params.account_name;
  const before = read(from, name);
  if (before === undefined || !isUser(body.user_id_to)) {
    return notFound;
  }
  const to = accountsOf(body.user_id_to);
  if (read(to, body.account_name_to) === undefined) {
    return notFound;
  }
  if (before < body.value) {
    return refused("Balance is not enough");
  }
  write(from, name, before - body.value);
  // Read after the first write: both accounts may be the same one.
  const after = read(to, body.account_name_to) + body.value;
  if (after > BALANCE_MAX) {
    return refused("The balance would be too large");
  }
  write(to, body.account_name_to, after);

  const claim = `${request.caller.id} sent ${body.value} to ${body.user_id_to}`;
  ccf.rpc.setClaimsDigest(ccf.crypto.digest("SHA-256", ccf.strToBuf(claim)));
  return done;
}

function isUser(id) {
  return typeof id === "string" && ccf.kv["public:ccf.gov.users.certs"].has(key(id));
}

function isAmount(value) {
  return Number.isInteger(value) && value > 0 && value <= BALANCE_MAX;
}

function accountsOf(userId) {
  return ccf.kv[`user_accounts:${userId}`];
}

function read(accounts, name) {
  const bytes = typeof name === "string" ? accounts.get(key(name)) : undefined;
  return bytes === undefined ? undefined : ccf.bufToJsonCompatible(bytes);
}

function write(accounts, name, value) {
  accounts.set(key(name), ccf.jsonCompatibleToBuf(value));
}

function key(text) {
  return ccf.strToBuf(text);
}

function jsonOf(request) {
  try {
    return request.body.json();
  } catch (error) {
    return undefined;
  }
}

function refused(text) {
  return { statusCode: 400, body: text };
}
