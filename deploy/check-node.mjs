// When the automatic install fails, pnpm only warns and runs the script with whatever Node the machine has. So this
// module, and start.mjs, are written in what Node 12 can parse; they have no build step to lower them.
const [major, minor] = process.versions.node.split('.').map(Number);

if (major < 24 || (major === 24 && minor < 12)) {
  process.stderr.write(
    'Cardea needs Node 24.12 or later and brings Node 26 itself; its install seems to have failed: ' +
      'run `npx -y pnpm@12 install` and look at its error (this is Node ' +
      process.versions.node +
      ').\n',
  );
  process.exit(1);
}
