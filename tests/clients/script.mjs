// What the script of each client on Node begins with, its arguments, and ends with, a line:
// node with_X.mjs URL CLIENT_ID REFRESH_TOKEN SECRET, or ALG KEY_FILE in place of the secret.
import { readFileSync } from 'node:fs';

export const [url, clientId, refreshToken, ...credential] = process.argv.slice(2);
export const [alg, keyFile] = credential.length === 2 ? credential : [];
export const secret = alg ? undefined : credential[0];
export const scope = 'jobs:read'; // less than the client may have
export const me = `${url}/me`;

const ALGORITHMS = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  Ed25519: { name: 'Ed25519' },
};

export function privateKey() {
  const der = Buffer.from(readFileSync(keyFile, 'utf8').replace(/-----.+-----|\n/g, ''), 'base64');
  return crypto.subtle.importKey('pkcs8', der, ALGORITHMS[alg], false, ['sign']);
}

export function bearer(token) {
  return { headers: { authorization: `Bearer ${token}` } };
}

// Takes the steps, and prints what each gave or how it failed. One that fails ends none.
export async function tell(name, steps) {
  const manifest = new URL(`node_modules/${name}/package.json`, import.meta.url);
  const told = {};
  for (const [step, take] of Object.entries(steps)) {
    try {
      told[step] = { gave: await take() };
    } catch (fault) {
      told[step] = { failed: `${fault.name}: ${fault.message}` };
    }
  }
  console.log(JSON.stringify({ version: JSON.parse(readFileSync(manifest)).version, steps: told }));
}
