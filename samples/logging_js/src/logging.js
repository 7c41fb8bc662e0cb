// The standard logging workload in JavaScript: private and public records by number. The native twin is apps/logging.

const RECORDS = "records";
const PUBLIC_RECORDS = "public:records";

const notFound = { statusCode: 404, body: { error: { code: "ResourceNotFound" } } };

function fail(code, message) {
  return { statusCode: 400, body: { error: { code, message } } };
}

// `?id=1&scope=x` as an object; values are percent-decoded already.
function parameters(request) {
  const found = {};
  for (const part of request.query.split("&")) {
    const at = part.indexOf("=");
    if (at > 0) {
      found[part.slice(0, at)] = part.slice(at + 1);
    }
  }
  return found;
}

function table(name, { scope }) {
  return ccf.kv[scope === undefined ? name : `${name}-${scope}`];
}

function key(id) {
  return ccf.strToBuf(id);
}

function idOf(found) {
  if (found.id === undefined) {
    throw new Error("Missing query parameter 'id'");
  }
  return key(found.id);
}

function get(name, request) {
  const found = parameters(request);
  const message = table(name, found).get(idOf(found));
  return message === undefined ? notFound : { body: { msg: ccf.bufToStr(message) } };
}

function put(name, request, decorate) {
  const record = request.body.json();
  if (typeof record.msg !== "string" || record.msg.length === 0) {
    return fail("InvalidInput", "Cannot record an empty log message.");
  }
  const message = decorate === undefined ? record.msg : decorate(record.msg);
  table(name, parameters(request)).set(key(String(record.id)), ccf.strToBuf(message));
  return { body: true };
}

function remove(name, request) {
  const found = parameters(request);
  const records = table(name, found);
  const id = idOf(found);
  if (!records.has(id)) {
    return notFound;
  }
  records.delete(id);
  return { body: true };
}

function clear(name, request) {
  table(name, parameters(request)).clear();
  return { body: true };
}

function count(name, request) {
  return { body: table(name, parameters(request)).size };
}

export const getPrivate = (request) => get(RECORDS, request);
export const postPrivate = (request) => put(RECORDS, request);
export const deletePrivate = (request) => remove(RECORDS, request);
export const clearPrivate = (request) => clear(RECORDS, request);
export const countPrivate = (request) => count(RECORDS, request);

export const getPublic = (request) => get(PUBLIC_RECORDS, request);
export const postPublic = (request) => put(PUBLIC_RECORDS, request);
export const deletePublic = (request) => remove(PUBLIC_RECORDS, request);
export const clearPublic = (request) => clear(PUBLIC_RECORDS, request);
export const countPublic = (request) => count(PUBLIC_RECORDS, request);

export function postPrefixed(request) {
  return put(RECORDS, request, (text) => `${request.caller.id}: ${text}`);
}

export function postAdminOnly(request) {
  if (request.caller.data === null || request.caller.data.isAdmin !== true) {
    return {
      statusCode: 403,
      body: { error: { code: "AuthorizationFailed", message: "Only admins may access this endpoint." } },
    };
  }
  return put(RECORDS, request);
}

export function postRawText(request) {
  if (request.headers["content-type"] !== "text/plain") {
    return {
      statusCode: 415,
      body: { error: { code: "InvalidHeaderValue", message: "Expected content-type 'text/plain'." } },
    };
  }
  ccf.kv[RECORDS].set(key(request.params.id), ccf.strToBuf(request.body.text()));
  return { statusCode: 200 };
}

export function multiAuth(request) {
  const names = {
    user_cert: "User TLS cert",
    member_cert: "Member TLS cert",
    any_cert: "Any TLS cert",
    user_cose_sign1: "User COSE Sign1",
    no_auth: "Unauthenticated",
  };
  const policy = request.caller.policy;
  if (Array.isArray(policy)) {
    return { body: `Conjoined auth policy: ${policy.join(", ")}` };
  }
  return { body: names[policy] };
}
