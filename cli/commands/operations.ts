import type { Command } from 'commander';
import { act, describe } from '../command.ts';
import { usage } from '../failure.ts';
import { readLines, askSecret, isInteractive } from '../input.ts';

/** Rotation, seals and the state of the system, for admins. */
export function addOperations(program: Command): void {
  const rotation = program.command('rotation').description('Rotations of DEKs and of the KEK.');

  act(
    describe(
      rotation
        .command('start')
        .argument('<kind>', 'dek or kek')
        .option('--vault <vault>', 'only the DEK of this vault'),
      'Start a rotation, and print its id. Everything stays readable meanwhile.',
      ['cardea rotation start dek --vault payments', 'cardea rotation start kek'],
    ),
    async ({ cardea, output }, kind: string, { vault }: { vault?: string }) => {
      if (kind !== 'dek' && kind !== 'kek') throw usage('the kind is dek or kek');
      const started = await cardea.rotations.start({ kind, ...(vault === undefined ? {} : { vault }) });
      output.done(started.id, started);
    },
  );

  act(
    describe(rotation.command('list'), 'List the rotations, the newest first.', ['cardea rotation list']),
    async ({ cardea, output }) => {
      await output.table(cardea.rotations.list({ limit: 500 }), {
        id: ({ id }) => id,
        kind: ({ kind }) => kind,
        state: ({ state }) => state,
        done: ({ done, total }) => `${done}/${total}`,
        failed: ({ failed }) => failed,
        started: ({ startedAt }) => startedAt,
        finished: ({ finishedAt, estimatedEnd }) => finishedAt ?? estimatedEnd,
      });
    },
  );

  act(
    describe(rotation.command('show').argument('<id>'), 'Show how far a rotation is.', [`cardea rotation show ${ID}`]),
    async ({ cardea, output }, id: string) => output.object(await cardea.rotations.get(id)),
  );

  for (const [verb, sentence] of [
    ['pause', 'Pause a rotation that runs.'],
    ['resume', 'Let a paused rotation go on.'],
    ['cancel', 'End a rotation. The next one does what is left.'],
  ] as const) {
    act(
      describe(rotation.command(verb).argument('<id>'), sentence, [`cardea rotation ${verb} ${ID}`]),
      async ({ cardea, output }, id: string) => {
        const { state, ...rest } = await cardea.rotations[verb](id);
        output.done(`The rotation is ${state}.`, { state, ...rest });
      },
    );
  }

  const seal = program.command('seal').description('Seals: what opens the keyring of kek-service.');
  act(
    describe(seal.command('list'), 'List the seals, the oldest first.', ['cardea seal list']),
    async ({ cardea, output }) => {
      await output.table(await cardea.seals.list(), {
        id: ({ id }) => id,
        type: ({ type }) => type,
        shares: ({ shares, threshold }) => (shares === undefined ? undefined : `${threshold} of ${shares}`),
        token: ({ tokenLabel }) => tokenLabel,
        created: ({ createdAt }) => createdAt,
      });
    },
  );
  act(
    describe(
      seal.command('add-passphrase'),
      'Add a seal by a passphrase of 12 characters or more, from a prompt or the first line of stdin.',
      ['cardea seal add-passphrase <passphrase.txt'],
    ),
    async ({ cardea, output }) => {
      const [passphrase = ''] = isInteractive() ? [await askSecret('New passphrase')] : await readLines();
      const added = await cardea.seals.add({ type: 'passphrase', passphrase });
      output.done(`The seal is ${added.id}. Prove it before you rely on it: docs/unseal.md`, added);
    },
  );
  act(
    describe(
      seal.command('add-shares').argument('<shares>', 'how many there are').argument('<threshold>', 'how many open it'),
      'Add a seal by shares, and print them. They are shown once.',
      ['cardea seal add-shares 5 3'],
    ),
    async ({ cardea, output }, shares: string, threshold: string) => {
      const added = await cardea.seals.add({ type: 'shamir', shares: Number(shares), threshold: Number(threshold) });
      output.done((added.shareTexts ?? []).join('\n'), added);
    },
  );

  act(
    describe(program.command('status'), 'Show whether keys, due work and the audit log are on time.', [
      'cardea status',
    ]),
    async ({ cardea, output }) => {
      const status = await cardea.system.status();
      const { seal: state, late, keks = [], deks, rotations, audit } = status;
      output.object(status, {
        seal: state,
        late: late.length === 0 ? 'nothing' : late.join(', '),
        kek: keks.at(-1)?.version,
        deks: `${deks.active} active, ${deks.retiring} retiring`,
        'open rotations': rotations.open,
        'audit log': `${audit.entries} entries, ${audit.signed} signed, ${audit.waiting} waiting`,
      });
    },
  );
}

/** Stands for an id in the examples. */
const ID = '01a229df-2139-779b-a82a-89232543b600';
