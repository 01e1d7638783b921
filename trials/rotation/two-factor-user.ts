import { setTimeout as sleep } from 'node:timers/promises';
import { hotpCode } from '@cardea/crypto/totp';
import { SECOND_MS } from '@cardea/contracts/durations';
import { bodyOf } from './client.ts';
import type { Client } from './client.ts';

const STEP_MS = 30 * SECOND_MS;
const CREDENTIALS = { username: 'twofold', password: 'correct horse battery staple' };
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/**
 * Makes a user with TOTP, whose secret is sealed under the system's own DEK. Returns a function that signs the user in
 * with a new code, which shows that the secret still opens.
 */
export async function createTwoFactorUser(client: Client): Promise<() => Promise<void>> {
  await client.insist('user.create', { method: 'POST', path: '/users', body: { ...CREDENTIALS, role: 'developer' } });
  const signedIn = await client.insist('auth.login', { method: 'POST', path: '/auth/login', body: CREDENTIALS });
  const { access_token: token } = bodyOf<{ access_token: string }>(signedIn);
  const body = { currentPassword: CREDENTIALS.password };
  const setUp = await client.insist('auth.totpSetUp', { method: 'POST', path: '/auth/totp', token, body });
  const secret = fromBase32(new URL(bodyOf<{ uri: string }>(setUp).uri).searchParams.get('secret')!);
  let step = 0;
  const nextCode = async () => {
    // A code is accepted only once.
    while (Math.floor(Date.now() / STEP_MS) <= step) await sleep(SECOND_MS);
    step = Math.floor(Date.now() / STEP_MS);
    return hotpCode(secret, step);
  };
  const confirm = { method: 'POST', path: '/auth/totp:confirm', token, body: { otp: await nextCode() } } as const;
  await client.insist('auth.totpConfirm', confirm);
  return async () => {
    const body = { ...CREDENTIALS, otp: await nextCode() };
    await client.insist('auth.login', { method: 'POST', path: '/auth/login', body });
  };
}

function fromBase32(text: string): Uint8Array {
  const bits = Array.from(text, (letter) => BASE32.indexOf(letter).toString(2).padStart(5, '0')).join('');
  return Uint8Array.from(bits.match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2));
}
