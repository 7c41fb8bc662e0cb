// Join policy of the virtual platform, which protects nothing and is for tests (section 10). List this file
// after the default actions.

actions.set(
  "add_virtual_measurement",
  new Action(
    (args) => checkType(args.measurement, "string", "measurement"),
    (args, proposalId) => {
      setJson("nodes.virtual.measurements", key(args.measurement), "AllowedToJoin");
      dropOpenProposals(proposalId);
    },
  ),
);

actions.set(
  "remove_virtual_measurement",
  new Action(
    (args) => checkType(args.measurement, "string", "measurement"),
    (args) => gov("nodes.virtual.measurements").delete(key(args.measurement)),
  ),
);

actions.set(
  "add_virtual_host_data",
  new Action(
    (args) => checkType(args.host_data, "string", "host_data"),
    (args, proposalId) => {
      gov("nodes.virtual.host_data").set(key(args.host_data), ONLY);
      dropOpenProposals(proposalId);
    },
  ),
);

actions.set(
  "remove_virtual_host_data",
  new Action(
    (args) => checkType(args.host_data, "string", "host_data"),
    (args) => gov("nodes.virtual.host_data").delete(key(args.host_data)),
  ),
);
