import { describe, expect, test } from '@jest/globals';
import { keyVerbs, secretVerbs, vaultActions } from '@cardea/contracts/grants';
import type { VaultAction } from '@cardea/contracts/grants';
import * as fc from 'fast-check';
import { decide } from './decide.ts';
import type { Granted, Question } from './decide.ts';
import { DAY_MS } from '@cardea/contracts/durations';

const RUNS = 3_000;
const DECISIONS = RUNS * vaultActions.length * 18;
const EXPIRY = Date.UTC(2026, 0, 1);

// Networks with the addresses inside them, listed by hand. An address that is not listed is outside.
const networks: Record<string, string[]> = {
  '10.0.0.0/8': ['10.0.0.0', '10.255.255.255', '::ffff:10.1.2.3', '::FFFF:a01:203', '0:0:0:0:0:ffff:10.1.2.3'],
  '10.128.0.0/9': ['10.255.255.255'],
  '::ffff:10.0.0.0/104': ['10.0.0.0', '10.255.255.255', '::ffff:10.1.2.3', '::FFFF:a01:203', '0:0:0:0:0:ffff:10.1.2.3'],
  '192.0.2.7': ['192.0.2.7', '::ffff:192.0.2.7'],
  '192.0.2.6/31': ['192.0.2.7', '::ffff:192.0.2.7'],
  '2001:db8::/32': ['2001:db8::', '2001:DB8:ffff::1'],
  '2001:db8::/127': ['2001:db8::'],
  '::/0': ['2001:db8::', '2001:DB8:ffff::1', '2001:db9::', '::a01:203'],
};
const elsewhere = ['11.0.0.0', '192.0.2.8', '::ffff:192.0.2.8', 'unknown', '', '10.1.2.3 ', '10.1.2', 'fe80::1%eth0'];
const addresses = [...new Set([...Object.values(networks).flat(), ...elsewhere])];
const names = 'apps apps/ci apps/ci/token apps/ci/token/old apps/ci2 apps/ci2/token apps/ci.token Apps/ci'
  .concat(' apps/CI/token db/apps/ci ci app apps-ci')
  .split(' ');

interface Sentence {
  says: string;
  holds(question: Question): boolean;
}

const isRole = (role: Question['role']) => (question: Question) => question.role === role;
const segments = (path: string) => path.split('/');
const live: Sentence[] = [
  { says: 'something was granted', holds: ({ granted }) => granted !== undefined },
  { says: 'a grant ends at its expiry', holds: ({ granted, now }) => !(now >= (granted?.expiresAt ?? Infinity)) },
  {
    says: 'a grant is for its networks; without networks it is for all',
    holds: ({ granted, ip }) =>
      ip === undefined ||
      granted?.allowedCidrs.length === 0 ||
      granted?.allowedCidrs.some((network) => networks[network]!.includes(ip)) === true,
  },
];
const isLive = (question: Question) => live.every(({ holds }) => holds(question));
const isOwner: Sentence['holds'] = (question) => isLive(question) && question.granted!.owner;
const hasNoLimit = ({ pathPrefix, keyPrefix, expiresAt, allowedCidrs }: Granted) =>
  [pathPrefix, keyPrefix, expiresAt, allowedCidrs[0]].every((limit) => limit === undefined);
const hasVerb: Sentence['holds'] = (question) =>
  isLive(question) && [...question.granted!.secrets, ...question.granted!.keys].length > 0;
const isAboutKey = ({ action }: Question) => action.startsWith('key.');
const isBelowPrefix: Sentence['holds'] = ({ granted, name }) =>
  name === undefined ||
  segments(granted?.pathPrefix ?? name).every((segment, depth) => segments(name)[depth] === segment);
const beginsWithPrefix: Sentence['holds'] = ({ granted, name }) =>
  name === undefined || name.indexOf(granted?.keyPrefix ?? '') === 0;
// A path prefix is for secrets, a key prefix for keys. Neither says anything of the other.
const isCovered: Sentence['holds'] = (question) =>
  isAboutKey(question) ? beginsWithPrefix(question) : isBelowPrefix(question);

const sees: Sentence[] = [
  { says: 'an admin sees every vault', holds: isRole('admin') },
  { says: "a ceo sees every vault's metadata", holds: isRole('ceo') },
  { says: 'an owner sees the whole vault', holds: isOwner },
  { says: 'others see what they have a verb for', holds: (question) => hasVerb(question) && isCovered(question) },
];

