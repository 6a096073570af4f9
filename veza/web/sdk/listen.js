/**
 * Call `handler(event)` for each event of `source`, one after another: a promise it returns is waited for. `onEnd`
 * is called once, with the error that ended the events or null. Returns a function that stops it; the event after
 * the last one handled is then the next for whoever asks.
 */
export function listen(source, handler, onEnd) {
  const stopping = new AbortController();
  run(source, handler, onEnd, stopping.signal);
  return () => stopping.abort();
}

async function run(source, handler, onEnd, signal) {
  let reason = null;
  try {
    for (;;) {
      const { done, value } = await source.next({ signal });
      if (done) break;
      await attempt(() => handler(value));
      if (signal.aborted) return;
    }
  } catch (error) {
    if (signal.aborted) return;
    reason = error;
  }
  if (onEnd) await attempt(() => onEnd(reason));
}

/** What a handler throws is its author's to see, and stops nothing. */
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    if (typeof globalThis.reportError === "function") globalThis.reportError(error);
    else console.error("veza: a listener failed:", error);
  }
}
