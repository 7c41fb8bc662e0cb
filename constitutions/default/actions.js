// The actions that a proposal may name: what arguments each accepts, and what it writes.
//
// An action is an object with two functions. `validate(args)` throws when the arguments are not acceptable;
// it runs when the proposal is made and may only read. `apply(args, proposalId)` runs once, when the proposal
// is accepted, and throws to undo everything. Files listed after this one may add to `actions`, or replace.
//
// Sections mentioned in comments are those of the governance specification.

class Action {
  constructor(validate, apply) {
    this.validate = validate;
    this.apply = apply;
  }
}

const actions = new Map();

// ---- Tables ----------------------------------------------------------------------------------------------

const GOV = "public:ccf.gov.";
const INTERNAL = "public:ccf.internal.";
// The one key of a table that holds a single value.
const ONLY = new ArrayBuffer(8);
const DEFAULT_VALIDITY_DAYS = 365;

function gov(name) {
  return ccf.kv[GOV + name];
}

function key(text) {
  return ccf.strToBuf(text);
}

// The JSON value at a key, or undefined.
function readJson(name, at) {
  const bytes = ccf.kv[name].get(at);
  return bytes === undefined ? undefined : ccf.bufToJsonCompatible(bytes);
}

function govJson(name, at) {
  return readJson(GOV + name, at);
}

function setJson(name, at, value) {
  gov(name).set(at, ccf.jsonCompatibleToBuf(value));
}

function requiredJson(name, what) {
  const value = govJson(name, ONLY);
  if (value === undefined) {
    throw new Error(`${what} is not available`);
  }
  return value;
}

function serviceConfig() {
  return requiredJson("service.config", "Service configuration");
}

// ---- Checks of arguments ---------------------------------------------------------------------------------

// Types are those of `typeof`, plus "integer" and "array". A trailing `?` also accepts null and absence.
function checkType(value, type, field) {
  const optional = type.endsWith("?");
  if (optional) {
    if (value === undefined || value === null) {
      return;
    }
    type = type.slice(0, -1);
  }
  const ok =
    type === "array"
      ? Array.isArray(value)
      : type === "integer"
        ? Number.isInteger(value)
        : typeof value === type;
  if (!ok) {
    throw new Error(`${field} must be of type ${type}${optional ? " or null" : ""}`);
  }
}

function checkBounds(value, low, high, field) {
  if (low !== null && value < low) {
    throw new Error(`${field} must be at least ${low}`);
  }
  if (high !== null && value > high) {
    throw new Error(`${field} must be at most ${high}`);
  }
}

function checkOneOf(value, words, field) {
  if (!words.includes(value)) {
    throw new Error(`${field} must be one of ${words.join(", ")}`);
  }
}

function checkHex(value, digits, field) {
  checkType(value, "string", field);
  if (value.length !== digits || !/^[0-9a-f]*$/.test(value)) {
    throw new Error(`${field} must be ${digits} lower-case hexadecimal digits`);
  }
}

// Identifiers of members, users and nodes.
function checkEntityId(value, field) {
  checkType(value, "string", field);
  if (value.length !== 64) {
    throw new Error(`${field} must contain exactly 64 characters`);
  }
  if (!/^[0-9a-fA-F]*$/.test(value)) {
    throw new Error(`${field} contains non-hexadecimal character`);
  }
}

function checkCertificates(value, field) {
  checkType(value, "string", field);
  if (value === "" || !ccf.crypto.isValidX509CertBundle(value)) {
    throw new Error(`${field} must be a valid X509 certificate (bundle) in PEM format`);
  }
}

function checkPublicKeyPem(value, field) {
  if (value === undefined || value === null) {
    return;
  }
  checkType(value, "string", field);
  if (!/^\s*-----BEGIN PUBLIC KEY-----[\s\S]*-----END PUBLIC KEY-----\s*$/.test(value)) {
    throw new Error(`${field} must be a public key in PEM format`);
  }
}

function checkNoArguments(args) {
  if (args !== undefined && args !== null) {
    throw new Error("args must be null or absent");
  }
}

function checkValidity(args) {
  checkType(args.valid_from, "string", "valid_from");
  if (args.validity_period_days !== undefined) {
    checkType(args.validity_period_days, "integer", "validity_period_days");
    checkBounds(args.validity_period_days, 1, null, "validity_period_days");
  }
}

