/**
 * Runs scenarios with the JavaScript SDK in Node. One JSON a line: in comes `{sdk}` first, then each scenario as
 * `{scenario, people}` or the answer to what was asked as `{done}`; out goes `{ask}` for what the network must suffer,
 * and `{result}`: null when the scenario went as written, else a sentence.
 */
import { createInterface } from "node:readline";

import { run } from "./interpreter.mjs";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function read() {
  const { done, value } = await lines.next();
  return done ? null : JSON.parse(value);
}

function write(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

async function harness(action) {
  write({ ask: action });
  await read();
}

// A promise that fails unseen is a defect of the SDK, wherever it happens.
let unseen = null;
process.on("unhandledRejection", (error) => {
  unseen = `a rejection was not handled: ${error?.stack ?? error}`;
});

const sdk = await import((await read()).sdk);
for (let order = await read(); order !== null; order = await read()) {
  const result = await run(order.scenario, { sdk, people: order.people, harness });
  write({ result: result ?? unseen });
  unseen = null;
}
