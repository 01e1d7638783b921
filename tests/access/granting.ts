import { Person } from '@cardea/testkit/person';
import type { Stranger } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';

/** Grants `user:bob` or `application:ci` something in a vault. */
export function grant(by: Stranger, vault: string, principal: string, granted: object) {
  return by.put(`/vaults/${vault}/grants/${principal}`, granted);
}

/** Makes a user who has signed in. */
export async function newUser(system: TestSystem, username: string, role = 'developer'): Promise<Person> {
  const admin = await system.as('admin');
  await admin.post('/users', { username, role, password: PASSWORD }).expect(201);
  return Person.signIn(system.url, username, PASSWORD);
}

/** Makes an application that has signed in with its secret. */
export async function newApplication(system: TestSystem, name: string): Promise<Person> {
  const admin = await system.as('admin');
  const { body } = await admin.post('/applications', { name }).expect(201);
  return Person.ofApplication(system.url, name, body.clientSecret as string);
}

/** The owners of a vault, like `user:alice`. */
export async function ownersOf(system: TestSystem, vault: string): Promise<string[]> {
  const { body } = await (await system.as('admin')).get(`/vaults/${vault}/grants`).expect(200);
  const grants = body.items as { principal: string; owner: boolean }[];
  return grants.filter(({ owner }) => owner).map(({ principal }) => principal);
}