// ---- Shared steps ----------------------------------------------------------------------------------------

// Sets every other open proposal to Dropped: called by actions that change what open proposals mean (9.1).
function dropOpenProposals(exceptId) {
  const rows = gov("proposals_info");
  rows.forEach((value, id) => {
    if (ccf.bufToStr(id) === exceptId) {
      return;
    }
    const info = ccf.bufToJsonCompatible(value);
    if (info.state === "Open") {
      info.state = "Dropped";
      rows.set(id, ccf.jsonCompatibleToBuf(info));
    }
  });
}

// Active members with an encryption key, as [memberId, role] (2.1).
function activeKeyHolders() {
  const found = [];
  gov("members.encryption_public_keys").forEach((_, id) => {
    const info = govJson("members.info", id);
    if (info !== undefined && info.status === "Active") {
      found.push([ccf.bufToStr(id), info.recovery_role ?? "Participant"]);
    }
  });
  return found;
}

// The days for which a certificate is asked, which may not exceed what the service allows (9.3).
function validityDays(requested, maximum) {
  const bound = maximum ?? DEFAULT_VALIDITY_DAYS;
  if (requested !== undefined && requested > bound) {
    throw new Error(`Validity period ${requested} (days) is greater than maximum allowed ${bound} (days)`);
  }
  return requested ?? bound;
}

// 9.5: changes the service configuration; shares are issued anew when the threshold changes.
function updateServiceConfig(changes) {
  const config = serviceConfig();
  const given = (name) => changes[name] !== undefined && changes[name] !== null;

  if (given("reconfiguration_type") && changes.reconfiguration_type !== config.reconfiguration_type) {
    const from = config.reconfiguration_type ?? "OneTransaction";
    if (from !== "OneTransaction" || changes.reconfiguration_type !== "TwoTransaction") {
      throw new Error(`Cannot change reconfiguration type from ${from} to ${changes.reconfiguration_type}`);
    }
  }
  const newThreshold =
    given("recovery_threshold") && changes.recovery_threshold !== config.recovery_threshold;
  if (newThreshold) {
    checkNewThreshold(changes.recovery_threshold);
  }
  for (const name of [
    "reconfiguration_type",
    "recovery_threshold",
    "recent_cose_proposals_window_size",
  ]) {
    if (given(name)) {
      config[name] = changes[name];
    }
  }
  setJson("service.config", ONLY, config);
  if (newThreshold) {
    ccf.node.triggerRecoverySharesRefresh();
  }
}

function checkNewThreshold(threshold) {
  const service = requiredJson("service.info", "Service information");
  const refuse = (why) => {
    throw new Error(`Cannot set recovery threshold to ${threshold}: ${why}`);
  };
  if (service.status === "WaitingForRecoveryShares") {
    refuse("service is currently waiting for recovery shares");
  } else if (service.status === "Open") {
    const holders = activeKeyHolders().length;
    if (threshold > holders) {
      refuse(`recovery threshold would be greater than the number of recovery members ${holders}`);
    }
  }
}

// ---- Consortium (9.2) ------------------------------------------------------------------------------------

actions.set(
  "set_constitution",
  new Action(
    (args) => {
      checkType(args.constitution, "string", "constitution");
      ccf.gov.validateConstitution(args.constitution);
    },
    (args, proposalId) => {
      setJson("constitution", ONLY, args.constitution);
      dropOpenProposals(proposalId);
    },
  ),
);

