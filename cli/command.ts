import { createClient } from '@cardea/client';
import type { Client } from '@cardea/client';
import type { Command } from 'commander';
import { createOutput } from './output.ts';
import type { Output } from './output.ts';
import { credentialsFor, serverUrl } from './settings.ts';
import type { GlobalOptions } from './settings.ts';

// The answer to a repeated refresh is for the client of the sign-in, so the name has no version in it.
const HEADERS = { 'User-Agent': 'cardea-cli' };

/** What every command works with. The client signs in with its first call. */
export interface Context {
  url: string;
  cardea: Client;
  output: Output;
  json: boolean;
}

const examplesOfCommand = new WeakMap<Command, string[]>();

/** The examples in the help of a command. */
export function examplesOf(command: Command): string[] {
  return examplesOfCommand.get(command) ?? [];
}

/** Says what a command does, and shows it. A test runs every example. */
export function describe(command: Command, sentence: string, examples: string[]): Command {
  examplesOfCommand.set(command, examples);
  const lines = examples.map((example) => `  ${example}`);
  return command.description(sentence).addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
}

/** Runs the work of a command with its arguments and options. */
export function act<Words extends unknown[]>(
  command: Command,
  work: (context: Context, ...words: Words) => Promise<void>,
): Command {
  return command.action(async (...given: unknown[]) => {
    // Commander appends the command itself.
    await work(contextOf(command), ...(given.slice(0, -1) as Words));
  });
}

function contextOf(command: Command): Context {
  const options = command.optsWithGlobals<GlobalOptions>();
  const url = serverUrl(options);
  const json = options.json === true;
  const cardea = createClient({ url, credentials: credentialsFor(url), headers: HEADERS, repeats: { repeatsMax: 3 } });
  return { url, cardea, output: createOutput({ json }), json };
}

/** An option that may be given several times. */
export function several(value: string, before: string[] = []): string[] {
  return [...before, value];
}
