// If the automatic install fails, pnpm only warns and runs the script with the machine's own Node. So this module and
// start.mjs use only syntax that Node 12 can parse. No build step compiles them for older versions.
const [major, minor] = process.versions.node.split('.').map(Number);

if (major < 24 || (major === 24 && minor < 12)) {
  process.stderr.write(
    'Cardea needs Node 24.12 or later, and this is Node ' +
      process.versions.node +
      '. Its install brings Node 26, but seems to have failed: run `npx -y pnpm@12 install` and read its error.\n',
  );
  process.exit(1);
}