actions.set(
  "set_member",
  new Action(
    (args) => {
      checkCertificates(args.cert, "cert");
      checkPublicKeyPem(args.encryption_pub_key, "encryption_pub_key");
      checkType(args.member_data, "object?", "member_data");
      if (args.recovery_role !== undefined) {
        checkOneOf(args.recovery_role, ["NonParticipant", "Participant", "Owner"], "recovery_role");
        if (args.encryption_pub_key === undefined || args.encryption_pub_key === null) {
          throw new Error("Cannot specify a recovery_role value when encryption_pub_key is not specified");
        }
      }
    },
    (args) => {
      const id = key(ccf.pemToId(args.cert));
      gov("members.certs").set(id, ccf.strToBuf(args.cert));
      const keys = gov("members.encryption_public_keys");
      if (args.encryption_pub_key === undefined || args.encryption_pub_key === null) {
        keys.delete(id);
      } else {
        keys.set(id, ccf.strToBuf(args.encryption_pub_key));
      }
      setJson("members.info", id, {
        member_data: args.member_data,
        recovery_role: args.recovery_role,
        status: "Accepted",
      });
      // Before the first signature there is no root to agree to: the member asks for a digest first.
      const signature = readJson(INTERNAL + "signatures", ONLY);
      setJson("members.acks", id, { state_digest: signature === undefined ? "" : signature.root });
    },
  ),
);

// The service must stay recoverable by the members who remain (2.1).
function checkRecoverableWithout(memberId) {
  const { recovery_threshold: threshold } = serviceConfig();
  const remaining = activeKeyHolders().filter(([id]) => id !== memberId);
  const participants = remaining.filter(([, role]) => role === "Participant").length;
  const owners = remaining.filter(([, role]) => role === "Owner").length;
  const enough = participants > 0 ? participants >= threshold : owners > 0 && threshold <= 1;
  if (!enough) {
    throw new Error(
      `Failed to remove recovery member ${memberId}: number of active recovery members (${participants}) ` +
        `would be less than recovery threshold (${threshold})`,
    );
  }
}

actions.set(
  "remove_member",
  new Action(
    (args) => checkEntityId(args.member_id, "member_id"),
    (args) => {
      const id = key(args.member_id);
      const info = govJson("members.info", id);
      if (info === undefined) {
        return;
      }
      const holdsKey = info.status === "Active" && gov("members.encryption_public_keys").has(id);
      const counts = holdsKey && info.recovery_role !== "NonParticipant";
      if (counts) {
        checkRecoverableWithout(args.member_id);
      }
      for (const table of [
        "members.info",
        "members.encryption_public_keys",
        "members.certs",
        "members.acks",
        "history",
      ]) {
        gov(table).delete(id);
      }
      // What the member knew must not open what comes.
      if (holdsKey) {
        ccf.node.triggerLedgerRekey();
      }
    },
  ),
);

actions.set(
  "set_member_data",
  new Action(
    (args) => {
      checkEntityId(args.member_id, "member_id");
      checkType(args.member_data, "object", "member_data");
    },
    (args) => {
      const id = key(args.member_id);
      const info = govJson("members.info", id);
      if (info === undefined) {
        throw new Error(`Member ${args.member_id} does not exist`);
      }
      info.member_data = args.member_data;
      setJson("members.info", id, info);
    },
  ),
);

actions.set(
  "set_recovery_threshold",
  new Action(
    (args) => {
      checkType(args.recovery_threshold, "integer", "recovery_threshold");
      checkBounds(args.recovery_threshold, 1, 254, "recovery_threshold");
    },
    (args) => updateServiceConfig({ recovery_threshold: args.recovery_threshold }),
  ),
);

actions.set(
  "trigger_recovery_shares_refresh",
  new Action(checkNoArguments, () => ccf.node.triggerRecoverySharesRefresh()),
);

actions.set("trigger_ledger_rekey", new Action(checkNoArguments, () => ccf.node.triggerLedgerRekey()));

// ---- Users (9.3) -----------------------------------------------------------------------------------------

function storeUserData(id, data) {
  if (data === undefined || data === null) {
    gov("users.info").delete(id);
  } else {
    setJson("users.info", id, { user_data: data });
  }
}

actions.set(
  "set_user",
  new Action(
    (args) => {
      checkCertificates(args.cert, "cert");
      checkType(args.user_data, "object?", "user_data");
    },
    (args) => {
      const id = key(ccf.pemToId(args.cert));
      gov("users.certs").set(id, ccf.strToBuf(args.cert));
      storeUserData(id, args.user_data);
    },
  ),
);

actions.set(
  "remove_user",
  new Action(
    (args) => checkEntityId(args.user_id, "user_id"),
    (args) => {
      const id = key(args.user_id);
      gov("users.certs").delete(id);
      gov("users.info").delete(id);
    },
  ),
);

