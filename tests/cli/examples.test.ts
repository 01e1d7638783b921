import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { examplesOf } from '@cardea/cli/command';
import { buildProgram } from '@cardea/cli/program';
import { PASSWORD } from '@cardea/testkit/system';
import { useSystem } from '@cardea/testkit/use-system';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { EXAMPLE_ID, fillForExamples, idFor } from './examples-ground.ts';
import { useTerminal } from './terminal.ts';

type Command = ReturnType<typeof buildProgram>;

/** The commands that do something, in the order of the help. */
function commandsBelow(command: Command): Command[] {
  if (command.commands.length === 0) return [command];
  return command.commands.flatMap((below) => commandsBelow(below));
}

function nameOf(command: Command): string {
  return command.parent ? `${nameOf(command.parent)} ${command.name()}` : command.name();
}

const commands = commandsBelow(buildProgram());
/** These sign in themselves, with a session. The others have a token. */
const OWN_SESSION = ['cardea login', 'cardea whoami', 'cardea password', 'cardea logout'];

test('every command has examples of its own, and its help shows them', () => {
  for (const command of commands) {
    const name = nameOf(command);
    expect([name, examplesOf(command).length]).not.toEqual([name, 0]);
    for (const example of examplesOf(command)) expect(example).toContain(name.replace('cardea ', ''));
  }
});

const [system, { admin }] = useSystem('mini');
const terminal = useTerminal();

beforeAll(async () => {
  terminal.env['CARDEA_URL'] = system.url;
  const password = readFileSync(join(system.dataDir, 'initial-admin-password'), 'utf8');
  mkdirSync(join(terminal.folder, 'data'));
  const files = {
    'data/initial-admin-password': password,
    'password.txt': `${PASSWORD}\n`,
    'passwords.txt': `${PASSWORD}\na better horse, a better battery\n`,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(terminal.folder, name), text);
  await fillForExamples(admin, terminal.folder);
});

describe.each(commands.map((command) => [nameOf(command), examplesOf(command)] as const))('%s', (name, examples) => {
  test.each(examples)('%s', async (example) => {
    const env = OWN_SESSION.includes(name) ? {} : { CARDEA_TOKEN: (await system.as('admin')).token };
    const id = (await idFor(system, name)) ?? EXAMPLE_ID;
    const line = example.replaceAll('http://127.0.0.1:8400', system.url).replaceAll(EXAMPLE_ID, id);
    const { code, stderr } = await terminal.shell(line, { env });
    expect({ code, stderr: stderr.replaceAll(/^cardea: the value ends.*\n/gm, '') }).toEqual({ code: 0, stderr: '' });
  });
});
