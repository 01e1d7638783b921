import { changesBetween } from '@cardea/contracts/audit-changes';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
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
import { changeSealed } from '../deks/change-sealed.ts';
import { openForSystem, openForSystemInTransaction, sealForSystem } from '../deks/system-sealing.ts';
import { changed } from '../record.ts';
import type { ChangeOutcome } from '../record.ts';
import { passwordChanged, withCurrentPassword } from './current-password.ts';
import { forgetFailures, throttled } from './throttle.ts';
import type { Place } from './throttle.ts';
import {
  clearTotp,
  findUserById,
  forgetUnconfirmedTotp,
  replaceRecoveryCodes,
  setUpTotpSecret,
  turnTotpOn,
  useRecoveryCode,
  useTotpStep,
} from './user-store.ts';
import type { UserRow } from './user-store.ts';

/** The kind of TOTP secrets among the data that the system seals for itself. */
export const TOTP_KIND = 'totp';

const RECOVERY_CODES = 10;

/** The second factor that a sign-in uses up. */
export type SecondFactor = 'none' | { kind: 'totp'; step: number } | { kind: 'recovery'; hash: Uint8Array };

/** The given factor, or what is wrong with it. `useSecondFactor` checks whether it is still unused. */
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

/**
 * Makes a TOTP secret for a caller who gives their current password. Sign-in asks for a code only once `confirmTotp` has
 * seen one.
 * @throws AppError `conflict` if TOTP is on; what `withCurrentPassword` throws
 */
export async function setUpTotp(
  ctx: VaultContext,
  caller: Caller,
  currentPassword: string,
): Promise<Audited<{ uri: string }>> {
  const user = await ownUser(ctx, caller);
  if (user.totp_enabled === 1) throw isOn();
  return withCurrentPassword(ctx, caller, { user, currentPassword }, (place) =>
    storeTotp(ctx, caller, { user, place }),
  );
}

async function storeTotp(
  ctx: VaultContext,
  caller: Caller,
  { user, place }: { user: UserRow; place: Place },
): Promise<Audited<{ uri: string }>> {
  const secret = generateTotpSecret();
  const uri = totpUri({ issuer: 'Cardea', account: user.username, secret });
  const work = async (tx: Transaction) => {
    const sealed = await sealForSystem(ctx, tx, { kind: TOTP_KIND, id: user.id }, secret);
    if ((await findUserById(tx, user.id))?.password_hash !== user.password_hash) throw passwordChanged();
    if (!(await setUpTotpSecret(tx, user.id, sealed))) throw isOn();
    await forgetFailures(tx, place);
    const facts: EventFacts = { action: 'auth.totpSetUp', rule: 'self' };
    return { value: { uri }, facts };
  };
  return changeSealed(ctx, caller, work, { account: 'alone' }).finally(() => secret.fill(0));
}

/**
 * Turns TOTP on with a first code. It does not ask for the password again: only who gave it has seen the secret. Wrong
 * codes are counted as at sign-in: a thief of a session could otherwise guess the code of a secret that its owner has
 * set up, and get the recovery codes. Of several concurrent calls one succeeds, and only its recovery codes are valid.
 * @throws AppError `conflict`; `access_denied` for a wrong code; `rate_limited` after too many
 */
export async function confirmTotp(
  ctx: VaultContext,
  caller: Caller,
  otp: string,
): Promise<Audited<{ recoveryCodes: string[] }>> {
  const user = await ownUser(ctx, caller);
  getUnconfirmed(user);
  const { id, username } = user;
  return throttled(ctx, { caller, username, account: user }, (place) => turnOn(ctx, caller, { id, place, otp }));
}

async function turnOn(
  ctx: VaultContext,
  caller: Caller,
  { id, place, otp }: { id: string; place: Place; otp: string },
): Promise<Audited<{ recoveryCodes: string[] }>> {
  const recoveryCodes = generateRecoveryCodes(RECOVERY_CODES);
  const hashes = recoveryCodes.map((code) => sha256(normalizeRecoveryCode(code)));
  // The code is compared in the transaction: a rotation may reseal the secret at any time.
  const work = async (tx: Transaction): Promise<ChangeOutcome<{ recoveryCodes: string[] }>> => {
    const step = await requireCode(ctx, tx, id, otp);
    if (!(await turnTotpOn(tx, { id, step }))) throw isOn();
    await replaceRecoveryCodes(tx, id, hashes);
    await forgetFailures(tx, place);
    const changes = changesBetween({ totp: false }, { totp: true });
    return { value: { recoveryCodes }, facts: { action: 'auth.totpConfirm', rule: 'self', changes } };
  };
  return changeSealed(ctx, caller, work, { account: 'alone' });
}

