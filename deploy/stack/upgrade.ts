import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';

import { readIfThere, replaceFile } from '@cardea/process/durable-file';
import { CannotStart } from '../cannot-start.ts';
import { backUp, measureData, restore } from './backup.ts';
import { buildImage, composeOf, root } from './docker.ts';
import type { Compose } from './docker.ts';
import { readEnv, writeEnv } from './env-file.ts';
import type { StackEnv } from './env-file.ts';
import { untilHealthy } from './health.ts';
import type { Progress } from './health.ts';
import { checkUpgradeRoom } from './requirements.ts';
import { installedStack } from './stack-env.ts';
import { ensureStackFolder } from './stack-folder.ts';
import { checkStackNames, checkStackPasswords, checkStackSettings } from './stack-settings.ts';
import { keepVersionFiles, nameNewImage, removeOldVersions } from './version-files.ts';

/** The file that says that an upgrade is under way, and how to go back. */
interface Note {
  /** The settings before. */
  from: StackEnv;
  to: StackEnv;
  /** The folder of the backup. */
  backup: string;
  /** From then on the data may have changed. */
  isBackedUp: boolean;
}

const noteIn = (folder: string) => join(folder, 'upgrade.json');

/**
 * Replaces the stack's version by that of this checkout: stops everything, makes a backup, migrates and starts all but
 * nginx. When all are healthy, nginx starts, and with it the first request. If they do not get healthy, the backup and
 * the old version come back, and nothing is lost, because nobody was answered in between. Resolves with the folder of the
 * backup.
 * @throws CannotStart if there is no stack, or if it went back
 */
export async function upgrade(folder: string, progress: Progress): Promise<string> {
  const from = await readSettledEnv(folder, progress);
  if (!from) throw new CannotStart(`there is no stack in ${folder}: run this command without --upgrade to install one`);

  // The new version may read other names than the one that runs.
  checkStackNames({ ...from, COMPOSE_FILE: join(root, basename(from['COMPOSE_FILE']!)) });
  await checkStackPasswords(folder, from);
  await checkUpgradeRoom(folder, await measureData(stopped(from)));
  const now = new Date();
  const image = await nameNewImage(now);
  progress.say(`building ${image}`);
  await buildImage(image);
  const versionFolder = await keepVersionFiles(folder, image);
  const composeFile = join(versionFolder, basename(from['COMPOSE_FILE']!));
  const note: Note = {
    from,
    to: { ...from, CARDEA_IMAGE: image, COMPOSE_FILE: composeFile },
    backup: join(folder, 'backups', now.toISOString().slice(0, 19).replaceAll(':', '-')),
    isBackedUp: false,
  };
  await checkStackSettings(folder, note.to);
  await writeNote(folder, note);
  try {
    await replaceVersion(folder, note, progress);
  } catch (error) {
    progress.say(`the new version did not get healthy: ${error instanceof Error ? error.message : String(error)}`);
    await goBack(folder, (await readNote(folder)) ?? note, progress);
    throw new CannotStart(`the upgrade failed, and the version before runs again; the backup is in ${note.backup}`, {
      cause: error,
    });
  }
  // From here on requests are answered, so there is no way back without losing what they wrote.
  await rm(noteIn(folder));
  try {
    await startAll(composeOf(folder), progress);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CannotStart(`${reason}\nthe new version runs, but nginx does not: run this command without --upgrade`, {
      cause: error,
    });
  }
  await removeOldVersions(folder, [image, from['CARDEA_IMAGE']!], progress.say);
  return note.backup;
}

/**
 * Returns the settings of the stack, or undefined if there is none. If an upgrade was interrupted, by a power cut for
 * example, it first goes back to the version before: the settings in the file are those of the new version until then, so
 * who changes the stack reads them here.
 */
export async function readSettledEnv(folder: string, progress: Progress): Promise<StackEnv | undefined> {
  const note = await readNote(folder);
  if (note !== undefined) {
    progress.say('an upgrade was interrupted: going back to the version before');
    await goBack(folder, note, progress);
  }
  return readEnv(folder);
}

async function replaceVersion(folder: string, note: Note, progress: Progress): Promise<void> {
  const compose = composeOf(folder);
  progress.say('stopping the stack');
  await compose.run('stop');
  progress.say(`backing up to ${note.backup}`);
  await backUp(stopped(note.from), note.backup);
  await writeNote(folder, { ...note, isBackedUp: true });

  await writeEnv(folder, note.to);
  await ensureStackFolder(folder, installedStack(note.to), new Date());
  progress.say('migrating and starting the new version, without nginx');
  const services = (await compose.run('config', '--services')).trim().split('\n');
  const behind = services.filter((service) => !service.startsWith('nginx'));
  await compose.run('up', '--detach', '--no-build', '--quiet-pull', ...behind);
  await untilHealthy(compose, progress, behind);
}

async function goBack(folder: string, note: Note, progress: Progress): Promise<void> {
  await composeOf(folder).run('stop');
  if (note.isBackedUp) {
    progress.say(`bringing back the data of ${note.backup}`);
    await restore(stopped(note.from), note.backup);
  }
  await writeEnv(folder, note.from);
  await rm(noteIn(folder));
  progress.say('starting the version before');
  await startAll(composeOf(folder), progress);
}

async function startAll(compose: Compose, progress: Progress): Promise<void> {
  await compose.run('up', '--detach', '--no-build', '--quiet-pull', '--remove-orphans');
  await untilHealthy(compose, progress);
}

function stopped(env: StackEnv) {
  const { profile } = installedStack(env);
  return { profile, project: env['COMPOSE_PROJECT_NAME']!, image: env['CARDEA_IMAGE']! };
}

function writeNote(folder: string, note: Note): Promise<void> {
  return replaceFile(noteIn(folder), `${JSON.stringify(note, undefined, 2)}\n`, 0o600);
}

async function readNote(folder: string): Promise<Note | undefined> {
  const text = await readIfThere(noteIn(folder));
  return text === undefined ? undefined : (JSON.parse(text) as Note);
}
