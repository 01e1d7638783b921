import { globSync, readFileSync } from 'node:fs';
import { knownVariables } from '@cardea/process/known-variables';
import { describe, expect, test } from '@jest/globals';

const root = new URL('../../', import.meta.url).pathname;

// ARCHITECTURE.md as a table: the packages that each package may import. A new package needs a row.
const product = ['contracts', 'crypto', 'http', 'jobs', 'process', 'storage', 'vault'];
const mayImport: Record<string, string[]> = {
  'packages/contracts': [],
  'packages/crypto': [],
  'packages/storage': [],
  'packages/process': [],
  'packages/jobs': ['contracts'],
  'packages/http': ['contracts', 'crypto', 'process'],
  'packages/vault': ['contracts', 'crypto', 'jobs', 'storage'],
  'packages/wiring': ['contracts', 'crypto', 'http', 'jobs', 'process', 'storage', 'vault'],
  'services/api-service': [...product, 'wiring'],
  'services/worker': [...product, 'wiring'],
  'services/kek-service': ['contracts', 'crypto', 'http', 'process'],
  'services/audit-service': ['contracts', 'crypto', 'http', 'process', 'storage'],
  'packages/testkit': [...product, 'api-service', 'audit-service', 'kek-service', 'worker', 'deploy'],
  'packages/client': ['contracts'],
  cli: ['client'],
  deploy: ['process', 'storage'],
  grafana: [],
  tests: [...product, 'api-service', 'cli', 'client', 'testkit', 'deploy', 'grafana'],
  trials: [...product, 'testkit', 'deploy', 'grafana'],
  tools: [...product, 'testkit', 'grafana'],
};
// Folders without `src`.
const flat = ['cli', 'deploy', 'grafana', 'tests', 'trials', 'tools'];
// Tests may also import this: the tests of services make their own certificates.
const mayImportInTests = ['deploy'];

const folders = globSync(['{packages,services}/*/package.json', `{${flat.join()}}/package.json`], {
  cwd: root,
}).map((file) => file.slice(0, -'/package.json'.length));

test('every package has a row in the table of directions, and every row has a package', () => {
  const withoutRow = folders.filter((folder) => !(folder in mayImport));
  expect(withoutRow.map((folder) => `add ${folder} to the table in tests/repository/repository.test.ts`)).toEqual([]);
  expect(Object.keys(mayImport).filter((folder) => !folders.includes(folder))).toEqual([]);
});

describe.each(folders)('%s', (folder) => {
  const { name, dependencies = {}, devDependencies = {} } = JSON.parse(read(`${folder}/package.json`)) as PackageJson;
  const allowed = mayImport[folder] ?? [];

  test('lists only packages that the directions allow', () => {
    expect(ofCardea(Object.keys(dependencies)).filter((it) => !allowed.includes(it))).toEqual([]);
    const inTests = [...allowed, ...mayImportInTests];
    expect(ofCardea(Object.keys(devDependencies)).filter((it) => !inTests.includes(it))).toEqual([]);
  });

  test('shipped code imports only its dependencies, and no file of another folder', () => {
    const own = name.slice('@cardea/'.length);
    const strangers = sourcesOf(folder).flatMap((file) =>
      importsOf(file)
        .filter((imported) => {
          if (imported.startsWith('.')) return !new URL(imported, `file:///${file}`).pathname.startsWith(`/${folder}/`);
          return ofCardea([imported]).some((it) => it !== own && !(`@cardea/${it}` in dependencies));
        })
        .map((imported) => `${file} imports ${imported}`),
    );
    expect(strangers).toEqual([]);
  });
});

// `typecheck` finds what a browser lacks, such as Buffer. This test finds modules that it could not load.
test('packages/contracts runs in a browser: it imports its own files and zod', () => {
  const imports = sourcesOf('packages/contracts').flatMap((file) =>
    importsOf(file).map((imported) => ({ file, imported })),
  );
  expect(imports.length).toBeGreaterThan(50);
  expect(imports.filter(({ imported }) => imported !== 'zod' && !imported.startsWith('.'))).toEqual([]);
});

// The files and folders of one folder import each other in one direction only.
describe.each(folders.filter((folder) => !flat.includes(folder)))('%s', (folder) => {
  const levels = new Set(sourcesOf(folder).flatMap(foldersAbove(`${folder}/src`)));

  test.each([...levels])('%s has no import cycle', (level) => {
    expect(findCircle(importsWithin(level))).toEqual([]);
  });
});

test('the search finds a cycle of any length', () => {
  const imports = { a: ['b'], b: ['c', 'd'], c: [], d: ['e'], e: ['b'] };
  expect(findCircle(new Map(Object.entries(imports)))).toEqual(['b', 'd', 'e', 'b']);
});