async function requireCode(ctx: VaultContext, tx: Transaction, id: string, otp: string): Promise<number> {
  const ciphertext = getUnconfirmed(await findUserById(tx, id));
  const step = stepIn(ctx, openForSystemInTransaction(ctx, { kind: TOTP_KIND, id }, ciphertext), otp);
  if (step === undefined) throw wrongCode('otp-wrong');
  return step;
}

/** The sealed secret that no code has confirmed. @throws AppError `conflict` */
function getUnconfirmed(user: UserRow | undefined): Uint8Array {
  if (user?.totp_enabled === 1) throw isOn();
  if (user?.totp_ciphertext) return user.totp_ciphertext;
  throw new AppError('conflict', 'set TOTP up first', { rule: 'totp-off' });
}

/**
 * Turns TOTP off with an unused code or a recovery code: a thief of a session has neither. Wrong codes are counted as
 * at sign-in. A right code does not clear the count of wrong passwords.
 * @throws AppError `conflict` if TOTP is not on; `access_denied` for a wrong code; `rate_limited` after too many
 */
export async function disableTotp(ctx: VaultContext, caller: Caller, otp: string): Promise<Audited<undefined>> {
  const user = await ownUser(ctx, caller);
  if (user.totp_enabled === 0) throw new AppError('conflict', 'TOTP is not on', { rule: 'totp-off' });
  return throttled(ctx, { caller, username: user.username, account: user }, async () => {
    const factor = await readSecondFactor(ctx, user, otp);
    if (typeof factor === 'string') throw wrongCode('otp-wrong');
    const work = async (tx: Transaction): Promise<ChangeOutcome<undefined>> => {
      if (!(await useSecondFactor(tx, user.id, factor))) {
        throw wrongCode(factor.kind === 'totp' ? 'otp-used' : 'recovery-code-unknown');
      }
      await clearTotp(tx, user.id);
      await replaceRecoveryCodes(tx, user.id, []);
      const changes = changesBetween({ totp: true }, { totp: false });
      return { value: undefined, facts: { action: 'auth.totpDisable', rule: `self+${factor.kind}`, changes } };
    };
    return changed(ctx, caller, work, { account: 'alone' });
  });
}

/** Deletes a TOTP secret that was not confirmed. @throws AppError `conflict` if TOTP is on */
export async function removeTotp(ctx: VaultContext, caller: Caller): Promise<Audited<undefined>> {
  const user = await ownUser(ctx, caller);
  const work = async (tx: Transaction): Promise<ChangeOutcome<undefined>> => {
    if (!(await forgetUnconfirmedTotp(tx, user.id))) throw isOn();
    return { value: undefined, facts: { action: 'auth.totpRemove', rule: 'self' } };
  };
  return changed(ctx, caller, work, { account: 'alone' });
}

function isOn(): AppError {
  return new AppError('conflict', 'TOTP is on: POST /api/v1/auth/totp:disable turns it off with a code', {
    rule: 'totp-on',
  });
}

function wrongCode(rule: AuditRule): AppError {
  return new AppError('access_denied', 'the code is wrong or was used before', { rule });
}

/** The caller's own row. @throws AppError `access_denied` for an application, which has no password */
export async function ownUser(ctx: VaultContext, caller: Caller): Promise<UserRow> {
  const user = caller.actor.type === 'user' ? await findUserById(ctx.db, caller.actor.id) : undefined;
  if (!user) throw new AppError('access_denied', 'only users can do this', { rule: 'users-only' });
  return user;
}

async function stepOf(
  ctx: VaultContext,
  userId: string,
  ciphertext: Uint8Array,
  otp: string,
): Promise<number | undefined> {
  const stored = { ciphertext, reread: async () => (await findUserById(ctx.db, userId))?.totp_ciphertext };
  return stepIn(ctx, await openForSystem(ctx, { kind: TOTP_KIND, id: userId }, stored), otp);
}

/** The step of a code; undefined for a wrong one. Overwrites the secret. */
function stepIn(ctx: VaultContext, secret: Uint8Array, otp: string): number | undefined {
  try {
    return findTotpStep(secret, otp, ctx.now().getTime());
  } finally {
    secret.fill(0);
  }
}
