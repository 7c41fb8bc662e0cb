// The standard logging workload in JavaScript: records in a private and in a public table, with plain text keys and
// values. Load generators speak it, so its answers are kept to the letter.

const PRIVATE = "records";
const PUBLIC = "public:records";
const NOT_FOUND = { statusCode: 404, body: { error: { code: "ResourceNotFound" } } };

/** Parameters of the query; the service has decoded it already. */
function query(request) {
  const parameters = {};
  for (const part of request.query.split("&")) {
    const at = part.indexOf("=");
    if (at > 0) {
      parameters[part.slice(0, at)] ??= part.slice(at + 1);
    }
  }
  return parameters;
}

/** The table a request is about: `scope` in the query names a separate one. */
function table(name, parameters) {
  return ccf.kv[parameters.scope === undefined ? name : `${name}-${parameters.scope}`];
}

function key(id) {
  if (id === undefined) {
    throw new Error("Could not find 'id' in query");
  }
  return ccf.strToBuf(String(id));
}

function find(name, request) {
  const parameters = query(request);
  const found = table(name, parameters).get(key(parameters.id));
  return found === undefined ? NOT_FOUND : { body: { msg: ccf.bufToStr(found) } };
}

function record(name, request, prefix = "") {
  const { id, msg, record_claim } = request.body.json();
  if (msg.length === 0) {
    const message = "Cannot record an empty log message.";
    return { statusCode: 400, body: { error: { code: "InvalidInput", message } } };
  }
  const value = ccf.strToBuf(prefix + msg);
  table(name, query(request)).set(key(id), value);
  if (record_claim) {
    ccf.rpc.setClaimsDigest(ccf.crypto.digest("SHA-256", value));
  }
  return { body: true };
}

function remove(name, request) {
  const parameters = query(request);
  const records = table(name, parameters);
  const id = key(parameters.id);
  if (!records.has(id)) {
    return NOT_FOUND;
  }
  records.delete(id);
  return { body: true };
}

function clear(name, request) {
  table(name, query(request)).clear();
  return { body: true };
}

function count(name, request) {
  return { body: table(name, query(request)).size };
}

export const get_private = (request) => find(PRIVATE, request);
export const post_private = (request) => record(PRIVATE, request);
export const delete_private = (request) => remove(PRIVATE, request);
export const clear_private = (request) => clear(PRIVATE, request);
export const count_private = (request) => count(PRIVATE, request);

export const get_public = (request) => find(PUBLIC, request);
export const post_public = (request) => record(PUBLIC, request);
export const delete_public = (request) => remove(PUBLIC, request);
export const clear_public = (request) => clear(PUBLIC, request);
export const count_public = (request) => count(PUBLIC, request);

export const post_private_prefix_cert = (request) => record(PRIVATE, request, `${request.caller.id}: `);

export function post_private_admin_only(request) {
  if (request.caller.data?.isAdmin !== true) {
    const message = "Only admins may access this endpoint.";
    return { statusCode: 403, body: { error: { code: "AuthorizationFailed", message } } };
  }
  return record(PRIVATE, request);
}

export function post_private_raw_text(request) {
  if (request.headers["content-type"] !== "text/plain") {
    const message = "Expected content-type 'text/plain'.";
    return { statusCode: 415, body: { error: { code: "InvalidHeaderValue", message } } };
  }
  ccf.kv[PRIVATE].set(key(request.params.id), request.body.arrayBuffer());
  return {};
}

/** What an earlier transaction wrote, named by the header `x-ms-ccf-transaction-id`. */
function past(name, request) {
  const parameters = query(request);
  const tables = ccf.historicalState.kv;
  const scoped = parameters.scope === undefined ? name : `${name}-${parameters.scope}`;
  const found = tables[scoped].get(key(parameters.id));
  return found === undefined ? undefined : ccf.bufToStr(found);
}

function historical(name, request) {
  const msg = past(name, request);
  return msg === undefined ? { statusCode: 204 } : { body: { msg } };
}

/** The same with the proof that it is in the ledger. The claims of a public record are the digest of its message, which
 * the reader can make. */
function historical_receipt(name, request, claims) {
  const msg = past(name, request);
  if (msg === undefined) {
    return { statusCode: 204 };
  }
  const receipt = ccf.historicalState.receipt;
  if (!claims) {
    delete receipt.leaf_components.claims_digest;
  }
  return { body: { msg, receipt } };
}

const PAGE = 2000;

