// Named registers that hold a number each: the smallest application whose history can be judged.

const registers = ccf.kv["registers"];

function find(name) {
  const found = registers.get(ccf.strToBuf(name));
  return found === undefined ? null : Number(ccf.bufToStr(found));
}

function store(name, value) {
  registers.set(ccf.strToBuf(name), ccf.strToBuf(String(value)));
}

export function read(request) {
  const value = find(request.params.name);
  return value === null ? { statusCode: 404, body: { value } } : { body: { value } };
}

export function write(request) {
  const { value } = request.body.json();
  store(request.params.name, value);
  return { body: { value } };
}

/** Replaces the value if it is the one the caller believes it is; tells which one it was. */
export function replace(request) {
  const { from, to } = request.body.json();
  const found = find(request.params.name);
  if (found === from) {
    store(request.params.name, to);
  }
  return { body: { found } };
}

/** What the transaction of the request's header wrote, with its receipt. */
export function past(request) {
  const { kv, receipt, transactionId } = ccf.historicalState;
  const found = kv["registers"].get(ccf.strToBuf(request.params.name));
  const value = found === undefined ? null : Number(ccf.bufToStr(found));
  return { body: { value, receipt, transactionId } };
}

/** What the transactions of a range wrote. */
export function pastRange(request) {
  const query = Object.fromEntries(request.query.split("&").map((pair) => pair.split("=")));
  const states = ccf.historical.getStateRange(7, Number(query.from), Number(query.to), 600);
  if (states === null) {
    return { statusCode: 202, headers: { "retry-after": "1" } };
  }
  const written = [];
  for (const state of states) {
    state.kv["registers"].forEach((value, name) => {
      written.push({ name: ccf.bufToStr(name), value: Number(ccf.bufToStr(value)), id: state.transactionId });
    });
  }
  return { body: { transactions: states.length, written } };
}