actions.set(
  "set_user_data",
  new Action(
    (args) => {
      checkEntityId(args.user_id, "user_id");
      checkType(args.user_data, "object?", "user_data");
    },
    (args) => storeUserData(key(args.user_id), args.user_data),
  ),
);

// ---- Service (9.3) ---------------------------------------------------------------------------------------

actions.set(
  "transition_service_to_open",
  new Action(
    (args) => {
      checkType(args.next_service_identity, "string", "next service identity (PEM certificate)");
      checkCertificates(args.next_service_identity, "next_service_identity");
      if (args.previous_service_identity !== undefined) {
        checkType(args.previous_service_identity, "string", "previous service identity (PEM certificate)");
        checkCertificates(args.previous_service_identity, "previous_service_identity");
      }
    },
    (args) => {
      const service = requiredJson("service.info", "Service information");
      const previous = args.previous_service_identity;
      if (service.status === "Recovering" && (previous === undefined || args.next_service_identity === undefined)) {
        throw new Error(
          "Opening a recovering service requires both the previous and the next service identity",
        );
      }
      ccf.node.transitionServiceToOpen(
        previous === undefined ? undefined : ccf.strToBuf(previous),
        ccf.strToBuf(args.next_service_identity),
      );
    },
  ),
);

actions.set(
  "set_service_certificate_validity",
  new Action(checkValidity, (args) => {
    const maximum = serviceConfig().maximum_service_certificate_validity_days;
    const days = validityDays(args.validity_period_days, maximum);
    const service = requiredJson("service.info", "Service information");
    service.cert = ccf.network.generateNetworkCertificate(args.valid_from, days);
    setJson("service.info", ONLY, service);
  }),
);

actions.set(
  "set_service_configuration",
  new Action(
    (args) => {
      const known = ["reconfiguration_type", "recovery_threshold", "recent_cose_proposals_window_size"];
      for (const name of Object.keys(args)) {
        if (!known.includes(name)) {
          throw new Error(`Cannot change ${name} via set_service_configuration`);
        }
      }
      checkType(args.reconfiguration_type, "string?", "reconfiguration_type");
      for (const [name, high] of [
        ["recovery_threshold", 254],
        ["recent_cose_proposals_window_size", 10000],
      ]) {
        if (args[name] !== undefined) {
          checkType(args[name], "integer?", name);
          checkBounds(args[name], 1, high, name);
        }
      }
    },
    updateServiceConfig,
  ),
);

actions.set(
  "assert_service_identity",
  new Action(
    (args) => {
      checkCertificates(args.service_identity, "service_identity");
      const service = requiredJson("service.info", "Service information");
      if (service.cert !== args.service_identity) {
        throw new Error("Service identity certificate mismatch");
      }
    },
    () => {},
  ),
);

// ---- Nodes (9.3) -----------------------------------------------------------------------------------------

function requiredNode(nodeId) {
  const node = govJson("nodes.info", key(nodeId));
  if (node === undefined) {
    throw new Error(`No such node ${nodeId}`);
  }
  return node;
}

function endorseNode(nodeId, node, args) {
  const maximum = serviceConfig().maximum_node_certificate_validity_days;
  const days = validityDays(args.validity_period_days, maximum);
  const cert = ccf.network.generateEndorsedCertificate(
    node.certificate_signing_request,
    args.valid_from,
    days,
  );
  gov("nodes.endorsed_certificates").set(key(nodeId), ccf.strToBuf(cert));
}

function checkNodeValidity(args) {
  checkEntityId(args.node_id, "node_id");
  checkValidity(args);
}

actions.set(
  "set_node_data",
  new Action(
    (args) => checkEntityId(args.node_id, "node_id"),
    (args) => {
      const node = requiredNode(args.node_id);
      node.node_data = args.node_data;
      setJson("nodes.info", key(args.node_id), node);
    },
  ),
);

actions.set(
  "transition_node_to_trusted",
  new Action(checkNodeValidity, (args) => {
    serviceConfig();
    const node = requiredNode(args.node_id);
    if (node.status !== "Pending") {
      return;
    }
    node.status = "Trusted";
    node.ledger_secret_seqno = ccf.network.getLatestLedgerSecretSeqno();
    setJson("nodes.info", key(args.node_id), node);
    if (ccf.node.shuffleSealedShares !== undefined) {
      ccf.node.shuffleSealedShares();
    }
    if (node.certificate_signing_request !== undefined) {
      endorseNode(args.node_id, node, args);
    }
  }),
);

