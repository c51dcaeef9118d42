// Prints the Khronos validator's report on a glTF or GLB file as JSON: node validate_gltf.js asset.glb
const fs = require("fs");
const path = require("path");
const validator = require("gltf-validator");

const file = process.argv[2];
validator
  .validateBytes(new Uint8Array(fs.readFileSync(file)), { uri: path.basename(file) })
  .then((report) => console.log(JSON.stringify(report, null, 1)))
  .catch((error) => {
    console.error(String(error));
    process.exitCode = 1;
  });
