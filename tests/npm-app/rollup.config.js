import resolve from "@rollup/plugin-node-resolve";

// One output file per module, as CCF's own samples are built: the service then links the npm package's modules itself.
export default {
  input: "src/converters.js",
  output: { dir: "dist/src", format: "es", preserveModules: true, preserveModulesRoot: "src" },
  plugins: [resolve()],
};