actions.set(
  "remove_node",
  new Action(
    (args) => checkEntityId(args.node_id, "node_id"),
    (args) => {
      serviceConfig();
      const id = key(args.node_id);
      const node = govJson("nodes.info", id);
      if (node === undefined) {
        return;
      }
      if (node.status === "Pending") {
        gov("nodes.info").delete(id);
      } else {
        node.status = "Retired";
        setJson("nodes.info", id, node);
      }
    },
  ),
);

function renewNodeCertificate(nodeId, node, args) {
  if (node.status !== "Trusted") {
    throw new Error(`Node ${nodeId} is not trusted`);
  }
  if (node.certificate_signing_request === undefined) {
    throw new Error(`Node ${nodeId} has no certificate signing request`);
  }
  endorseNode(nodeId, node, args);
}

actions.set(
  "set_node_certificate_validity",
  new Action(checkNodeValidity, (args) => {
    renewNodeCertificate(args.node_id, requiredNode(args.node_id), args);
  }),
);

actions.set(
  "set_all_nodes_certificate_validity",
  new Action(checkValidity, (args) => {
    gov("nodes.info").forEach((value, id) => {
      const node = ccf.bufToJsonCompatible(value);
      if (node.status === "Trusted") {
        renewNodeCertificate(ccf.bufToStr(id), node, args);
      }
    });
  }),
);

actions.set("trigger_ledger_chunk", new Action(() => {}, () => ccf.node.triggerLedgerChunk()));
actions.set("trigger_snapshot", new Action(() => {}, () => ccf.node.triggerSnapshot()));

// ---- Join policy (9.4) -----------------------------------------------------------------------------------

actions.set(
  "set_node_join_policy",
  new Action(
    (args) => checkType(args.policy, "string", "policy"),
    (args) => gov("nodes.node_join_policy").set(ONLY, ccf.strToBuf(args.policy)),
  ),
);

actions.set(
  "remove_node_join_policy",
  new Action(() => {}, () => gov("nodes.node_join_policy").delete(ONLY)),
);

actions.set(
  "add_snp_measurement",
  new Action(
    (args) => checkHex(args.measurement, 96, "measurement"),
    (args, proposalId) => {
      setJson("nodes.snp.measurements", key(args.measurement), "AllowedToJoin");
      dropOpenProposals(proposalId);
    },
  ),
);

actions.set(
  "remove_snp_measurement",
  new Action(
    (args) => checkType(args.measurement, "string", "measurement"),
    (args) => gov("nodes.snp.measurements").delete(key(args.measurement)),
  ),
);