/** All messages that a range of transactions gave to a number, page by page. */
function historical_range(name, path, request) {
  const parameters = query(request);
  const id = key(parameters.id);
  const number = (text, otherwise) => (text === undefined ? otherwise : parseInt(text));
  const committed = ccf.consensus.getLastCommittedTxId().seqno;
  const from = number(parameters.from_seqno, 1);
  const to = number(parameters.to_seqno, ccf.kv[name].getVersionOfPreviousWrite(id) ?? committed);
  if (!(from >= 1) || !(to >= from)) {
    const message = `Invalid range: starts at ${from} but ends at ${to}.`;
    return { statusCode: 400, body: { error: { code: "InvalidInput", message } } };
  }
  const view = ccf.consensus.getViewForSeqno(to);
  if (view === null || ccf.consensus.getStatusForTxId(view, to) !== "Committed") {
    const message = `Only committed transactions can be queried. Transaction at seqno ${to} is not.`;
    return { statusCode: 400, body: { error: { code: "InvalidInput", message } } };
  }
  const end = Math.min(to, from + PAGE - 1);
  const digest = ccf.crypto.digest("SHA-256", ccf.jsonCompatibleToBuf([name, parameters.id, from, end]));
  const handle = new DataView(digest).getUint32(0);
  const states = ccf.historical.getStateRange(handle, from, end, 30 * 60);
  if (states === null) {
    return { statusCode: 202, headers: { "retry-after": "1" }, body: "Still fetching earlier transactions" };
  }
  const entries = [];
  for (const state of states) {
    const found = state.kv[name].get(id);
    if (found !== undefined) {
      const seqno = parseInt(state.transactionId.split(".")[1]);
      entries.push({ seqno, id: parseInt(parameters.id), msg: ccf.bufToStr(found) });
    }
  }
  ccf.historical.dropCachedStates(handle);
  const body = { entries };
  if (end < to) {
    body["@nextLink"] = `/app${path}?from_seqno=${end + 1}&to_seqno=${to}&id=${parameters.id}`;
  }
  return { body };
}

export const get_private_historical = (request) => historical(PRIVATE, request);
export const get_public_historical = (request) => historical(PUBLIC, request);
export const get_private_historical_receipt = (request) => historical_receipt(PRIVATE, request, true);
export const get_public_historical_receipt = (request) => historical_receipt(PUBLIC, request, false);
export const get_private_historical_range = (request) =>
  historical_range(PRIVATE, "/log/private/historical/range", request);
export const get_public_historical_range = (request) =>
  historical_range(PUBLIC, "/log/public/historical/range", request);

/** Says who calls and how that was found out. */
export function multi_auth(request) {
  const describe = (caller) => {
    if (caller === null || caller.policy === "no_auth") {
      return "Unauthenticated";
    }
    if (Array.isArray(caller.policy)) {
      const parts = caller.policy.map((name) => describe(caller[name]));
      return ["Conjoined auth policy: " + caller.policy.join("+"), ...parts].join("\n\n");
    }
    const identity = () => [
      `The caller's ID is: ${caller.id}`,
      `The caller's data is: ${JSON.stringify(caller.data)}`,
      `The caller's cert is:\n${caller.cert}`,
    ];
    switch (caller.policy) {
      case "user_cert":
        return ["User TLS cert", ...identity()].join("\n");
      case "member_cert":
        return ["Member TLS cert", ...identity()].join("\n");
      case "any_cert":
        return ["Any TLS cert", `The caller's cert is:\n${caller.cert}`].join("\n");
      case "jwt":
        return ["JWT", `The caller is identified by: ${JSON.stringify(caller.jwt)}`].join("\n");
      case "user_cose_sign1":
        return ["User COSE Sign1", ...identity()].join("\n");
      default:
        throw new Error(`Unknown policy ${caller.policy}`);
    }
  };
  return { body: describe(request.caller) };
}

/** An application's own way to find out who calls. */
export function custom_auth(request) {
  const refuse = (text) => ({ statusCode: 401, body: text });
  if (request.headers["x-custom-auth-explode"] !== undefined) {
    throw new Error(request.headers["x-custom-auth-explode"]);
  }
  const name = request.headers["x-custom-auth-name"];
  if (!name) {
    return refuse("Missing required header x-custom-auth-name");
  }
  const age = Number(request.headers["x-custom-auth-age"]);
  if (!Number.isInteger(age) || age < 16) {
    return refuse("Caller age must be at least 16");
  }
  return { body: { name, age, description: `Your name is ${name} and you are ${age}` } };
}
