import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { systemContext } from '@cardea/crypto/context';
import { toBase64 } from '@cardea/crypto/encoding';
import { IntegrityError } from '@cardea/crypto/envelope';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import { randomKey } from '@cardea/crypto/ids';
import type { SealOf } from '../keyring/format.ts';
import { ONLY_VERSION, toKey } from '../keyring/keyring.ts';
import type { NewSeal } from './new-seal.ts';
import { namedBy, readPrivateFile } from '@cardea/process/private-file';
import type { TokenAnswer, TokenRequest } from './token-process.ts';

/** Where the PKCS#11 module and the PIN of its token are. */
export interface TokenConfig {
  module: string;
  pinFile: string;
}

/** A token that cannot be used: the message is a sentence that says why. */
export class TokenProblem extends Error {
  override name = 'TokenProblem';
}

const TIMEOUT_MS = 15_000;

/**
 * Makes a random seal key and has the token encrypt it (AES-256-GCM) under a key that never leaves the token; the token
 * makes that key if it has none of this label. The token has decrypted it once before this resolves.
 * @throws TokenProblem, StartError
 */
export async function makeTokenSeal(
  token: TokenConfig,
  sealId: string,
  labels: { tokenLabel: string; keyLabel: string },
): Promise<NewSeal> {
  const bytes = randomKey();
  try {
    const encryptedSealKeyBase64 = await useToken(token, sealId, {
      ...labels,
      operation: 'encrypt',
      dataBase64: toBase64(bytes),
    });
    const fields = { type: 'pkcs11', ...labels, encryptedSealKeyBase64 } as const;
    return { sealKey: await openTokenSeal(token, { ...fields, id: sealId }), fields };
  } finally {
    bytes.fill(0);
  }
}

/**
 * The seal key, decrypted by the token.
 * @throws TokenProblem if the token cannot be used; IntegrityError if it does not open; StartError for its PIN file
 */
export async function openTokenSeal(
  token: TokenConfig,
  {
    id,
    tokenLabel,
    keyLabel,
    encryptedSealKeyBase64: dataBase64,
  }: Pick<SealOf<'pkcs11'>, 'id' | 'tokenLabel' | 'keyLabel' | 'encryptedSealKeyBase64'>,
): Promise<EnvelopeKey> {
  const key = await useToken(token, id, { tokenLabel, keyLabel, operation: 'decrypt', dataBase64 });
  return toKey(ONLY_VERSION, new Uint8Array(Buffer.from(key, 'base64')));
}

async function useToken(
  { module, pinFile }: TokenConfig,
  sealId: string,
  request: Pick<TokenRequest, 'tokenLabel' | 'keyLabel' | 'operation' | 'dataBase64'>,
): Promise<string> {
  const pin = await readPrivateFile(namedBy('CARDEA_PKCS11_PIN_FILE', pinFile));
  const contextBase64 = toBase64(systemContext('seal-key', sealId));
  const answer = await ask({ ...request, module, pin, contextBase64 });
  if ('resultBase64' in answer) return answer.resultBase64;
  if ('problem' in answer) throw new TokenProblem(answer.problem);
  throw new IntegrityError('the token does not decrypt the seal key');
}

function ask(request: TokenRequest): Promise<TokenAnswer> {
  const child = fork(fileURLToPath(new URL('token-process.ts', import.meta.url)), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    // Modules find their tokens by variables of their own, such as SOFTHSM2_CONF.
    env: process.env,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new TokenProblem(`the token did not answer within ${TIMEOUT_MS / 1_000} s`));
    }, TIMEOUT_MS);
    child.once('message', (answer: TokenAnswer) => resolve(answer));
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new TokenProblem(`the process that uses the token ended with ${signal ?? code}`));
    });
    child.send(request);
  });
}
