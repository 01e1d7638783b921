// One use of a PKCS#11 token, in a process of its own: a module of a vendor that hangs or crashes takes no key service
// with it. It gets one message, answers one, and ends.
import { randomBytes } from 'node:crypto';
import type { PKCS11 } from 'pkcs11js';

/** What is asked of a token. */
export interface TokenRequest {
  module: string;
  pin: string;
  tokenLabel: string;
  keyLabel: string;
  /** `encrypt` makes the key if the token has none of this label. */
  operation: 'encrypt' | 'decrypt';
  dataBase64: string;
  contextBase64: string;
}

/** What it answered: bytes, or the sentence that says what to do, or damage. */
export type TokenAnswer = { resultBase64: string } | { problem: string } | { integrity: true };

const IV_BYTES = 12;
const TAG_BITS = 128;
const KEY_BYTES = 32;

process.on('disconnect', () => process.exit(1));
process.once('message', (request: TokenRequest) => {
  void answerTo(request).then((answer) => process.send?.(answer, () => process.exit(0)));
});

class Problem extends Error {}

async function answerTo(request: TokenRequest): Promise<TokenAnswer> {
  try {
    return { resultBase64: (await useToken(request)).toString('base64') };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // What tokens answer to a ciphertext that does not authenticate.
    if (request.operation === 'decrypt' && /^CKR_(ENCRYPTED_DATA|AEAD|GENERAL_ERROR|FUNCTION_FAILED)/.test(message)) {
      return { integrity: true };
    }
    return { problem: error instanceof Problem ? message : `the token answers ${message}` };
  }
}

async function useToken(request: TokenRequest): Promise<Buffer> {
  const pkcs11js = await load();
  const module = new pkcs11js.PKCS11();
  try {
    module.load(request.module);
  } catch (error) {
    throw new Problem(`the PKCS#11 module ${request.module} cannot be loaded: ${String(error)}`);
  }
  module.C_Initialize();
  try {
    const slot = findSlot(pkcs11js, module, request.tokenLabel);
    const session = module.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION);
    logIn(pkcs11js, module, session, request.pin);
    const key = findKey(pkcs11js, module, session, request);
    return request.operation === 'encrypt'
      ? encrypt(pkcs11js, module, { session, key }, request)
      : decrypt(pkcs11js, module, { session, key }, request);
  } finally {
    module.C_Finalize();
  }
}

type Pkcs11Js = typeof import('pkcs11js');
type Handle = Buffer;

async function load(): Promise<Pkcs11Js> {
  try {
    const loaded = (await import('pkcs11js')) as Pkcs11Js & { default?: Pkcs11Js };
    return loaded.default ?? loaded;
  } catch (error) {
    throw new Problem(`the module pkcs11js is not compiled: run pnpm build:pkcs11 (${String(error)})`);
  }
}

function findSlot(pkcs11js: Pkcs11Js, module: PKCS11, label: string): Handle {
  const slots = module.C_GetSlotList(true);
  const slot = slots.find((one) => module.C_GetTokenInfo(one).label.trim() === label);
  if (!slot) throw new Problem(`there is no token with the label ${label}`);
  const { flags } = module.C_GetTokenInfo(slot);
  if (flags & pkcs11js.CKF_USER_PIN_LOCKED) throw new Problem(`the PIN of the token ${label} is locked`);
  // A service that starts again and again must not use up the last try.
  if (flags & pkcs11js.CKF_USER_PIN_FINAL_TRY) {
    throw new Problem(`the token ${label} takes one more wrong PIN before it locks: log in to it by hand first`);
  }
  return slot;
}

function logIn(pkcs11js: Pkcs11Js, module: PKCS11, session: Handle, pin: string): void {
  try {
    module.C_Login(session, pkcs11js.CKU_USER, pin);
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('CKR_PIN')) throw new Problem('the PIN is wrong');
    throw error;
  }
}

