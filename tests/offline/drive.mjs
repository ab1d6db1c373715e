// Runs the Node verifier as a process of its own: node drive.mjs OPTIONS, then commands as JSON.
// VERIFIER is where it is, if it is not installed beside this file.
import { createInterface } from 'node:readline';

const { createVerifier } = await import(process.env.VERIFIER ?? 'auth-api-verifier');
const { still, began, url, client_key: clientKey, access_seconds: accessSeconds, ...options } = JSON.parse(process.argv[2]);
const moved = { steady: 0, wall: 0 }, lines = [], start = Date.now() / 1000;
const steady = () => performance.now() / 1000 + moved.steady;
const wall = () => (still ?? Date.now() / 1000 - start + (began ?? start)) + moved.wall;
const verifier = createVerifier({ url, clientKey, accessSeconds, steady, wall, log: (line) => lines.push(line), ...options });

async function verdict(op, token) {
  try {
    return ['accepted', (await verifier[op](token)).sub];
  } catch (reason) {
    return [{ 401: 'refused', 503: 'unavailable' }[reason.status], reason.message];
  }
}

async function run({ op, tokens, ...by }) {
  switch (op) {
    case 'status': return verifier.status();
    case 'lines': return lines;
    case 'move':
      moved.steady += by.steady ?? 0;
      moved.wall += by.wall ?? 0;
      return moved;
    default: {
      const verdicts = [];
      for (const token of tokens) verdicts.push(await verdict(op, token));
      return verdicts;
    }
  }
}

for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await run(JSON.parse(line))));
await verifier.close();
