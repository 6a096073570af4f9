import { part } from "./conversations.js";

// Files are large and lines slow: only a transfer that makes no sense any more is given up. `signal` is for less.
const TRANSFER_MS = 600_000;

/** `veza.attachments`: files of rooms. */
export class AttachmentCalls {
  #transport;

  constructor(transport) {
    this.#transport = transport;
  }

  /** Upload a `Blob` or `File`. `name` is shown to the others: a `File` has one, a `Blob` is called `file`. */
  upload(roomId, file, { name = file.name ?? "file", ...options } = {}) {
    const body = new FormData();
    body.set("file", file, name);
    const path = `conversations/${part(roomId)}/attachments`;
    return this.#transport.call("POST", path, { body, timeoutMs: TRANSFER_MS, ...options });
  }

  /** The content of an attachment, or of one's id, as a `Blob`. */
  download(roomId, attachment, options = {}) {
    const path = `conversations/${part(roomId)}/attachments/${part(attachment.id ?? attachment)}`;
    return this.#transport.call("GET", path, { raw: true, timeoutMs: TRANSFER_MS, ...options });
  }
}
