import { readFileSync } from 'node:fs';
import type { Credentials } from '@cardea/client';
import { Failure, usage } from './failure.ts';
import { currentUrl, fileSession } from './session-file.ts';

/** The options that every command has. */
export interface GlobalOptions {
  url?: string;
  json?: boolean;
  verbose?: boolean;
  allowHttp?: boolean;
}

const DEFAULT_URL = 'http://127.0.0.1:8400';

/** The server that the commands speak to: by option, by environment, or that of the last sign-in. */
export function serverUrl({ url, allowHttp }: GlobalOptions): string {
  const chosen = url ?? setting('CARDEA_URL') ?? currentUrl() ?? DEFAULT_URL;
  const parsed = URL.canParse(chosen) ? new URL(chosen) : undefined;
  if (!parsed || !['http:', 'https:'].includes(parsed.protocol) || parsed.username !== '' || parsed.search !== '') {
    throw usage(`"${chosen}" is not the address of a server, such as https://cardea.example.com`);
  }
  const isHere = ['127.0.0.1', 'localhost', '[::1]'].includes(parsed.hostname);
  if (parsed.protocol === 'http:' && !isHere && allowHttp !== true) {
    throw usage(
      `${parsed.origin} would get secrets in clear over the network. Use https, or --allow-http in a network you trust`,
    );
  }
  return parsed.href.replace(/\/+$/, '');
}

/** How the commands sign in: a token, an application, or the session of the last `cardea login` at this server. */
export function credentialsFor(url: string): Credentials {
  const token = setting('CARDEA_TOKEN');
  if (token !== undefined) return { token };
  const clientId = setting('CARDEA_CLIENT_ID');
  if (clientId === undefined) return { session: fileSession(url) };
  const clientSecret = setting('CARDEA_CLIENT_SECRET') ?? secretInFile(setting('CARDEA_CLIENT_SECRET_FILE'));
  if (clientSecret === undefined) {
    throw usage('CARDEA_CLIENT_ID needs CARDEA_CLIENT_SECRET_FILE or CARDEA_CLIENT_SECRET');
  }
  return { clientId, clientSecret };
}

/** The environment of a program that gets secrets, without what `cardea` itself signs in with. */
export function environmentWithoutCredentials(): NodeJS.ProcessEnv {
  const { CARDEA_TOKEN: _token, CARDEA_CLIENT_SECRET: _secret, ...rest } = process.env;
  return rest;
}

function secretInFile(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new Failure(`the file of CARDEA_CLIENT_SECRET_FILE cannot be read: ${path}`, undefined, { cause: error });
  }
}

function setting(name: string): string | undefined {
  const value = process.env[name];
  return value === '' ? undefined : value;
}