test('the scan finds the imports of a package', () => {
  const seen = sourcesOf('services/api-service').flatMap(importsOf);
  expect(ofCardea(seen)).toEqual(expect.arrayContaining(['contracts', 'http', 'vault']));
  expect(seen).toContain('./config.ts');
});

test('docs/configuration.md names every variable that the code reads', () => {
  const documented = new Set(read('docs/configuration.md').match(/\bCARDEA_[A-Z_]+\b/g));
  const shipped = folders.filter((folder) => !['tests', 'trials', 'tools'].includes(folder));
  const used = shipped.flatMap(sourcesOf).flatMap((file) => {
    const variables = new Set(read(file).match(/\bCARDEA_[A-Z_]+\b/g));
    return [...variables].map((variable) => ({ variable, file }));
  });
  expect(used.length).toBeGreaterThan(50);
  const missing = used.filter(({ variable }) => !documented.has(variable));
  expect(missing.map(({ variable, file }) => `add ${variable} of ${file} to docs/configuration.md`)).toEqual([]);
});

test('the list of known variables has each variable that the code reads, and no other', () => {
  const list = 'packages/process/src/known-variables.ts';
  const shipped = folders.filter((folder) => !['tests', 'trials', 'tools', 'packages/testkit'].includes(folder));
  const used = new Set(
    shipped
      .flatMap(sourcesOf)
      .filter((file) => file !== list)
      .flatMap((file) => read(file).match(/\bCARDEA_[A-Z0-9_]+\b/g) ?? [])
      .filter((variable) => !variable.startsWith('CARDEA_TEST_')),
  );
  expect([...knownVariables].toSorted()).toEqual([...used].toSorted());
});

interface PackageJson {
  name: string;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
}

function ofCardea(specifiers: string[]): string[] {
  return specifiers.filter((it) => it.startsWith('@cardea/')).map((it) => it.split('/')[1]!);
}

/** The code of a folder without its tests. In `tests` the tests are the code. */
function sourcesOf(folder: string): string[] {
  const pattern = flat.includes(folder) ? `${folder}/**/*.{ts,mjs}` : `${folder}/src/**/*.{ts,mjs}`;
  const files = globSync(pattern, { cwd: root, exclude: ['**/node_modules'] });
  return files.filter((file) => folder === 'tests' || !file.endsWith('.test.ts'));
}

/** The folders above a file, from `top` down. */
function foldersAbove(top: string): (file: string) => string[] {
  return (file) => {
    const parts = file.slice(top.length + 1).split('/');
    return parts.map((_part, depth) => [top, ...parts.slice(0, depth)].join('/'));
  };
}

/** Which files and folders of a folder import which others of it, by name. */
function importsWithin(level: string): Map<string, string[]> {
  const imports = new Map<string, string[]>();
  for (const file of sourcesBelow(level)) {
    const from = nameWithin(level, file)!;
    const targets = importsOf(file)
      .filter((imported) => imported.startsWith('.'))
      .map((imported) => nameWithin(level, new URL(imported, `file:///${file}`).pathname.slice(1)));
    const others = targets.filter((target) => target !== undefined && target !== from) as string[];
    imports.set(from, [...(imports.get(from) ?? []), ...others]);
  }
  return imports;
}

function sourcesBelow(level: string): string[] {
  const files = globSync(`${level}/**/*.{ts,mjs}`, { cwd: root });
  return files.filter((file) => !file.endsWith('.test.ts'));
}

function nameWithin(level: string, file: string): string | undefined {
  return file.startsWith(`${level}/`) ? file.slice(level.length + 1).split('/')[0] : undefined;
}

/** A cycle of imports, or an empty list. */
function findCircle(imports: Map<string, string[]>): string[] {
  const done = new Set<string>();
  const visit = (name: string, way: string[]): string[] => {
    if (way.includes(name)) return [...way.slice(way.indexOf(name)), name];
    if (done.has(name)) return [];
    for (const next of imports.get(name) ?? []) {
      const circle = visit(next, [...way, name]);
      if (circle.length > 0) return circle;
    }
    done.add(name);
    return [];
  };
  for (const name of imports.keys()) {
    const circle = visit(name, []);
    if (circle.length > 0) return circle;
  }
  return [];
}

function importsOf(file: string): string[] {
  return [...read(file).matchAll(/(?:\bfrom|\bimport|\bimport\()\s*'([@\w./:-]+)'/g)].map(
    ([, specifier]) => specifier!,
  );
}

function read(path: string): string {
  return readFileSync(root + path, 'utf8');
}
