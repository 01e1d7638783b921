import type { Command } from 'commander';
import { act, describe, several } from '../command.ts';
import type { Context } from '../command.ts';
import { usage } from '../failure.ts';
import { environmentWithoutCredentials } from '../settings.ts';
import { toVariable } from './run/names.ts';
import { readAddressed, readBelow } from './run/read-values.ts';
import type { Named } from './run/read-values.ts';
import { runChild } from './run/child.ts';

interface RunOptions {
  vault?: string;
  prefix?: string;
  map?: string[];
  inherit: boolean;
  binary: 'refuse' | 'base64' | 'skip';
}

/** Runs a program with secrets in its environment. */
export function addRun(program: Command): void {
  act(
    describe(
      program
        .command('run')
        .argument('[command...]', 'the program and its arguments, after --')
        .option('--vault <vault>', 'the secrets of a vault')
        .option('--prefix <prefix>', 'only those under a prefix, which is left out of the names')
        .option('--map <NAME=address>', 'one secret under a name that you choose', several)
        .option('--binary <how>', 'a value that no variable can hold: refuse, base64 or skip', 'refuse')
        .option('--no-inherit', 'give the program nothing of the environment but PATH, HOME and TERM'),
      'Run a program with secrets in its environment: db/password becomes DB_PASSWORD. Nothing is written to disk. The ' +
        'program gets the signals, and its exit code is that of cardea.',
      [
        'cardea run --vault payments --prefix prod -- sh -c \'test "$DB_PASSWORD" = hunter2\'',
        'cardea run --map PGPASSWORD=payments/db/password -- printenv PGPASSWORD',
      ],
    ),
    run,
  );
}

async function run(context: Context, words: string[], options: RunOptions): Promise<void> {
  const { vault, prefix, map = [], inherit, binary } = options;
  const [program, ...args] = words;
  if (program === undefined) throw usage('give the program after --, as in: cardea run --vault payments -- ./server');
  if (vault === undefined && map.length === 0) throw usage('say which secrets: --vault, --map or both');
  if (vault === undefined && prefix !== undefined) throw usage('--prefix needs --vault');
  if (!['refuse', 'base64', 'skip'].includes(binary)) throw usage('--binary is refuse, base64 or skip');
  const values = [
    ...(vault === undefined ? [] : await readBelow(context.cardea, vault, prefix)),
    ...(await readAddressed(context.cardea, map)),
  ];
  const environment = { ...(inherit ? environmentWithoutCredentials() : bare()), ...toVariables(values, binary) };
  await runChild(program, args, environment);
}

function bare(): NodeJS.ProcessEnv {
  const { PATH, HOME, TERM } = process.env;
  return { PATH, HOME, TERM };
}

/** The variables of the values. Two of the same name, and what no variable can hold, are refused. */
function toVariables(values: Named[], binary: RunOptions['binary']): Record<string, string> {
  const sources = new Map<string, string>();
  const variables: Record<string, string> = {};
  for (const { variable, path, secret, isMapped } of values) {
    const name = isMapped ? variable : toVariable(path, variable);
    const taken = sources.get(name);
    if (taken !== undefined)
      throw usage(`${taken} and ${path} would both be ${name}. Give one another name with --map`);
    const text = secret.encoding === 'utf8' && !secret.value.includes('\0') ? secret.value : undefined;
    if (text === undefined && binary === 'skip') continue;
    if (text === undefined && binary === 'refuse') {
      throw usage(`${path} holds bytes that no variable can hold. Choose --binary base64 or --binary skip`);
    }
    sources.set(name, path);
    variables[name] =
      text ?? (secret.encoding === 'base64' ? secret.value : Buffer.from(secret.value).toString('base64'));
  }
  return variables;
}
