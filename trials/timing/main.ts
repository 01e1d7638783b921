// Checks at the front door that the time of a refusal does not tell what its answer does not:
//   pnpm test:timing [sign-ins | decryptions] [samples]
// Exits with 1 if two kinds can be told apart. Run it on a machine that does nothing else.
import { timeDecryptions } from './decryptions.ts';
import { SIGN_IN_SAMPLES_MAX, timeSignIns } from './sign-ins.ts';

const parts: Record<string, (samples: number) => Promise<boolean>> = {
  'sign-ins': timeSignIns,
  decryptions: timeDecryptions,
};

const [first = '', second] = process.argv.slice(2);
const named = parts[first];
const samples = Number((named ? second : first) || '400');
if (!Number.isInteger(samples) || samples < 20 || samples > SIGN_IN_SAMPLES_MAX) {
  process.stderr.write(`usage: pnpm test:timing [sign-ins | decryptions] [samples, 20 to ${SIGN_IN_SAMPLES_MAX}]\n`);
  process.exit(78);
}
for (const part of named ? [named] : Object.values(parts)) if (!(await part(samples))) process.exitCode = 1;
