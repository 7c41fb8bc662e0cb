// Every converter of the npm package, through typed maps and sets, each row written and read in one request or two.

import * as ccfapp from "@microsoft/ccf-app";

const maps = {
  bool: ccfapp.typedKv("public:npm.bool", ccfapp.string, ccfapp.bool),
  int8: ccfapp.typedKv("public:npm.int8", ccfapp.string, ccfapp.int8),
  uint8: ccfapp.typedKv("public:npm.uint8", ccfapp.string, ccfapp.uint8),
  int16: ccfapp.typedKv("public:npm.int16", ccfapp.string, ccfapp.int16),
  uint16: ccfapp.typedKv("public:npm.uint16", ccfapp.string, ccfapp.uint16),
  int32: ccfapp.typedKv("public:npm.int32", ccfapp.string, ccfapp.int32),
  uint32: ccfapp.typedKv("public:npm.uint32", ccfapp.string, ccfapp.uint32),
  float32: ccfapp.typedKv("public:npm.float32", ccfapp.string, ccfapp.float32),
  float64: ccfapp.typedKv("public:npm.float64", ccfapp.string, ccfapp.float64),
  string: ccfapp.typedKv("public:npm.string", ccfapp.string, ccfapp.string),
  json: ccfapp.typedKv("npm.json", ccfapp.string, ccfapp.json()),
};
const wide = {
  int64: ccfapp.typedKv("public:npm.int64", ccfapp.string, ccfapp.int64),
  uint64: ccfapp.typedKv("public:npm.uint64", ccfapp.string, ccfapp.uint64),
};
const raw = ccfapp.typedKv("public:npm.raw", ccfapp.uint32, ccfapp.arrayBuffer);
const typed = ccfapp.typedKv("public:npm.typed", ccfapp.uint32, ccfapp.typedArray(Uint16Array));
const members = ccfapp.typedKvSet("public:npm.set", ccfapp.string);

// POST /values/{kind} {"key": ..., "value": ...}
export function put(request) {
  const { kind } = request.params;
  const { key, value } = request.body.json();
  try {
    if (kind in maps) {
      maps[kind].set(key, value);
    } else if (kind in wide) {
      wide[kind].set(key, BigInt(value));
    } else if (kind === "typed") {
      typed.set(key, Uint16Array.from(value));
    } else if (kind === "raw") {
      raw.set(key, ccfapp.string.encode(value));
    } else {
      return { statusCode: 404 };
    }
  } catch (error) {
    return { statusCode: 400, body: `${error.name}` };
  }
  return { statusCode: 204 };
}

// GET /values/{kind}/{key}
export function get(request) {
  const { kind, key } = request.params;
  if (kind in maps) {
    return maps[kind].has(key) ? { body: { value: maps[kind].get(key) } } : { statusCode: 404 };
  }
  if (kind in wide) {
    return wide[kind].has(key) ? { body: { value: String(wide[kind].get(key)) } } : { statusCode: 404 };
  }
  if (kind === "typed") {
    return { body: { value: Array.from(typed.get(Number(key))) } };
  }
  return { body: { value: ccfapp.string.decode(raw.get(Number(key))) } };
}

// GET /all/{kind}: forEach and size
export function all(request) {
  const map = maps[request.params.kind];
  const rows = {};
  map.forEach((value, key) => {
    rows[key] = value;
  });
  return { body: { rows, size: map.size } };
}

// POST /members {"add": [...], "remove": [...]}: a set; the answer lists it
export function setMembers(request) {
  const { add, remove } = request.body.json();
  add.forEach((name) => members.add(name));
  remove.forEach((name) => members.delete(name));
  const names = [];
  members.forEach((name) => names.push(name));
  return { body: { names: names.sort(), size: members.size } };
}

// POST /refused {"key", "value", "apply"}: a failing request whose writes are kept only on demand
export function refused(request) {
  const { key, value, apply } = request.body.json();
  maps.string.set(key, value);
  ccfapp.setApplyWrites(apply);
  return { statusCode: 409, body: { kept: apply } };
}

// GET /status?transaction_id=V.S
export function status(request) {
  const [view, seqno] = request.query.split("=")[1].split(".").map(Number);
  return { body: { status: ccfapp.getStatusForTxId(view, seqno), committed: ccfapp.getLastCommittedTxId() } };
}