// Each sentence of the contract that allows something. Everything else is denied.
const may: Sentence[] = [
  { says: 'an admin reads and writes in every vault', holds: isRole('admin') },
  {
    says: 'a ceo looks at metadata',
    holds: ({ role, action }) => role === 'ceo' && /^(vault\.(read|events|audit)|(secret|key)\.list)$/.test(action),
  },
  {
    says: 'an owner does everything in the vault, and one with limits does not manage it',
    holds: (question) =>
      question.role !== 'ceo' &&
      isOwner(question) &&
      (question.action !== 'vault.manage' || hasNoLimit(question.granted!)),
  },
  {
    says: 'who has any verb may look at the vault',
    holds: (question) =>
      question.role !== 'ceo' && question.action === 'vault.read' && hasVerb(question) && isCovered(question),
  },
  ...(['secret', 'key'] as const).map((kind) => ({
    says: `a verb for a ${kind} is for that and nothing else`,
    holds: (question: Question) =>
      question.role !== 'ceo' &&
      isLive(question) &&
      isCovered(question) &&
      (kind === 'secret' ? question.granted!.secrets : question.granted!.keys)
        .map((verb) => `${kind}.${verb}`)
        .includes(question.action),
  })),
];

// What each rule in the audit log claims.
const claims: Record<string, (question: Question) => boolean> = {
  'role:admin': isRole('admin'),
  'role:ceo': isRole('ceo'),
  'default-deny': ({ granted }) => granted === undefined,
  'grant:expired': (question) => !live[1]!.holds(question),
  'grant:network': (question) => !live[2]!.holds(question),
  'grant:owner': isOwner,
  'grant:empty': (question) => isLive(question) && !hasVerb(question),
  'grant:path': (question) => isLive(question) && !isAboutKey(question) && !isBelowPrefix(question),
  'grant:key-prefix': (question) => isLive(question) && isAboutKey(question) && !beginsWithPrefix(question),
  ...Object.fromEntries(vaultActions.map((action) => [`grant:${action}`, (question) => question.action === action])),
};

const grant: fc.Arbitrary<Granted> = fc.record({
  owner: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
  secrets: fc.subarray([...secretVerbs]),
  keys: fc.subarray([...keyVerbs]),
  allowedCidrs: fc.oneof(fc.constant([]), fc.subarray(Object.keys(networks), { maxLength: 3 })),
  pathPrefix: fc.option(fc.constantFrom(...names), { nil: undefined }),
  keyPrefix: fc.option(fc.constantFrom(...names), { nil: undefined }),
  expiresAt: fc.option(fc.constant(EXPIRY), { nil: undefined }),
});
const empty: Granted = { owner: false, secrets: [], keys: [], allowedCidrs: [] };

const questions = fc.record({
  role: fc.constantFrom('admin', 'ceo', undefined, 'developer', 'developer', 'developer'),
  granted: fc.oneof({ weight: 10, arbitrary: grant }, fc.constant(empty), fc.constant(undefined)),
  names: fc.tuple(fc.constant(undefined), fc.constantFrom(...names), fc.constantFrom(...names)),
  nows: fc.tuple(fc.constantFrom(EXPIRY - 1, EXPIRY - DAY_MS, 0), fc.constantFrom(EXPIRY, EXPIRY + 1, EXPIRY * 2)),
  ips: fc.tuple(fc.constant(undefined), fc.constantFrom(...addresses), fc.constantFrom(...addresses)),
});

describe('every decision follows the sentences of the contract', () => {
  const seen = { decisions: 0, allowed: 0, rules: new Set<string>() };

  function check(question: Question): void {
    const decision = decide(question);
    const said = { allowed: may.some(saysSo), visible: sees.some(saysSo), ruleIsTrue: true };
    const ruleIsTrue = claims[decision.rule]?.(question) ?? false;
    const { allowed, visible } = decision;
    if (allowed !== said.allowed || visible !== said.visible || !ruleIsTrue) {
      expect({ question, rule: decision.rule, allowed, visible, ruleIsTrue }).toEqual({ question, rule: '', ...said });
    }
    seen.decisions += 1;
    seen.allowed += Number(allowed);
    seen.rules.add(decision.rule);

    function saysSo({ holds }: Sentence): boolean {
      return holds(question);
    }
  }

  test(`in ${DECISIONS} decisions, for any caller, action, place and time`, () => {
    fc.assert(
      fc.property(questions, ({ role, granted, names: asked, nows, ips }) => {
        for (const action of vaultActions)
          for (const name of asked)
            for (const now of nows) for (const ip of ips) check({ role, granted, action, name, now, ip });
      }),
      { numRuns: RUNS },
    );
    expect(seen.decisions).toBe(DECISIONS);
    expect(seen.allowed / seen.decisions).toBeGreaterThan(0.05);
    expect(seen.allowed / seen.decisions).toBeLessThan(0.95);
    expect([...seen.rules].sort()).toEqual(Object.keys(claims).sort());
  });

  test('for every action under every single verb', () => {
    const single = [
      ...secretVerbs.map((verb) => ({ ...empty, secrets: [verb] })),
      ...keyVerbs.map((verb) => ({ ...empty, keys: [verb] })),
    ];
    for (const role of ['developer', 'ceo', 'admin', undefined] as const)
      for (const granted of single) for (const action of vaultActions) check({ role, granted, action, now: EXPIRY });
  });
});

