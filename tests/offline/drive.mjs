// Runs Node verifiers in a process of its own. Lines of JSON are commands, and their answers.
// VERIFIER is where it is installed.
import { createInterface } from 'node:readline';

const { createVerifier } = await import(process.env.VERIFIER);
const all = new Map();
const lines = [];

// Its wall clock goes on from `began`, or stands still.
function start({ still, began, client_key: clientKey, access_seconds: accessSeconds, ...options }) {
  const moved = { steady: 0, wall: 0 }, ahead = began ? began - Date.now() / 1000 : 0;
  lines.length = 0;
  return { moved, verifier: createVerifier({
    clientKey, accessSeconds, ...options, log: (line) => lines.push(line),
    steady: () => performance.now() / 1000 + moved.steady,
    wall: () => (still ?? Date.now() / 1000 + ahead) + moved.wall,
  }) };
}

async function verdict(verifier, op, token) {
  try {
    return ['accepted', (await verifier[op](token)).sub];
  } catch (reason) {
    return [{ 401: 'refused', 503: 'unavailable' }[reason.status], reason.message];
  }
}

async function run(number, { op, ...command }) {
  if (op === 'start') {
    all.set(number, start(command));
    return null;
  }
  const { verifier, moved } = all.get(number);
  switch (op) {
    case 'status': return verifier.status();
    case 'lines': return lines;
    case 'stop': return (await verifier.close()) ?? null;
    case 'move':
      for (const [clock, seconds] of Object.entries(command)) moved[clock] += seconds;
      return moved;
    default: {
      const verdicts = [];
      for (const token of command.tokens) verdicts.push(await verdict(verifier, op, token));
      return verdicts;
    }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const [asked, number, command] = JSON.parse(line);
  run(number, command).then((answer) => console.log(JSON.stringify([asked, answer])));
}
