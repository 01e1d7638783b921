import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findServer, temporaryFolder } from './servers.ts';

/** A SoftHSM with one token, in a folder of its own. */
export interface SoftHsm {
  /** For CARDEA_PKCS11_MODULE. */
  module: string;
  /** For CARDEA_PKCS11_PIN_FILE. */
  pinFile: string;
  tokenLabel: string;
  /** Takes the token away, as somebody who pulls it out, and puts it back. */
  pullOut(): void;
  putBack(): void;
  /** Makes an AES key that may be read out of the token, which a careful person does not do. */
  makeExtractableKey(label: string): void;
  remove(): void;
}

const PIN = '4711-0815';
const MODULES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/softhsm/libsofthsm.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
];

/**
 * Makes a SoftHSM, and compiles what kek-service needs to speak to it. Installs Debian's package if there is none. Sets
 * SOFTHSM2_CONF for this process and all that it starts.
 * @throws Error that says what to do
 */
export function makeSoftHsm(): SoftHsm {
  const util = findServer('softhsm2-util', 'softhsm2');
  const module = MODULES.find((path) => existsSync(path));
  if (!module) throw new Error(`tests need a SoftHSM: there is none of ${MODULES.join(', ')}`);
  compilePkcs11();

  const folder = temporaryFolder('softhsm');
  const tokens = join(folder, 'tokens');
  const conf = join(folder, 'softhsm2.conf');
  const write = (tokenDir: string) => writeFileSync(conf, `directories.tokendir = ${tokenDir}\nlog.level = ERROR\n`);
  for (const name of [tokens, join(folder, 'none')]) mkdirSync(name);
  write(tokens);
  process.env['SOFTHSM2_CONF'] = conf;
  const tokenLabel = 'cardea-test';
  execFileSync(util, ['--init-token', '--free', '--label', tokenLabel, '--so-pin', 'so-pin-1', '--pin', PIN], {
    env: process.env,
  });
  const pinFile = join(folder, 'pin');
  writeFileSync(pinFile, `${PIN}\n`, { mode: 0o600 });
  return {
    module,
    pinFile,
    tokenLabel,
    pullOut: () => write(join(folder, 'none')),
    putBack: () => write(tokens),
    makeExtractableKey: (label) => makeExtractableKey({ module, tokenLabel, label }),
    remove: () => rmSync(folder, { recursive: true }),
  };
}

const service = fileURLToPath(new URL('../../../services/kek-service/', import.meta.url));

// In a process of its own, because a module keeps its state until the process ends. Run from the folder of kek-service,
// which has the library.
function makeExtractableKey(names: { module: string; tokenLabel: string; label: string }): void {
  const program = `
    const { module, tokenLabel, label, pin } = JSON.parse(process.argv[1]);
    const pkcs11js = require('pkcs11js');
    const token = new pkcs11js.PKCS11();
    token.load(module);
    token.C_Initialize();
    const slot = token.C_GetSlotList(true).find((one) => token.C_GetTokenInfo(one).label.trim() === tokenLabel);
    const session = token.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION);
    token.C_Login(session, pkcs11js.CKU_USER, pin);
    const yes = ['CKA_TOKEN', 'CKA_PRIVATE', 'CKA_EXTRACTABLE', 'CKA_ENCRYPT', 'CKA_DECRYPT'];
    token.C_GenerateKey(session, { mechanism: pkcs11js.CKM_AES_KEY_GEN }, [
      { type: pkcs11js.CKA_CLASS, value: pkcs11js.CKO_SECRET_KEY },
      { type: pkcs11js.CKA_KEY_TYPE, value: pkcs11js.CKK_AES },
      { type: pkcs11js.CKA_LABEL, value: label },
      { type: pkcs11js.CKA_VALUE_LEN, value: 32 },
      { type: pkcs11js.CKA_SENSITIVE, value: true },
      ...yes.map((name) => ({ type: pkcs11js[name], value: true })),
    ]);
    token.C_Finalize();
  `;
  execFileSync(process.execPath, ['-e', program, JSON.stringify({ ...names, pin: PIN })], {
    cwd: service,
    env: process.env,
  });
}

function compilePkcs11(): void {
  if (existsSync(join(service, 'node_modules/pkcs11js/build/Release/pkcs11.node'))) return;
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(service, 'build-pkcs11.mjs')], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`pkcs11js cannot be compiled: ${stdout}\n${stderr}`);
}
