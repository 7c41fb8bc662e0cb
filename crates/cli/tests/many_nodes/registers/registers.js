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
