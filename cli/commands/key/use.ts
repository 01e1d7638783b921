import type { Command } from 'commander';
import { fromBase64, toBase64 } from '@cardea/client';
import { act, describe } from '../../command.ts';
import { EXIT, Failure } from '../../failure.ts';
import { readInput } from '../../input.ts';
import { printValue } from '../../print-value.ts';

/** What a key does with the bytes of a file or a pipe. */
export function addKeyUse(key: Command): void {
  act(
    describe(
      withAssociated(key.command('encrypt').argument('<address>').argument('[file]', FILE, '-')),
      'Encrypt up to 64 KiB, and print the ciphertext.',
      [
        'printf %s 4111 | cardea key encrypt payments/cards >card.txt',
        'cardea key encrypt payments/cards app.env --associated order-7',
      ],
    ),
    async ({ cardea, output }, address: string, file: string, options: Associated) => {
      const made = await cardea.keys.encrypt(address, {
        plaintextBase64: toBase64(await readInput(file)),
        ...associatedOf(options),
      });
      output.done(made.ciphertext, made);
    },
  );

  act(
    describe(
      withAssociated(key.command('decrypt').argument('<address>').argument('[file]', FILE, '-')),
      'Decrypt a ciphertext, and print what was encrypted, byte for byte.',
      ['cardea key decrypt payments/cards card.txt'],
    ),
    async ({ cardea, output, json }, address: string, file: string, options: Associated) => {
      const request = { ciphertext: await readLine(file), ...associatedOf(options) };
      const opened = await cardea.keys.decrypt(address, request);
      if (json) output.object(opened);
      else printValue(fromBase64(opened.plaintextBase64), 'the plaintext', 'Use a pipe or --json');
    },
  );

  act(
    describe(
      key.command('sign').argument('<address>').argument('[file]', FILE, '-'),
      'Sign up to 64 KiB, and print the signature.',
      ['cardea key sign payments/signer app.env >app.sig'],
    ),
    async ({ cardea, output }, address: string, file: string) => {
      const made = await cardea.keys.sign(address, { messageBase64: toBase64(await readInput(file)) });
      output.done(made.signature, made);
    },
  );

  act(
    describe(
      key
        .command('verify')
        .argument('<address>')
        .argument('<signature>', 'the file of the signature')
        .argument('[file]', FILE, '-'),
      'Tell whether a signature is that of a file under a key. If not, the exit code is 1.',
      ['cardea key verify payments/signer app.sig app.env'],
    ),
    async ({ cardea, output }, address: string, signatureFile: string, file: string) => {
      const signature = await readLine(signatureFile);
      const messageBase64 = toBase64(await readInput(file));
      const { valid } = await cardea.keys.verify(address, { messageBase64, signature });
      if (!valid) throw new Failure('the signature is not valid', EXIT.failure);
      output.done('The signature is valid.', { valid });
    },
  );
}

const FILE = 'stdin if it is not given';

interface Associated {
  associated?: string;
}

function withAssociated(command: Command): Command {
  return command.option('--associated <text>', 'associated data, which is not secret: decryption needs the same');
}

function associatedOf({ associated }: Associated): { associatedDataBase64?: string } {
  return associated === undefined ? {} : { associatedDataBase64: toBase64(new TextEncoder().encode(associated)) };
}

/** What a command has printed before: text and a newline. */
async function readLine(file: string): Promise<string> {
  return Buffer.from(await readInput(file))
    .toString('utf8')
    .trim();
}