describe('by name:', () => {
  const all: Granted = { ...empty, secrets: secretVerbs, keys: keyVerbs };
  const ask = (granted: Granted | undefined, action: VaultAction, more: Partial<Question> = {}) =>
    decide({ role: 'developer', granted, action, now: EXPIRY, ...more });

  test('a grant of all secrets gives nothing of the keys, and the other way round', () => {
    for (const verb of keyVerbs) expect(ask({ ...all, keys: [] }, `key.${verb}`).allowed).toBe(false);
    for (const verb of secretVerbs) expect(ask({ ...all, secrets: [] }, `secret.${verb}`).allowed).toBe(false);
    for (const verb of secretVerbs) expect(ask({ ...all, keys: [] }, `secret.${verb}`).allowed).toBe(true);
    for (const verb of keyVerbs) expect(ask({ ...all, secrets: [] }, `key.${verb}`).allowed).toBe(true);
  });

  test('the verb manage of secrets and keys does not manage the vault', () => {
    expect(ask(all, 'vault.manage')).toEqual({ allowed: false, visible: true, rule: 'grant:vault.manage' });
    expect(ask(all, 'vault.delete')).toEqual({ allowed: false, visible: true, rule: 'grant:vault.delete' });
  });

  test.each([
    ['the millisecond before its expiry', EXPIRY - 1, true],
    ['at its expiry', EXPIRY, false],
    ['a millisecond after its expiry', EXPIRY + 1, false],
  ])('a grant %s', (_when, now, allowed) => {
    for (const granted of [
      { ...all, expiresAt: EXPIRY },
      { ...empty, owner: true, expiresAt: EXPIRY },
    ]) {
      expect(ask(granted, 'secret.read', { name: 'x', now })).toMatchObject({ allowed, visible: allowed });
    }
  });

  test.each([
    ['apps/ci', true],
    ['apps/ci/token', true],
    ['apps/ci2', false],
    ['apps/ci2/token', false],
    ['apps/ci-2', false],
    ['apps', false],
    ['Apps/ci', false],
    ['x/apps/ci', false],
  ])('the prefix apps/ci, for the name %s', (name, allowed) => {
    expect(ask({ ...all, pathPrefix: 'apps/ci' }, 'secret.read', { name })).toMatchObject({
      allowed,
      visible: allowed,
    });
  });

  test.each([
    ['ci-', true],
    ['ci-tokens', true],
    ['ci', false],
    ['cd-tokens', false],
    ['CI-tokens', false],
    ['x-ci-tokens', false],
  ])('the key prefix ci-, for the key %s', (name, allowed) => {
    const granted = { ...all, keyPrefix: 'ci-', pathPrefix: 'apps' };
    expect(ask(granted, 'key.sign', { name })).toMatchObject({ allowed, visible: allowed });
    expect(ask(granted, 'secret.read', { name: 'apps' })).toMatchObject({ allowed: true, visible: true });
    expect(ask(granted, 'secret.read', { name })).toMatchObject({ allowed: false, visible: false });
  });

  test('a ceo sees metadata and does nothing, whatever was granted', () => {
    const seen = vaultActions.filter((action) => ask({ ...all, owner: true }, action, { role: 'ceo' }).allowed);
    expect(seen).toEqual(['vault.read', 'vault.events', 'vault.audit', 'secret.list', 'key.list']);
  });

  test('an owner outside the networks has no rights', () => {
    const owner = { ...all, owner: true, allowedCidrs: ['10.0.0.0/8', '2001:db8::/32'] };
    const nobody = { allowed: false, visible: false, rule: 'grant:network' };
    for (const ip of ['11.0.0.1', '::ffff:11.0.0.1', '2001:db9::1', 'unknown', '']) {
      for (const action of vaultActions) expect(ask(owner, action, { ip })).toEqual(nobody);
    }
    for (const ip of ['10.0.0.1', '::ffff:10.0.0.1', '2001:db8::1']) {
      expect(ask(owner, 'vault.delete', { ip })).toEqual({ allowed: true, visible: true, rule: 'grant:owner' });
    }
  });

  test('without a grant, or with an empty one, a vault does not exist', () => {
    for (const action of vaultActions) {
      expect(ask(undefined, action)).toEqual({ allowed: false, visible: false, rule: 'default-deny' });
      expect(ask(empty, action)).toEqual({ allowed: false, visible: false, rule: 'grant:empty' });
    }
  });
});