function hexOf(buffer) {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

actions.set(
  "add_snp_host_data",
  new Action(
    (args) => {
      checkHex(args.host_data, 64, "host_data");
      checkType(args.security_policy, "string", "security_policy");
      if (args.security_policy !== "") {
        const digest = hexOf(ccf.crypto.digest("SHA-256", ccf.strToBuf(args.security_policy)));
        if (digest !== args.host_data) {
          throw new Error(`SHA-256 digest of security policy ${digest} does not match host_data ${args.host_data}`);
        }
      }
    },
    (args, proposalId) => {
      setJson("nodes.snp.host_data", key(args.host_data), args.security_policy);
      dropOpenProposals(proposalId);
    },
  ),
);

actions.set(
  "remove_snp_host_data",
  new Action(
    (args) => checkType(args.host_data, "string", "host_data"),
    (args) => gov("nodes.snp.host_data").delete(key(args.host_data)),
  ),
);

actions.set(
  "add_snp_uvm_endorsement",
  new Action(
    (args) => {
      checkType(args.did, "string", "did");
      checkType(args.feed, "string", "feed");
      checkType(args.svn, "string", "svn");
    },
    (args, proposalId) => {
      const did = key(args.did);
      const feeds = govJson("nodes.snp.uvm_endorsements", did) ?? {};
      feeds[args.feed] = { svn: args.svn };
      setJson("nodes.snp.uvm_endorsements", did, feeds);
      dropOpenProposals(proposalId);
    },
  ),
);

actions.set(
  "remove_snp_uvm_endorsement",
  new Action(
    (args) => {
      checkType(args.did, "string", "did");
      checkType(args.feed, "string", "feed");
    },
    (args) => {
      const did = key(args.did);
      const feeds = govJson("nodes.snp.uvm_endorsements", did);
      if (feeds === undefined) {
        return;
      }
      delete feeds[args.feed];
      if (Object.keys(feeds).length === 0) {
        gov("nodes.snp.uvm_endorsements").delete(did);
      } else {
        setJson("nodes.snp.uvm_endorsements", did, feeds);
      }
    },
  ),
);

actions.set(
  "set_snp_minimum_tcb_version",
  new Action(
    (args) => {
      checkHex(args.cpuid, 8, "cpuid");
      checkType(args.tcb_version, "object", "tcb_version");
      for (const part of ["boot_loader", "tee", "snp", "microcode"]) {
        checkType(args.tcb_version?.[part], "number", `tcb_version.${part}`);
      }
    },
    (args, proposalId) => {
      setJson("nodes.snp.tcb_versions", key(args.cpuid), args.tcb_version);
      dropOpenProposals(proposalId);
    },
  ),
);

actions.set(
  "set_snp_minimum_tcb_version_hex",
  new Action(
    (args) => {
      checkHex(args.cpuid, 8, "cpuid");
      checkHex(args.tcb_version, 16, "tcb_version");
    },
    (args, proposalId) => {
      setJson("nodes.snp.tcb_versions", key(args.cpuid), ccf.tcbHexToPolicy(args.cpuid, args.tcb_version));
      dropOpenProposals(proposalId);
    },
  ),
);

actions.set(
  "remove_snp_minimum_tcb_version",
  new Action(
    (args) => checkHex(args.cpuid, 8, "cpuid"),
    (args) => {
      const cpuid = key(args.cpuid);
      if (!gov("nodes.snp.tcb_versions").has(cpuid)) {
        throw new Error(`CPUID ${args.cpuid} not found`);
      }
      gov("nodes.snp.tcb_versions").delete(cpuid);
    },
  ),
);

// ---- JavaScript application (9.6) ------------------------------------------------------------------------

function checkEndpoint(info, path, moduleNames) {
  const field = (name) => `${path}.${name}`;
  checkType(info, "object", path);
  if (info === null) {
    throw new Error(`${path} must not be null`);
  }
  checkType(info.js_module, "string", field("js_module"));
  if (!moduleNames.has(info.js_module)) {
    throw new Error(`module '${info.js_module}' not found in bundle`);
  }
  checkType(info.js_function, "string", field("js_function"));
  checkOneOf(info.mode, ["readwrite", "readonly", "historical"], field("mode"));
  checkOneOf(info.forwarding_required, ["sometimes", "always", "never"], field("forwarding_required"));
  if (info.redirection_strategy !== undefined) {
    checkOneOf(
      info.redirection_strategy,
      ["none", "to_primary", "to_backup"],
      field("redirection_strategy"),
    );
  }
  checkType(info.openapi, "object?", field("openapi"));
  checkType(info.openapi_hidden, "boolean?", field("openapi_hidden"));
  checkType(info.authn_policies, "array", field("authn_policies"));
  info.authn_policies.forEach((policy, i) => {
    const at = field(`authn_policies[${i}]`);
    if (typeof policy === "string") {
      return;
    }
    if (typeof policy !== "object" || policy === null) {
      throw new Error(`${at} must be a string or an object`);
    }
    checkType(policy.all_of, "array", `${at}.all_of`);
    policy.all_of.forEach((name, j) => checkType(name, "string", `${at}.all_of[${j}]`));
  });
}

// A path may have parameters in braces, each with a name of its own and something between it and the next.
function checkPath(uri, field) {
  const names = new Set();
  uri
    .split("{")
    .slice(1)
    .forEach((part, i, parts) => {
      const end = part.indexOf("}");
      const name = part.slice(0, end);
      if (end < 1 || names.has(name) || (end + 1 === part.length && i + 1 < parts.length)) {
        throw new Error(`${field} is not a valid path: each { needs a name of its own and a }`);
      }
      names.add(name);
    });
}

function checkBundle(bundle) {
  checkType(bundle, "object", "bundle");
  checkType(bundle.modules, "array", "bundle.modules");
  const moduleNames = new Set();
  bundle.modules.forEach((module, i) => {
    checkType(module, "object", `bundle.modules[${i}]`);
    checkType(module.name, "string", `bundle.modules[${i}].name`);
    checkType(module.module, "string", `bundle.modules[${i}].module`);
    moduleNames.add(module.name);
  });
  checkType(bundle.metadata, "object", "bundle.metadata");
  checkType(bundle.metadata.endpoints, "object", "bundle.metadata.endpoints");
  for (const [uri, methods] of Object.entries(bundle.metadata.endpoints)) {
    checkPath(uri, `bundle.metadata.endpoints["${uri}"]`);
    checkType(methods, "object", `bundle.metadata.endpoints["${uri}"]`);
    for (const [method, info] of Object.entries(methods)) {
      if (!/^[a-z]+(-[a-z]+)*$/i.test(method)) {
        throw new Error(`bundle.metadata.endpoints["${uri}"]["${method}"] is not an HTTP method`);
      }
      checkEndpoint(info, `bundle.metadata.endpoints["${uri}"]["${method}"]`, moduleNames);
    }
  }
}

actions.set(
  "set_js_app",
  new Action(
    (args) => {
      checkBundle(args.bundle);
      checkType(args.disable_bytecode_cache, "boolean?", "disable_bytecode_cache");
    },
    (args) => {
      const modules = gov("modules");
      const endpoints = gov("endpoints");
      modules.clear();
      endpoints.clear();
      for (const { name, module } of args.bundle.modules) {
        modules.set(key(`/${name}`), ccf.strToBuf(module));
      }
      if (args.disable_bytecode_cache) {
        gov("modules_quickjs_bytecode").clear();
        gov("modules_quickjs_version").clear();
      } else {
        ccf.refreshAppBytecodeCache();
      }
      setJson("interpreter.flush", ONLY, true);
      for (const [uri, methods] of Object.entries(args.bundle.metadata.endpoints)) {
        for (const [method, info] of Object.entries(methods)) {
          setJson("endpoints", key(`${method.toUpperCase()} ${uri}`), {
            ...info,
            js_module: `/${info.js_module}`,
          });
        }
      }
    },
  ),
);

actions.set(
  "remove_js_app",
  new Action(
    () => {},
    () => {
      for (const table of [
        "modules",
        "modules_quickjs_bytecode",
        "modules_quickjs_version",
        "interpreter.flush",
        "endpoints",
      ]) {
        gov(table).clear();
      }
    },
  ),
);

actions.set("refresh_js_app_bytecode_cache", new Action(() => {}, () => ccf.refreshAppBytecodeCache()));

actions.set(
  "set_js_runtime_options",
  new Action(
    (args) => {
      checkType(args.max_heap_bytes, "integer", "max_heap_bytes");
      checkType(args.max_stack_bytes, "integer", "max_stack_bytes");
      checkType(args.max_execution_time_ms, "integer", "max_execution_time_ms");
      checkType(args.log_exception_details, "boolean?", "log_exception_details");
      checkType(args.return_exception_details, "boolean?", "return_exception_details");
      checkType(args.max_cached_interpreters, "integer?", "max_cached_interpreters");
    },
    (args) => setJson("js_runtime_options", ONLY, args),
  ),
);

// ---- CA bundles and JWT issuers (9.4) --------------------------------------------------------------------

actions.set(
  "set_ca_cert_bundle",
  new Action(
    (args) => {
      checkType(args.name, "string", "name");
      checkCertificates(args.cert_bundle, "cert_bundle");
    },
    (args) => setJson("tls.ca_cert_bundles", key(args.name), args.cert_bundle),
  ),
);

actions.set(
  "remove_ca_cert_bundle",
  new Action(
    (args) => checkType(args.name, "string", "name"),
    (args) => gov("tls.ca_cert_bundles").delete(key(args.name)),
  ),
);

function checkX5c(chain, field) {
  checkType(chain, "array", field);
  if (chain.length === 0) {
    throw new Error(`${field} must not be empty`);
  }
  chain.forEach((der, i) => {
    checkType(der, "string", `${field}[${i}]`);
    checkCertificates(`-----BEGIN CERTIFICATE-----\n${der}\n-----END CERTIFICATE-----\n`, `${field}[${i}]`);
  });
}

// Key material may come as certificates, as an RSA key or as an elliptic curve key, looked for in this order.
function checkJwks(value, field) {
  checkType(value, "object", field);
  checkType(value?.keys, "array", `${field}.keys`);
  value.keys.forEach((jwk, i) => {
    const at = `${field}.keys[${i}]`;
    checkType(jwk, "object", at);
    checkType(jwk?.kid, "string", `${at}.kid`);
    checkType(jwk.kty, "string", `${at}.kty`);
    if (jwk.x5c) {
      checkX5c(jwk.x5c, `${at}.x5c`);
    } else if (jwk.n && jwk.e) {
      checkType(jwk.n, "string", `${at}.n`);
      checkType(jwk.e, "string", `${at}.e`);
    } else if (jwk.x && jwk.y && jwk.crv) {
      checkType(jwk.x, "string", `${at}.x`);
      checkType(jwk.y, "string", `${at}.y`);
      checkType(jwk.crv, "string", `${at}.crv`);
    } else {
      throw new Error(`${at} must contain x5c, or n and e, or x, y and crv`);
    }
  });
}

actions.set(
  "set_jwt_issuer",
  new Action(
    (args) => {
      checkType(args.issuer, "string", "issuer");
      checkType(args.auto_refresh, "boolean?", "auto_refresh");
      checkType(args.ca_cert_bundle_name, "string?", "ca_cert_bundle_name");
      if (args.jwks !== undefined && args.jwks !== null) {
        checkJwks(args.jwks, "jwks");
      }
      if (args.auto_refresh) {
        if (!args.ca_cert_bundle_name) {
          throw new Error("ca_cert_bundle_name is missing but required if auto_refresh is true");
        }
        if (!/^https:\/\/[^/?#\s]+[^?#\s]*$/.test(args.issuer)) {
          throw new Error("issuer must be an https URL without query and fragment if auto_refresh is true");
        }
      }
    },
    (args) => {
      const { jwks, ...metadata } = args;
      if (args.auto_refresh && !gov("tls.ca_cert_bundles").has(key(args.ca_cert_bundle_name))) {
        throw new Error(`No CA cert bundle found with name '${args.ca_cert_bundle_name}'`);
      }
      if (jwks !== undefined && jwks !== null) {
        ccf.setJwtPublicSigningKeys(args.issuer, metadata, jwks);
      }
      setJson("jwt.issuers", key(args.issuer), metadata);
    },
  ),
);

actions.set(
  "set_jwt_public_signing_keys",
  new Action(
    (args) => {
      checkType(args.issuer, "string", "issuer");
      checkJwks(args.jwks, "jwks");
    },
    (args) => {
      const metadata = govJson("jwt.issuers", key(args.issuer));
      if (metadata === undefined) {
        throw new Error(`issuer ${args.issuer} not found`);
      }
      ccf.setJwtPublicSigningKeys(args.issuer, metadata, args.jwks);
    },
  ),
);

actions.set(
  "remove_jwt_issuer",
  new Action(
    (args) => checkType(args.issuer, "string", "issuer"),
    (args) => {
      const issuer = key(args.issuer);
      if (gov("jwt.issuers").has(issuer)) {
        gov("jwt.issuers").delete(issuer);
        ccf.removeJwtPublicSigningKeys(args.issuer);
      }
    },
  ),
);

actions.set(
  "cleanup_legacy_jwt_records",
  new Action(
    (args) => checkType(args?.ensure_new_records_exist, "boolean?", "ensure_new_records_exist"),
    (args) => {
      if (args?.ensure_new_records_exist && gov("jwt.public_signing_keys_metadata_v2").size === 0) {
        throw new Error("No new JWT signing keys exist yet");
      }
      for (const table of ["public_signing_keys", "public_signing_keys_metadata", "public_signing_key_issuer"]) {
        gov(`jwt.${table}`).clear();
      }
    },
  ),
);
