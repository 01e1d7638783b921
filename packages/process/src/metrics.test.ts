import { describe, expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import type { Logger } from './logger.ts';
import { addGauge, addGauges, showDatabases } from './metrics.ts';
import type { ShownDatabase } from './metrics.ts';

describe('gauges that cannot be read', () => {
  const registry = new Registry();
  const lines: unknown[] = [];
  const logger = { warn: (message: string, fields: object) => lines.push({ message, ...fields }) } as unknown as Logger;
  let read: () => Promise<{ first: number; second: number }>;
  addGauges({ registry, logger }, { first: 'One.', second: 'Two.' }, () => read());
  addGauge(registry, { name: 'other', help: 'Another.' }, () => 7);

  test('are absent, the others are there, and the log says why once', async () => {
    const error = new Error('the database does not answer');
    read = () => Promise.reject(error);
    const scrapes = [await registry.metrics(), await registry.metrics()];
    for (const text of scrapes) {
      expect(text).toMatch(/^other 7$/m);
      expect(text).not.toMatch(/^(first|second) /m);
    }
    expect(lines).toEqual([{ message: 'metrics are absent from this scrape', error }]);
  });

  test('are back when they can, and a failure after that is told again', async () => {
    read = () => Promise.resolve({ first: 1, second: 2 });
    expect(await registry.metrics()).toMatch(/^first 1$[^]*^second 2$/m);
    read = () => Promise.reject(new Error('the database does not answer'));
    await registry.metrics();
    expect(lines).toHaveLength(2);
  });
});

test('the pools of a process are added up, and SQLite has none', async () => {
  const registry = new Registry();
  showDatabases(registry, [{}]);
  expect(await registry.metrics()).toBe('\n');
  showDatabases(registry, [pool(0), pool(4)]);
  const text = await registry.metrics();
  for (const line of ['connections{state="active"} 6', 'connections{state="idle"} 4', 'connections{state="waiting"} 4'])
    expect(text).toContain(`cardea_db_${line}\n`);
  expect(text).toContain('cardea_db_transactions_total{outcome="committed"} 20\n');
});

function pool(waiting: number): ShownDatabase {
  return {
    connections: () => ({ open: 5, idle: 2, waiting }),
    outcomes: () => ({ committed: 10, conflict: 1, failed: 0 }),
  };
}
