import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { systemContext } from '@cardea/crypto/context';
import { envelopeKeyVersion, open, seal } from '@cardea/crypto/envelope';
import { sha256 } from '@cardea/crypto/ids';
import {
  findTotpStep,
  generateRecoveryCodes,
  generateTotpSecret,
  normalizeRecoveryCode,
  totpUri,
} from '@cardea/crypto/totp';
import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { changed } from '../record.ts';
import { SYSTEM_VAULT_ID } from './signing-keys.ts';
import { findNewestDekVersion } from '../vaults/dek-store.ts';
import { findUserById, replaceRecoveryCodes, setTotp, useRecoveryCode, useTotpStep } from './user-store.ts';
import type { UserRow } from './user-store.ts';

const RECOVERY_CODES = 10;

/** What a sign-in may use up besides the password. */
export type SecondFactor = 'none' | { kind: 'totp'; step: number } | { kind: 'recovery'; hash: Uint8Array };

/** The factor that was given, or what is wrong with it. Whether it is still unused is seen when it is used. */
export async function readSecondFactor(
  ctx: VaultContext,
  user: UserRow,
  otp: string | undefined,
): Promise<SecondFactor | 'missing' | 'wrong'> {
  if (user.totp_enabled === 0 || user.totp_ciphertext === null) return 'none';
  if (otp === undefined) return 'missing';
  const step = await stepOf(ctx, user.id, user.totp_ciphertext, otp);
  if (step !== undefined) return { kind: 'totp', step };
  const code = normalizeRecoveryCode(otp);
  return code.length < 20 ? 'wrong' : { kind: 'recovery', hash: sha256(code) };
}

/** Uses the factor up; false if it was used before. */
export async function useSecondFactor(
  tx: Transaction,
  userId: string,
  factor: Exclude<SecondFactor, 'none'>,
): Promise<boolean> {
  return factor.kind === 'totp' ? useTotpStep(tx, userId, factor.step) : useRecoveryCode(tx, userId, factor.hash);
}

/** Makes a secret. It is asked for at sign-in only once `confirmTotp` has seen a code of it. @throws AppError `conflict` */
export async function setUpTotp(ctx: VaultContext, caller: Caller): Promise<Audited<{ uri: string }>> {
  const user = await ownUser(ctx, caller);
  if (user.totp_enabled === 1) throw new AppError('conflict', 'TOTP is on: turn it off first');
  const secret = generateTotpSecret();
  const ciphertext = await sealSecret(ctx, user.id, secret);
  const uri = totpUri({ issuer: 'Cardea', account: user.username, secret });
  secret.fill(0);
  return changed(ctx, caller, async (tx) => {
    await setTotp(tx, { id: user.id, ciphertext, enabled: 0, lastStep: 0 });
    return { value: { uri }, happening: { action: 'auth.totpSetUp', rule: 'self' } };
  });
}

/** @throws AppError `conflict`, `access_denied` for a wrong code */
export async function confirmTotp(
  ctx: VaultContext,
  caller: Caller,
  otp: string,
): Promise<Audited<{ recoveryCodes: string[] }>> {
  const user = await ownUser(ctx, caller);
  if (user.totp_enabled === 1 || user.totp_ciphertext === null) {
    throw new AppError('conflict', user.totp_enabled === 1 ? 'TOTP is on already' : 'set TOTP up first');
  }
  const step = await stepOf(ctx, user.id, user.totp_ciphertext, otp);
  if (step === undefined) throw new AppError('access_denied', 'the code is wrong', { rule: 'otp-wrong' });
  const recoveryCodes = generateRecoveryCodes(RECOVERY_CODES);
  const { id, totp_ciphertext: ciphertext } = user;
  return changed(ctx, caller, async (tx) => {
    await setTotp(tx, { id, ciphertext, enabled: 1, lastStep: step });
    await replaceRecoveryCodes(
      tx,
      id,
      recoveryCodes.map((code) => sha256(normalizeRecoveryCode(code))),
    );
    return { value: { recoveryCodes }, happening: { action: 'auth.totpConfirm', rule: 'self' } };
  });
}

export async function removeTotp(ctx: VaultContext, caller: Caller): Promise<Audited<undefined>> {
  const user = await ownUser(ctx, caller);
  return changed(ctx, caller, async (tx) => {
    await setTotp(tx, { id: user.id, ciphertext: null, enabled: 0, lastStep: 0 });
    await replaceRecoveryCodes(tx, user.id, []);
    return { value: undefined, happening: { action: 'auth.totpRemove', rule: 'self' } };
  });
}

/** The caller's own row. @throws AppError `access_denied` for an application, which has no password to guard */
export async function ownUser(ctx: VaultContext, caller: Caller): Promise<UserRow> {
  const user = caller.actor.type === 'user' ? await findUserById(ctx.db, caller.actor.id) : undefined;
  if (!user) throw new AppError('access_denied', 'this is for users', { rule: 'users-only' });
  return user;
}

async function sealSecret(ctx: VaultContext, userId: string, secret: Uint8Array): Promise<Uint8Array> {
  const dekVersion = (await findNewestDekVersion(ctx.db, SYSTEM_VAULT_ID))!;
  return ctx.deks.use({ vaultId: SYSTEM_VAULT_ID, dekVersion }, (dek) =>
    seal(dek, secret, systemContext('totp', userId)),
  );
}

async function stepOf(
  ctx: VaultContext,
  userId: string,
  ciphertext: Uint8Array,
  otp: string,
): Promise<number | undefined> {
  const dek = { vaultId: SYSTEM_VAULT_ID, dekVersion: envelopeKeyVersion(ciphertext) };
  const secret = await ctx.deks.use(dek, (key) => open(key, ciphertext, systemContext('totp', userId)));
  try {
    return findTotpStep(secret, otp, ctx.now().getTime());
  } finally {
    secret.fill(0);
  }
}