function findKey(pkcs11js: Pkcs11Js, module: PKCS11, session: Handle, { keyLabel, operation }: TokenRequest): Handle {
  const found = listKeys(pkcs11js, module, session, keyLabel);
  if (found.length > 1) throw new Problem(`the token has several keys with the label ${keyLabel}`);
  if (found.length === 0 && operation === 'decrypt')
    throw new Problem(`the token has no key with the label ${keyLabel}`);
  const key = found[0] ?? makeKey(pkcs11js, module, session, keyLabel);
  refuseExtractable(pkcs11js, module, session, key, keyLabel);
  return key;
}

function listKeys(pkcs11js: Pkcs11Js, module: PKCS11, session: Handle, label: string): Handle[] {
  module.C_FindObjectsInit(session, [
    { type: pkcs11js.CKA_CLASS, value: pkcs11js.CKO_SECRET_KEY },
    { type: pkcs11js.CKA_LABEL, value: label },
  ]);
  try {
    return module.C_FindObjects(session, 2);
  } finally {
    module.C_FindObjectsFinal(session);
  }
}

function makeKey(pkcs11js: Pkcs11Js, module: PKCS11, session: Handle, label: string): Handle {
  return module.C_GenerateKey(session, { mechanism: pkcs11js.CKM_AES_KEY_GEN }, [
    { type: pkcs11js.CKA_CLASS, value: pkcs11js.CKO_SECRET_KEY },
    { type: pkcs11js.CKA_KEY_TYPE, value: pkcs11js.CKK_AES },
    { type: pkcs11js.CKA_LABEL, value: label },
    { type: pkcs11js.CKA_VALUE_LEN, value: KEY_BYTES },
    { type: pkcs11js.CKA_TOKEN, value: true },
    { type: pkcs11js.CKA_PRIVATE, value: true },
    { type: pkcs11js.CKA_SENSITIVE, value: true },
    { type: pkcs11js.CKA_EXTRACTABLE, value: false },
    { type: pkcs11js.CKA_ENCRYPT, value: true },
    { type: pkcs11js.CKA_DECRYPT, value: true },
  ]);
}

function refuseExtractable(pkcs11js: Pkcs11Js, module: PKCS11, session: Handle, key: Handle, label: string): void {
  const [sensitive, extractable] = module.C_GetAttributeValue(session, key, [
    { type: pkcs11js.CKA_SENSITIVE },
    { type: pkcs11js.CKA_EXTRACTABLE },
  ]);
  const isKept = isTrue(sensitive?.value) && !isTrue(extractable?.value);
  if (!isKept)
    throw new Problem(`the key ${label} can be read out of the token: it must be sensitive and not extractable`);
}

function isTrue(value: unknown): boolean {
  return Buffer.isBuffer(value) ? value[0] === 1 : value === true;
}

interface Use {
  session: Handle;
  key: Handle;
}

/** iv[12] ‖ ciphertext ‖ tag[16] */
function encrypt(pkcs11js: Pkcs11Js, module: PKCS11, { session, key }: Use, request: TokenRequest): Buffer {
  const iv = randomBytes(IV_BYTES);
  const data = Buffer.from(request.dataBase64, 'base64');
  module.C_EncryptInit(session, gcm(pkcs11js, iv, request), key);
  return Buffer.concat([iv, module.C_Encrypt(session, data, Buffer.alloc(data.length + TAG_BITS / 8))]);
}

function decrypt(pkcs11js: Pkcs11Js, module: PKCS11, { session, key }: Use, request: TokenRequest): Buffer {
  const data = Buffer.from(request.dataBase64, 'base64');
  module.C_DecryptInit(session, gcm(pkcs11js, data.subarray(0, IV_BYTES), request), key);
  return module.C_Decrypt(session, data.subarray(IV_BYTES), Buffer.alloc(data.length));
}

function gcm(pkcs11js: Pkcs11Js, iv: Buffer, { contextBase64 }: TokenRequest) {
  const aad = Buffer.from(contextBase64, 'base64');
  const parameter = { type: pkcs11js.CK_PARAMS_AES_GCM_v240, iv, aad, ivBits: IV_BYTES * 8, tagBits: TAG_BITS };
  return { mechanism: pkcs11js.CKM_AES_GCM, parameter };
}
